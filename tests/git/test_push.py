"""Publishing: only forward, only the task's branch, and never over what a newer attempt pushed."""

from __future__ import annotations

import pytest

from agentcom.git import GitProblem, finish, publishable, push
from tests.git.lab import BRANCH, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_1, pytest.mark.pitfall_5]


def origin_hook(lab: Lab, name: str, script: str) -> None:
    hook = lab.origin / "hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


async def test_a_push_can_be_repeated(lab: Lab):
    place = lab.place()
    done = await lab.attempt(place)
    assert lab.sha(BRANCH) == done.evidence.head_sha
    assert await push(place, done.evidence.head_sha, "") is None
    assert await push(place, done.evidence.head_sha, done.evidence.head_sha) is None


async def test_the_agent_sees_as_origins_what_was_pushed(lab: Lab):
    place = lab.place()
    done = await lab.attempt(place)
    assert lab.sha(f"origin/{BRANCH}", cwd=place.worktree) == done.evidence.head_sha


async def test_an_attempt_that_was_given_up_cannot_overwrite_a_newer_one(lab: Lab):
    oak, elm = lab.place("oak"), lab.place("elm", machine="there")
    began = await lab.started(oak)
    newer = await lab.attempt(elm)
    late = lab.commit(oak.worktree, "late.txt", "late\n")
    for expected in ("", newer.evidence.head_sha):
        answer = await push(oak, late, expected)
        assert answer is not None
        assert answer.reason == "push_refused"
    assert lab.sha(BRANCH) == newer.evidence.head_sha
    answer = await publishable(oak, began)
    assert answer is not None
    assert answer.reason == "push_refused"
    assert "would lose" in answer.detail


async def test_an_attempt_that_was_given_up_on_the_same_machine_cannot_move_the_branch_of_the_newer_one(lab: Lab):
    oak, elm = lab.place("oak"), lab.place("elm")
    began = await lab.started(oak)
    newer = await lab.started(elm)
    late = lab.commit(oak.worktree, "late.txt")
    answer = await finish(oak, began)
    assert isinstance(answer, GitProblem)
    assert answer.reason == "push_refused"
    assert f"the task went to {elm.worktree}" in answer.detail
    rescue = f"rescue/{oak.task}/{late[:12]}"
    assert rescue in answer.detail
    assert lab.sha(rescue) == late
    assert lab.sha("HEAD", cwd=elm.worktree) == newer.head_sha
    assert lab.git("status", "--porcelain", cwd=elm.worktree) == ""


async def test_an_attempt_that_was_given_up_may_be_first_and_the_newer_one_goes_on_from_it_or_keeps_its_own(lab: Lab):
    oak, elm = lab.place("oak"), lab.place("elm", machine="there")
    await lab.started(oak)
    began = await lab.started(elm)
    late = lab.commit(oak.worktree, "late.txt")
    assert await push(oak, late, "") is None
    mine = lab.commit(elm.worktree, "mine.txt")
    done = await lab.finished(elm, began)
    answer = await push(elm, mine, done.origin_sha)
    assert answer is not None
    assert answer.reason == "push_refused"
    again = await lab.started(elm)
    assert again.head_sha == late
    assert lab.sha(f"rescue/{elm.task}/{mine[:12]}") == mine


async def test_a_push_between_the_look_and_the_push_is_not_overwritten(lab: Lab):
    place = lab.place()
    await lab.started(place)
    mine = lab.commit(place.worktree)
    theirs = lab.main_moves()
    script = lab.root / "ssh"
    # What stands in for ssh lets somebody else push first, once, as soon as it is asked to push.
    script.write_text(
        f"#!/bin/sh\ncase \"$*\" in *git-receive-pack*) git --git-dir='{lab.origin}' update-ref"
        f" refs/heads/{BRANCH} {theirs} '' 2>/dev/null;; esac\n"
        'shift $(($# - 1))\nexec sh -c "$1"\n'
    )
    script.chmod(0o755)
    ssh = lab.place(url=f"ssh://host{lab.origin}", GIT_SSH_COMMAND=str(script))
    answer = await push(ssh, mine, "")
    assert answer is not None
    assert answer.reason == "push_refused"
    assert lab.sha(BRANCH) == theirs


