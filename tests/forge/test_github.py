"""Pull requests on GitHub: one for a task, whatever goes wrong on the way."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from agentcom.forge.base import MARKER, Draft, ForgeTrouble, Merged, NotMerged, PullDetails
from agentcom.forge.github import GithubForge
from agentcom.model.task import PullRequest
from tests.forge.github_server import TOKEN, GithubServer

pytestmark = pytest.mark.process

TASK = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
OTHER = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c5"
BRANCH = f"oak/{TASK}"
HEAD = "b" * 40
BASE = "a" * 40

MARK = MARKER.format(task=TASK)
DRAFT = Draft(TASK, BRANCH, "main", HEAD, "Do it", f"what was done\n\n{MARK}\n")


@pytest.fixture(autouse=True)
def pushed(server: GithubServer) -> None:
    """The task's branch is there."""
    server.branches[BRANCH] = HEAD


def url(server: GithubServer, number: int = 1) -> str:
    return f"http://127.0.0.1:{server.port}/acme/shop/pull/{number}"


# ------------------------------------------------------------ made and found


async def test_a_task_without_a_pull_request_has_none(forge: GithubForge) -> None:
    assert await forge.find(TASK, BRANCH) is None
    assert await forge.details(TASK, BRANCH) is None


async def test_a_pull_request_says_what_the_draft_says(forge: GithubForge, server: GithubServer) -> None:
    made = await forge.publish(DRAFT)
    assert made == PullRequest(url(server), 1, "open")
    (asked,) = server.writes()
    assert (asked.verb, asked.path) == ("POST", "/repos/acme/shop/pulls")
    assert asked.said == {"title": "Do it", "body": DRAFT.body, "head": BRANCH, "base": "main"}
    assert await forge.find(TASK, BRANCH) == made


async def test_it_is_found_before_it_is_made_again(forge: GithubForge, server: GithubServer) -> None:
    first = await forge.publish(DRAFT)
    assert await forge.publish(DRAFT) == first
    assert len(server.pulls) == len(server.writes()) == 1


async def test_what_changed_is_brought_up_to_date(forge: GithubForge, server: GithubServer) -> None:
    first = await forge.publish(DRAFT)
    body = f"more was done\n\n{MARK}\n"
    assert await forge.publish(replace(DRAFT, title="Done", body=body)) == first
    assert [(asked.verb, asked.said) for asked in server.writes()[1:]] == [("PATCH", {"title": "Done", "body": body})]
    assert (server.pulls[0]["title"], server.pulls[0]["body"]) == ("Done", body)


async def test_other_line_ends_are_no_change(forge: GithubForge, server: GithubServer) -> None:
    await forge.publish(DRAFT)
    server.pulls[0]["body"] = DRAFT.body.replace("\n", "\r\n").rstrip()
    await forge.publish(DRAFT)
    assert len(server.writes()) == 1


@pytest.mark.parametrize("state", ["merged", "closed"])
async def test_of_a_merged_or_closed_one_nothing_changes(forge: GithubForge, server: GithubServer, state: str) -> None:
    server.add_pull(BRANCH, body=MARK, state=state)
    before = dict(server.pulls[0])
    assert (await forge.publish(replace(DRAFT, title="Another"))).state == state
    assert server.pulls == [before]
    assert not server.writes()


@pytest.mark.parametrize("older", [0, 150, 320])
async def test_one_whose_branch_was_renamed_is_found_by_its_marker(
    forge: GithubForge, server: GithubServer, older: int
) -> None:
    """However many others were made since: the newest are listed, older ones searched for."""
    server.add_pull("renamed", body=DRAFT.body)
    for number in range(older):
        server.add_pull(f"other-{number}")
    assert await forge.find(TASK, BRANCH) == PullRequest(url(server), 1, "open")
    await forge.publish(DRAFT)
    assert len(server.pulls) == older + 1


async def test_none_is_made_while_a_search_cannot_tell_whether_there_is_one(
    forge: GithubForge, server: GithubServer
) -> None:
    for number in range(301):
        server.add_pull(f"other-{number}")
    server.indexed = False
    with pytest.raises(ForgeTrouble, match="gave up"):
        await forge.publish(DRAFT)
    assert not server.writes()


