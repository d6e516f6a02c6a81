"""Pull requests in the repository itself, with real repositories."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agentcom.forge.base import Draft, ForgeTrouble, Merged, NotMerged, PullDetails
from agentcom.forge.git import Git
from agentcom.forge.local import LocalForge
from agentcom.forge.origin import Origin
from agentcom.model.task import PullRequest
from tests.forge.repositories import ENVIRON, Workshop, git

pytestmark = pytest.mark.process

TASK = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
BRANCH = f"oak/{TASK}"
REF = f"refs/agentcom/pulls/{TASK}"


@pytest.fixture
def origin(tmp_path: Path) -> Workshop:
    """A repository in which the task's branch has one commit."""
    made = Workshop(tmp_path)
    made.branch(BRANCH)
    made.commit({"README.md": "# The shop\n"})
    made.push(BRANCH)
    return made


@pytest.fixture
def forge_of(origin: Workshop, tmp_path: Path) -> Callable[..., LocalForge]:
    """Makes forges on the repository, each as another machine would."""
    numbers = count()

    def make(url: str = "") -> LocalForge:
        git = Git(tmp_path / f"forge{next(numbers)}.git", ENVIRON, timeout_s=60)
        return LocalForge(Origin(url or str(origin.path), git))

    return make


@pytest.fixture
def forge(forge_of: Callable[..., LocalForge]) -> LocalForge:
    return forge_of()


@pytest.fixture
def draft(origin: Workshop) -> Draft:
    return Draft(TASK, BRANCH, "main", origin.sha(BRANCH), "Do it", "what was done\n")


def kept(origin: Workshop) -> dict[str, str]:
    """The document in the repository."""
    document: dict[str, str] = json.loads(git(origin.path, "cat-file", "blob", REF))
    return document


def keep(origin: Workshop, text: str) -> None:
    """Put another document into the repository."""
    git(origin.path, "update-ref", REF, git(origin.path, "hash-object", "-w", "--stdin", stdin=text))


def at_hand(origin: Workshop, state: str = "open") -> PullRequest:
    return PullRequest(f"local:{origin.path}#{TASK}", 0, state)  # type: ignore[arg-type]


async def test_a_task_without_a_pull_request_has_none(forge: LocalForge) -> None:
    assert await forge.find(TASK, BRANCH) is None
    assert await forge.details(TASK, BRANCH) is None