async def test_a_push_whose_answer_was_lost_has_arrived(lab: Lab):
    place = lab.place()
    await lab.started(place)
    mine = lab.commit(place.worktree)
    # Origin's end of the connection dies once the branch has moved, before it says so.
    origin_hook(lab, "reference-transaction", '[ "$1" != committed ] || kill -9 $PPID')
    assert lab.agent_pushes(place, "origin", "HEAD:elsewhere", "--no-verify").returncode != 0
    assert await push(place, mine, "") is None
    assert lab.sha(BRANCH) == mine


async def test_a_refusal_by_origin_is_told_in_its_words_and_not_repeated(lab: Lab):
    place = lab.place()
    await lab.started(place)
    mine = lab.commit(place.worktree)
    origin_hook(lab, "pre-receive", f"echo x >> '{lab.root}/asked'; echo 'only on weekdays' >&2; exit 1")
    answer = await push(place, mine, "")
    assert answer is not None
    assert answer.reason == "push_refused"
    assert "only on weekdays" in answer.detail
    assert (lab.root / "asked").read_text() == "x\n"


async def test_a_push_to_an_origin_that_is_away_is_told_apart_from_a_refusal(lab: Lab):
    place = lab.place()
    await lab.started(place)
    mine = lab.commit(place.worktree)
    lab.origin.rename(lab.root / "away.git")
    answer = await push(place, mine, "")
    assert isinstance(answer, GitProblem)
    assert answer.reason == "git_fetch_failed"


async def test_what_is_no_commit_is_not_pushed(lab: Lab):
    place = lab.place()
    await lab.started(place)
    for sha in ("", "main", "--force", "0" * 40, "f" * 40):
        answer = await push(place, sha, "")
        assert answer is not None
        assert answer.reason == "push_refused"


async def test_work_that_goes_on_from_the_base_may_be_published_also_when_that_moved_on(lab: Lab):
    place = lab.place()
    began = await lab.started(place)
    lab.commit(place.worktree)
    assert await publishable(place, began) is None
    lab.main_moves()
    assert await publishable(place, began) is None


async def test_a_base_that_moved_on_in_conflict_is_stale(lab: Lab):
    place = lab.place()
    began = await lab.started(place)
    lab.commit(place.worktree, "news.txt", "mine\n")
    lab.main_moves("news.txt", "theirs\n")
    answer = await publishable(place, began)
    assert answer is not None
    assert answer.reason == "stale_base"
    assert "conflicts" in answer.detail
    assert "news.txt" in answer.detail


async def test_work_without_the_base_that_it_was_started_on_is_stale(lab: Lab):
    old = lab.sha("main")
    lab.main_moves()
    place = lab.place()
    began = await lab.started(place)
    lab.git("reset", "--quiet", "--hard", old, cwd=place.worktree)
    lab.commit(place.worktree)
    answer = await publishable(place, began)
    assert answer is not None
    assert answer.reason == "stale_base"


async def test_a_history_that_origin_had_and_the_agent_rewrote_is_refused_also_past_the_hook(lab: Lab):
    place = lab.place()
    await lab.attempt(place)
    began = await lab.started(place)
    lab.git("commit", "--quiet", "--amend", "-m", "Better", cwd=place.worktree)
    answer = await publishable(place, began)
    assert answer is not None
    assert answer.reason == "push_refused"
    assert "never rewrite" in answer.detail
    done = await lab.finished(place, began)
    refused = await push(place, done.evidence.head_sha, done.origin_sha)
    assert refused is not None
    assert refused.reason == "push_refused"