async def test_a_strangers_fork_is_not_taken_for_the_tasks_own(forge: GithubForge, server: GithubServer) -> None:
    """Anybody may open a pull request from a fork, with any branch name and any body."""
    server.add_pull(BRANCH, body=MARK, owner="mallory")
    gone = server.add_pull("of-a-fork-that-is-gone", body=MARK)
    gone["head"]["repo"] = None
    assert await forge.find(TASK, BRANCH) is None
    assert (await forge.publish(DRAFT)).number == 3


async def test_another_tasks_pull_request_is_not_this_ones(forge: GithubForge, server: GithubServer) -> None:
    server.add_pull(f"oak/{OTHER}", body=MARKER.format(task=OTHER))
    assert await forge.find(TASK, BRANCH) is None


async def test_one_that_a_person_opened_for_the_branch_is_taken_on(forge: GithubForge, server: GithubServer) -> None:
    server.add_pull(BRANCH, body="mine")
    assert (await forge.publish(DRAFT)).number == 1
    assert MARK in server.pulls[0]["body"]


@pytest.mark.parametrize(
    ("states", "number"),
    [(("closed", "open"), 2), (("open", "closed"), 1), (("open", "merged"), 2), (("closed", "closed"), 1)],
)
async def test_of_several_the_merged_counts_before_the_open_and_the_open_before_the_closed(
    forge: GithubForge, server: GithubServer, states: tuple[str, ...], number: int
) -> None:
    for state in states:
        server.add_pull(BRANCH, body=MARK, state=state)
    found = await forge.find(TASK, BRANCH)
    assert found is not None
    assert found.number == number
    details = await forge.details(TASK, BRANCH)
    assert details is not None
    assert details.others == (url(server, 3 - number),)


async def test_two_sidecars_at_once_make_one(forge_at: Callable[..., GithubForge], server: GithubServer) -> None:
    """All have looked, and found none, before any may create."""
    together = threading.Barrier(4)
    looked = 0
    performed = server.answer

    def wait_for_all(asked: Any, authorization: str) -> Any:
        nonlocal looked
        if asked.verb == "GET" and asked.path == "/repos/acme/shop":
            looked += 1
            together.wait(20)
        return performed(asked, authorization)

    server.answer = wait_for_all  # type: ignore[method-assign]
    made: list[PullRequest] = []

    async def publish() -> None:
        made.append(await forge_at().publish(DRAFT))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(publish)
    assert looked == 4
    assert len(server.pulls) == 1
    assert made == [PullRequest(url(server), 1, "open")] * 4


# -------------------------------------------------------- failures half-way


@pytest.mark.parametrize("how", [{}, {"status": 502}, {"status": 201, "text": "<html>"}], ids=["cut", "502", "garbage"])
async def test_one_whose_answer_was_lost_is_found_within_the_same_call(
    forge: GithubForge, server: GithubServer, how: dict[str, Any]
) -> None:
    server.fails("POST", "/pulls", done=True, **how)
    assert await forge.publish(DRAFT) == PullRequest(url(server), 1, "open")
    assert len(server.pulls) == len(server.writes()) == 1


@pytest.mark.parametrize("how", [{}, {"status": 502}, {"status": 201, "text": "{"}], ids=["cut", "502", "garbage"])
async def test_or_at_the_repetition_and_never_made_twice(
    forge_at: Callable[..., GithubForge], server: GithubServer, how: dict[str, Any]
) -> None:
    server.fails("POST", "/pulls", done=True, **how)
    server.fails("GET", "/pulls", 503)
    server.faults[-1].times = 0
    original = server.take_fault

    def break_down_after_creating(asked: Any) -> Any:
        fault = original(asked)
        if fault is not None and fault.verb == "POST":
            server.faults[-1].times = 1
        return fault

    server.take_fault = break_down_after_creating  # type: ignore[method-assign]
    with pytest.raises(ForgeTrouble) as raised:
        await forge_at().publish(DRAFT)
    assert not raised.value.hopeless
    assert await forge_at().publish(DRAFT) == PullRequest(url(server), 1, "open")
    assert len(server.pulls) == len(server.writes()) == 1


async def test_one_that_was_not_made_is_made_at_the_repetition(forge: GithubForge, server: GithubServer) -> None:
    server.fails("POST", "/pulls", 500)
    with pytest.raises(ForgeTrouble):
        await forge.publish(DRAFT)
    assert (await forge.publish(DRAFT)).number == 1