async def test_a_pull_request_says_what_the_draft_says(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    assert await forge.publish(draft) == at_hand(origin)
    assert await forge.find(TASK, BRANCH) == at_hand(origin)
    said = {"task": TASK, "branch": BRANCH, "base": "main", "title": "Do it", "body": "what was done\n"}
    assert kept(origin) == said | {"head_sha": draft.head_sha, "state": "open", "merge_sha": ""}


async def test_it_is_found_from_everywhere_and_not_made_again(
    forge_of: Callable[..., LocalForge], origin: Workshop, draft: Draft
) -> None:
    await forge_of().publish(draft)
    before = origin.sha(REF)
    assert await forge_of().publish(draft) == at_hand(origin)
    assert origin.sha(REF) == before
    assert origin.refs("refs/agentcom") == [REF]


async def test_what_changed_is_brought_up_to_date(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    await forge.publish(draft)
    origin.commit({"README.md": "# Our shop\n"})
    origin.push(BRANCH)
    await forge.publish(replace(draft, head_sha=origin.sha(BRANCH), title="Done"))
    assert (kept(origin)["title"], kept(origin)["head_sha"]) == ("Done", origin.sha(BRANCH))
    assert origin.refs("refs/agentcom") == [REF]


async def test_many_at_once_make_one(forge_of: Callable[..., LocalForge], origin: Workshop, draft: Draft) -> None:
    made: list[PullRequest] = []

    async def publish(title: str) -> None:
        made.append(await forge_of().publish(replace(draft, title=title)))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(publish, f"try {number}")
    assert made == [at_hand(origin)] * 4
    assert kept(origin)["title"].startswith("try ")
    assert origin.refs("refs/agentcom") == [REF]


async def test_a_write_that_another_was_faster_than_looks_again(
    forge: LocalForge, forge_of: Callable[..., LocalForge], origin: Workshop, draft: Draft
) -> None:
    """The other one merged it between the look and the write: nothing is changed any more."""
    await forge.publish(draft)
    stored = forge._stored

    async def merge_first(document: object) -> str:
        sha = await stored(document)  # type: ignore[arg-type]
        keep(origin, json.dumps(kept(origin) | {"state": "closed"}))
        return sha

    forge._stored = merge_first  # type: ignore[method-assign]
    assert await forge.publish(replace(draft, title="Late")) == at_hand(origin, "closed")
    assert kept(origin)["title"] == "Do it"


async def test_a_repository_that_takes_no_documents_says_why(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    git(origin.path, "config", "receive.hideRefs", "refs/agentcom")
    with pytest.raises(ForgeTrouble, match=r"cannot be written: .*hidden ref") as raised:
        await forge.publish(draft)
    assert not raised.value.hopeless


async def test_it_is_merged_when_its_head_is_in_the_base_whoever_did_it(
    forge: LocalForge, origin: Workshop, draft: Draft
) -> None:
    await forge.publish(draft)
    origin.push(f"{BRANCH}:main")
    assert await forge.find(TASK, BRANCH) == at_hand(origin, "merged")


async def test_it_stays_merged_if_something_is_pushed_afterwards_or_the_branch_goes(
    forge: LocalForge, origin: Workshop, draft: Draft
) -> None:
    await forge.publish(draft)
    origin.push(f"{BRANCH}:main")
    origin.commit({"README.md": "more\n"})
    origin.push(BRANCH)
    late = replace(draft, head_sha=origin.sha(BRANCH), title="Late")
    assert await forge.publish(late) == at_hand(origin, "merged")
    assert kept(origin)["title"] == "Do it"
    origin.push(f":{BRANCH}")
    assert await forge.find(TASK, BRANCH) == at_hand(origin, "merged")


async def test_of_a_closed_one_nothing_changes(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    await forge.publish(draft)
    keep(origin, json.dumps(kept(origin) | {"state": "closed"}))
    assert await forge.publish(replace(draft, title="Again")) == at_hand(origin, "closed")
    assert kept(origin)["title"] == "Do it"


async def test_one_whose_branch_is_gone_is_open_all_the_same(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    await forge.publish(draft)
    origin.push(f":{BRANCH}")
    assert await forge.details(TASK, BRANCH) == PullDetails(at_hand(origin), BRANCH, "main", "")


async def test_work_that_is_not_pushed_has_to_wait(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    with pytest.raises(ForgeTrouble, match="has not been pushed") as raised:
        await forge.publish(replace(draft, branch="elsewhere"))
    assert not raised.value.hopeless
    assert origin.refs("refs/agentcom") == []


async def test_a_branch_without_work_has_no_pull_request(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    """It would count as merged at once."""
    with pytest.raises(ForgeTrouble, match="no commits that main has not") as raised:
        await forge.publish(replace(draft, head_sha=origin.sha("main")))
    assert raised.value.hopeless


async def test_a_base_that_is_not_there_needs_a_person(forge: LocalForge, draft: Draft) -> None:
    with pytest.raises(ForgeTrouble, match="has no branch trunk") as raised:
        await forge.publish(replace(draft, base="trunk"))
    assert raised.value.hopeless


@pytest.mark.parametrize("text", ["", "{", "[]", '{"task": "x"}', "\x00\x01"])
async def test_a_document_that_cannot_be_read_needs_a_person(forge: LocalForge, origin: Workshop, text: str) -> None:
    keep(origin, text)
    with pytest.raises(ForgeTrouble, match=REF) as raised:
        await forge.find(TASK, BRANCH)
    assert raised.value.hopeless


@pytest.mark.parametrize(
    "change",
    [
        {"task": "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c5"},
        {"branch": "x:refs/heads/main"},
        {"base": "--upload-pack=x y"},
        {"head_sha": "--all"},
        {"state": "new"},
    ],
)
async def test_nor_is_one_believed_that_names_what_it_should_not(
    forge: LocalForge, origin: Workshop, draft: Draft, change: dict[str, str]
) -> None:
    await forge.publish(draft)
    keep(origin, json.dumps(kept(origin) | change))
    with pytest.raises(ForgeTrouble) as raised:
        await forge.find(TASK, BRANCH)
    assert raised.value.hopeless


async def test_a_repository_that_is_away_is_tried_again_and_its_password_not_told(
    forge_of: Callable[..., LocalForge],
) -> None:
    for url in ("/nonexistent/x.git", "https://oak:hunter2@127.0.0.1:1/x.git", "ext::sh -c true"):
        with pytest.raises(ForgeTrouble, match=r"git ls-remote failed: .+") as raised:
            await forge_of(url).find(TASK, BRANCH)
        assert not raised.value.hopeless
        assert "hunter2" not in raised.value.why


async def test_a_repository_that_is_damaged_is_tried_again(forge: LocalForge, origin: Workshop, draft: Draft) -> None:
    """It lists what it cannot hand out."""
    (origin.path / "refs" / "heads" / "main").write_text("d" * 40 + "\n")
    with pytest.raises(ForgeTrouble, match="brings not what git ls-remote lists") as raised:
        await forge.publish(draft)
    assert not raised.value.hopeless


async def test_a_locator_shows_no_password(forge_of: Callable[..., LocalForge]) -> None:
    assert "hunter2" not in forge_of("https://oak:hunter2@h/x.git")._at_hand(TASK, "open").url


async def test_an_id_that_is_none_is_no_ref(forge: LocalForge) -> None:
    with pytest.raises(ValueError, match="no id of a task"):
        await forge.find("../../heads/main", BRANCH)


# -------------------------------------------------------------------- merge


@pytest.fixture
async def judged(forge: LocalForge, draft: Draft) -> PullDetails:
    await forge.publish(draft)
    details = await forge.details(TASK, BRANCH)
    assert details is not None
    return details


async def test_details_are_what_a_decision_needs(origin: Workshop, judged: PullDetails) -> None:
    assert judged == PullDetails(at_hand(origin), BRANCH, "main", origin.sha(BRANCH))


async def test_what_was_judged_is_merged_and_once(
    forge: LocalForge, forge_of: Callable[..., LocalForge], origin: Workshop, judged: PullDetails
) -> None:
    base = origin.sha("main")
    merged = await forge.merge(TASK, judged, base, "Because")
    assert isinstance(merged, Merged)
    assert merged.as_judged
    assert origin.sha("main") == merged.sha
    assert git(origin.path, "show", "--no-patch", "--format=%P %s", "main") == f"{base} {judged.head_sha} Because"
    assert origin.sha("main^{tree}") == origin.sha(f"{BRANCH}^{{tree}}")
    assert kept(origin)["state"] == "merged"
    assert await forge_of().merge(TASK, judged, base, "Because") == merged
    assert origin.sha("main") == merged.sha


async def test_many_who_merge_at_once_merge_once(
    forge_of: Callable[..., LocalForge], origin: Workshop, judged: PullDetails
) -> None:
    base = origin.sha("main")
    ends: list[Merged | NotMerged] = []

    async def merge(number: int) -> None:
        ends.append(await forge_of().merge(TASK, judged, base, f"by {number}"))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(merge, number)
    assert {end.sha for end in ends if isinstance(end, Merged)} == {origin.sha("main")}
    assert git(origin.path, "rev-list", "--count", "--merges", "main") == "1"


@pytest.mark.parametrize("what", ["head", "base", "closed", "another branch", "gone"])
async def test_what_moved_since_it_was_judged_is_not_merged(
    forge: LocalForge, origin: Workshop, judged: PullDetails, what: str
) -> None:
    base = origin.sha("main")
    if what == "head":
        origin.commit({"README.md": "more\n"})
        origin.push(BRANCH)
    elif what == "base":
        origin.branch("main")
        origin.commit({"x": "y"})
        origin.push("main")
    elif what == "gone":
        git(origin.path, "update-ref", "-d", REF)
    else:
        change = {"state": "closed"} if what == "closed" else {"branch": "main"}
        keep(origin, json.dumps(kept(origin) | change))
    before = origin.sha("main")
    assert isinstance(await forge.merge(TASK, judged, base, "Because"), NotMerged)
    assert origin.sha("main") == before


async def test_base_and_document_move_together_or_not_at_all(
    forge: LocalForge, origin: Workshop, judged: PullDetails
) -> None:
    """Somebody pushes to the base between the last look and the push."""
    base = origin.sha("main")
    stored = forge._stored
    pushed = []

    async def push_first(document: object) -> str:
        origin.branch("main")
        pushed.append(origin.commit({"x": "y"}))
        origin.push("main")
        return await stored(document)  # type: ignore[arg-type]

    forge._stored = push_first  # type: ignore[method-assign]
    assert isinstance(await forge.merge(TASK, judged, base, "Because"), NotMerged)
    assert [origin.sha("main")] == pushed
    assert kept(origin)["state"] == "open"


async def test_a_merge_whose_answer_was_lost_is_found(forge: LocalForge, origin: Workshop, judged: PullDetails) -> None:
    push = forge.origin.push

    async def lose_the_answer(*moves: tuple[str, str, str]) -> str:
        assert await push(*moves) == ""
        return "the connection was cut"

    forge.origin.push = lose_the_answer  # type: ignore[method-assign]
    assert await forge.merge(TASK, judged, origin.sha("main"), "Because") == Merged(origin.sha("main"))
    assert git(origin.path, "rev-list", "--count", "--merges", "main") == "1"


async def test_a_repository_that_refuses_says_why(forge: LocalForge, origin: Workshop, judged: PullDetails) -> None:
    hook = origin.path / "hooks" / "update"
    hook.write_text("#!/bin/sh\necho main is frozen >&2\nexit 1\n")
    hook.chmod(0o755)
    end = await forge.merge(TASK, judged, origin.sha("main"), "Because")
    assert isinstance(end, NotMerged)
    assert "main is frozen" in end.why


async def test_hooks_of_the_users_own_do_not_run(forge: LocalForge, origin: Workshop, tmp_path: Path) -> None:
    """A pre-push hook that all of a person's repositories have is not about documents."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-push").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-push").chmod(0o755)
    environ = ENVIRON | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(hooks),
    }
    own = LocalForge(Origin(str(origin.path), Git(tmp_path / "own.git", environ)))
    await own.publish(Draft(TASK, BRANCH, "main", origin.sha(BRANCH), "Do it", "x"))
    assert origin.refs("refs/agentcom") == [REF]