async def test_nothing_is_sent_again_within_a_call(forge: GithubForge, server: GithubServer) -> None:
    """When to try again is the caller's to decide."""
    server.fails("GET", "/pulls", 503, times=9)
    with pytest.raises(ForgeTrouble):
        await forge.find(TASK, BRANCH)
    assert server.faults[0].times == 8


async def test_an_update_that_failed_is_made_at_the_repetition(forge: GithubForge, server: GithubServer) -> None:
    await forge.publish(DRAFT)
    changed = replace(DRAFT, title="Done")
    server.fails("PATCH", "/pulls/1", 502)
    with pytest.raises(ForgeTrouble):
        await forge.publish(changed)
    await forge.publish(changed)
    assert server.pulls[0]["title"] == "Done"


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("status", "headers", "text", "retry_after_s"),
    [
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{reset}"}, "API rate limit exceeded for user", 300),
        (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{reset}"}, "API rate limit exceeded", 300),
        (403, {"Retry-After": "17"}, "You have exceeded a secondary rate limit", 17),
        (429, {"Retry-After": "17"}, "slow down", 17),
        (403, {}, "You have exceeded a secondary rate limit. Please wait a few minutes", 60),
        (429, {}, "", 60),
        (429, {"Retry-After": "soon", "X-RateLimit-Remaining": "0"}, "", 60),
        (403, {"Retry-After": "99999999"}, "", 3_600),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "", 1),
    ],
)
async def test_a_rate_limit_says_when_to_come_back(
    forge: GithubForge, server: GithubServer, status: int, headers: dict[str, str], text: str, retry_after_s: float
) -> None:
    reset = str(int(time.time()) + 300)
    headers = {name: value.format(reset=reset) for name, value in headers.items()}
    server.fails("GET", "/pulls", status, text=f'{{"message": "{text}"}}', headers=headers)
    with pytest.raises(ForgeTrouble) as raised:
        await forge.publish(DRAFT)
    assert raised.value.retry_after_s == pytest.approx(retry_after_s, abs=5)
    assert not raised.value.hopeless
    assert not server.writes()


async def test_a_rate_limit_at_creation_is_followed_by_no_further_request(
    forge: GithubForge, server: GithubServer
) -> None:
    server.fails("POST", "/pulls", 403, headers={"Retry-After": "30"}, text='{"message": "secondary rate limit"}')
    with pytest.raises(ForgeTrouble) as raised:
        await forge.publish(DRAFT)
    assert raised.value.retry_after_s == 30
    assert server.faults[0].times == 0
    assert server.asked[-1].path == "/repos/acme/shop"


async def test_a_refused_token_needs_a_person(forge_at: Callable[..., GithubForge]) -> None:
    with pytest.raises(ForgeTrouble, match=r"refuses the token in GITHUB_TOKEN .*Bad credentials") as raised:
        await forge_at(token="ghp_old").find(TASK, BRANCH)
    assert raised.value.hopeless


async def test_a_token_that_may_not_write_needs_a_person(forge: GithubForge, server: GithubServer) -> None:
    server.fails("POST", "/pulls", 403, text='{"message": "Resource not accessible by personal access token"}')
    with pytest.raises(ForgeTrouble, match=r"GITHUB_TOKEN may not .*let it write pull requests of acme/shop") as raised:
        await forge.publish(DRAFT)
    assert raised.value.hopeless


async def test_a_repository_that_is_not_there_needs_a_person(forge_at: Callable[..., GithubForge]) -> None:
    with pytest.raises(ForgeTrouble, match=r"no repository acme/other .*mend forge_repo") as raised:
        await forge_at(repo="acme/other").find(TASK, BRANCH)
    assert raised.value.hopeless


@pytest.mark.parametrize(
    ("branches", "base", "why", "hopeless"),
    [
        ({"main": BASE}, "main", "head invalid", False),  # the push may not have reached all of the forge
        ({"main": BASE, BRANCH: HEAD}, "trunk", "base invalid", True),
        ({"main": HEAD, BRANCH: HEAD}, "main", "No commits between", True),
    ],
)
async def test_what_the_api_refuses_to_make_is_said(
    forge: GithubForge, server: GithubServer, branches: dict[str, str], base: str, why: str, hopeless: bool
) -> None:
    server.branches = branches
    with pytest.raises(ForgeTrouble, match=why) as raised:
        await forge.publish(replace(DRAFT, base=base))
    assert raised.value.hopeless == hopeless


@pytest.mark.parametrize("status", [400, 409, 500, 502, 503, 504])
async def test_other_failures_pass(forge: GithubForge, server: GithubServer, status: int) -> None:
    server.fails("GET", "/pulls", status, text="<html>Bad Gateway</html>")
    with pytest.raises(ForgeTrouble, match=str(status)) as raised:
        await forge.find(TASK, BRANCH)
    assert not raised.value.hopeless


@pytest.mark.parametrize(
    "text",
    ["", "{", "<html>log in</html>", "null", "[1]", "{}", '[{"number": "1"}]', "[" * 50_000, "\x00", '{"data": []}'],
)
async def test_garbage_passes(forge: GithubForge, server: GithubServer, text: str) -> None:
    server.fails("GET", "/pulls", 200, text=text)
    with pytest.raises(ForgeTrouble) as raised:
        await forge.publish(DRAFT)
    assert not raised.value.hopeless
    assert not server.writes()


async def test_a_url_that_is_none_is_not_taken_on(forge: GithubForge, server: GithubServer) -> None:
    server.add_pull(BRANCH)["html_url"] = "https://x/\x1b[2J"
    with pytest.raises(ForgeTrouble):
        await forge.find(TASK, BRANCH)


@pytest.mark.parametrize("others", [0, 3])
async def test_nothing_is_made_under_the_old_name_of_a_repository_that_was_renamed(
    forge: GithubForge, server: GithubServer, others: int
) -> None:
    """The client follows a redirect, but leaves out what was asked for: closed ones are not in such an answer."""
    server.name, server.old_name = "acme/store", "acme/shop"
    server.add_pull(BRANCH, body=MARK, state="closed")
    for number in range(others):
        server.add_pull(f"other-{number}")
    with pytest.raises(ForgeTrouble, match="acme/shop is now acme/store: set forge_repo") as raised:
        await forge.publish(DRAFT)
    assert raised.value.hopeless
    assert not server.writes()


async def test_a_server_that_hangs_holds_nobody_up(forge_at: Callable[..., GithubForge], server: GithubServer) -> None:
    server.fails("GET", "/pulls", hangs=True)
    began = time.monotonic()
    with pytest.raises(ForgeTrouble, match=r"did not answer within 0\.3 s") as raised:
        await forge_at(limit_s=0.3).find(TASK, BRANCH)
    assert time.monotonic() - began < 10
    assert not raised.value.hopeless


async def test_a_call_that_is_canceled_is_left_at_once(
    forge_at: Callable[..., GithubForge], server: GithubServer
) -> None:
    server.fails("GET", "/pulls", hangs=True)
    with anyio.move_on_after(0.3) as scope:
        await forge_at().find(TASK, BRANCH)
    assert scope.cancelled_caught


async def test_a_creation_that_was_left_alone_is_found_afterwards(
    forge_at: Callable[..., GithubForge], server: GithubServer
) -> None:
    server.fails("POST", "/pulls", done=True, hangs=True)
    async with anyio.create_task_group() as group:
        group.start_soon(forge_at().publish, DRAFT)
        while not server.pulls:
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert (await forge_at().publish(DRAFT)).number == 1
    assert len(server.pulls) == 1


async def test_a_server_that_is_not_there_passes(forge: GithubForge, server: GithubServer) -> None:
    server.fails("GET", "/pulls")
    with pytest.raises(ForgeTrouble, match="cannot be reached") as raised:
        await forge.find(TASK, BRANCH)
    assert not raised.value.hopeless


# --------------------------------------------------------------- the secret


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"status": 401, "text": f'{{"message": "no: {TOKEN}"}}'},
        {"status": 502, "text": TOKEN},
        {"status": 200, "text": f'["{TOKEN}"]'},
        {"status": 422, "text": f'{{"message": "x", "errors": ["{TOKEN}", {{"message": "{TOKEN}"}}]}}'},
    ],
    ids=["cut", "401", "502", "garbage", "422"],
)
async def test_the_token_is_in_no_error_even_if_the_server_repeats_it(
    forge: GithubForge, server: GithubServer, how: dict[str, Any]
) -> None:
    server.fails("GET", "/pulls", **how)
    with pytest.raises(ForgeTrouble) as raised:
        await forge.find(TASK, BRANCH)
    told = "".join(traceback.format_exception(raised.value))
    assert TOKEN not in told + repr(raised.value) + raised.value.why


async def test_the_token_is_in_no_log_and_no_repr(forge: GithubForge, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await forge.publish(DRAFT)
    assert caplog.records
    assert TOKEN not in caplog.text + repr(forge) + repr(forge.access)


# -------------------------------------------------------------------- merge


async def judged(forge: GithubForge) -> PullDetails:
    await forge.publish(DRAFT)
    details = await forge.details(TASK, BRANCH)
    assert details is not None
    return details


async def test_details_are_what_a_decision_needs(forge: GithubForge, server: GithubServer) -> None:
    assert await judged(forge) == PullDetails(PullRequest(url(server), 1, "open"), BRANCH, "main", HEAD)


async def test_what_was_judged_is_merged_and_once(forge: GithubForge, server: GithubServer) -> None:
    details = await judged(forge)
    merged = await forge.merge(TASK, details, BASE, "because")
    assert isinstance(merged, Merged)
    assert server.commits[merged.sha] == [BASE, HEAD]
    assert merged.as_judged
    assert server.writes()[-1].said == {"sha": HEAD, "merge_method": "merge", "commit_message": "because"}
    writes = len(server.writes())
    assert await forge.merge(TASK, details, BASE, "because") == Merged(merged.sha)
    assert len(server.writes()) == writes
    found = await forge.find(TASK, BRANCH)
    assert found is not None
    assert found.state == "merged"


async def test_where_merge_commits_are_not_allowed_it_is_squashed(forge: GithubForge, server: GithubServer) -> None:
    server.allow_merge_commit = False
    details = await judged(forge)
    assert isinstance(await forge.merge(TASK, details, BASE, "because"), Merged)
    assert server.writes()[-1].said["merge_method"] == "squash"


@pytest.mark.parametrize("what", ["head", "base", "another base", "closed"])
async def test_what_moved_since_it_was_judged_is_not_merged(
    forge: GithubForge, server: GithubServer, what: str
) -> None:
    details = await judged(forge)
    if what == "head":
        server.branches[BRANCH] = server.pulls[0]["head"]["sha"] = "c" * 40
    elif what == "base":
        server.branches["main"] = "c" * 40
    elif what == "another base":
        server.pulls[0]["base"]["ref"] = "release"
    else:
        server.pulls[0]["state"] = "closed"
    merged = await forge.merge(TASK, details, BASE, "because")
    assert isinstance(merged, NotMerged)
    assert not server.commits


async def test_a_push_between_the_look_and_the_merge_is_refused_by_the_api(
    forge: GithubForge, server: GithubServer
) -> None:
    details = await judged(forge)
    server.branches[BRANCH] = "c" * 40  # the pull request itself says it later
    merged = await forge.merge(TASK, details, BASE, "because")
    assert isinstance(merged, NotMerged)
    assert "Head branch was modified" in merged.why


async def test_a_base_that_moved_between_the_look_and_the_merge_is_told(
    forge: GithubForge, server: GithubServer
) -> None:
    details = await judged(forge)
    performed = server._merge

    def merge_late(asked: Any, pull: Any) -> Any:
        server.branches["main"] = "c" * 40
        return performed(asked, pull)

    server._merge = merge_late  # type: ignore[method-assign]
    merged = await forge.merge(TASK, details, BASE, "because")
    assert isinstance(merged, Merged)
    assert not merged.as_judged


async def test_a_base_that_cannot_be_told_after_the_merge_may_have_moved(
    forge: GithubForge, server: GithubServer
) -> None:
    details = await judged(forge)
    server.fails("GET", "/git/commits/.*", 502)
    merged = await forge.merge(TASK, details, BASE, "because")
    assert isinstance(merged, Merged)
    assert not merged.as_judged


@pytest.mark.parametrize("how", [{}, {"status": 502}, {"status": 200, "text": "?"}], ids=["cut", "502", "garbage"])
async def test_a_merge_whose_answer_was_lost_is_found(
    forge: GithubForge, server: GithubServer, how: dict[str, Any]
) -> None:
    details = await judged(forge)
    server.fails("PUT", "/pulls/1/merge", done=True, **how)
    merged = await forge.merge(TASK, details, BASE, "because")
    assert isinstance(merged, Merged)
    assert len(server.commits) == 1


async def test_a_merge_that_failed_is_trouble(forge: GithubForge, server: GithubServer) -> None:
    details = await judged(forge)
    server.fails("PUT", "/pulls/1/merge", 500)
    with pytest.raises(ForgeTrouble):
        await forge.merge(TASK, details, BASE, "because")
