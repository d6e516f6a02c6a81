"""What becomes of worktrees and branches afterwards."""

from __future__ import annotations

import pytest

from agentcom.git import GitProblem, file_at
from agentcom.git.keeping import drop, merged
from tests.git.lab import BRANCH, TASK, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_1]


async def test_a_dropped_worktree_is_gone_and_what_origin_has_with_it(lab: Lab):
    place = lab.place()
    await lab.attempt(place)
    assert await drop(place) is None
    assert not place.worktree.exists()
    assert lab.git("worktree", "list", "--porcelain", cwd=place.repository.clone).count("worktree ") == 1
    assert lab.sha(BRANCH, cwd=place.repository.clone) == ""
    assert list(place.guard.parent.iterdir()) == []
    assert await drop(place) is None


async def test_what_was_not_pushed_or_not_committed_stays_in_the_clone(lab: Lab):
    place = lab.place()
    await lab.started(place)
    head = lab.commit(place.worktree)
    (place.worktree / "loose.txt").write_text("loose\n")
    (place.worktree / "sub").chmod(0o500)
    assert await drop(place) is None
    assert not place.worktree.exists()
    assert lab.sha(BRANCH, cwd=place.repository.clone) == head
    [rescue] = lab.git("branch", "--list", "rescue/*", "--format=%(refname)", cwd=place.repository.clone).split("\n")
    assert lab.git("show", f"{rescue}:loose.txt", cwd=place.repository.clone) == "loose"
    again = await lab.started(place)
    assert again.head_sha == head


async def test_commits_without_a_branch_stay_in_the_clone(lab: Lab):
    place = lab.place()
    await lab.started(place)
    lab.commit(place.worktree)
    lab.git("checkout", "--quiet", "--detach", "origin/main", cwd=place.worktree)
    stray = lab.commit(place.worktree, "stray.txt")
    assert await drop(place) is None
    assert lab.sha(f"rescue/{TASK}/{stray[:12]}", cwd=place.repository.clone) == stray


async def test_a_folder_that_the_clone_does_not_know_is_left_alone(lab: Lab):
    place = lab.place()
    place.worktree.mkdir(parents=True)
    (place.worktree / "mine.txt").write_text("mine\n")
    answer = await drop(place)
    assert isinstance(answer, GitProblem)
    assert (place.worktree / "mine.txt").exists()


def merge(lab: Lab, *how: str) -> None:
    person = lab.person()
    lab.git("fetch", "--quiet", cwd=person)
    lab.git("merge", "--quiet", *how, f"origin/{BRANCH}", cwd=person)
    if "--squash" in how:
        lab.git("commit", "--quiet", "-m", "Squashed", cwd=person)
    lab.git("push", "--quiet", "origin", "main", cwd=person)


@pytest.mark.parametrize("how", [["--no-ff", "-m", "Merge"], ["--ff-only"], ["--squash"]], ids=lambda how: how[0])
async def test_work_is_known_to_be_merged_however_it_was(lab: Lab, how: list[str]):
    place = lab.place()
    assert await merged(place) is False
    await lab.attempt(place)
    assert await merged(place) is False
    merge(lab, *how)
    assert await merged(place) is True
    lab.main_moves()
    assert await merged(place) is True


async def test_on_another_machine_it_is_known_too_where_the_commit_is(lab: Lab):
    done = await lab.attempt(lab.place())
    merge(lab, "--ff-only")
    lab.git("branch", "-D", BRANCH, cwd=lab.origin)
    there = lab.place("elm", machine="there")
    assert await merged(there) is False
    assert await merged(there, done.evidence.head_sha) is True


async def test_a_branch_that_was_only_begun_is_not_taken_for_merged_work(lab: Lab):
    place = lab.place()
    began = await lab.started(place)
    assert await merged(place) is False
    lab.agent_pushes(place, "origin", "HEAD")
    assert lab.sha(BRANCH) == began.head_sha
    assert await merged(place) is False
    lab.main_moves()
    assert await merged(place) is False


async def test_whether_it_is_merged_cannot_be_told_while_origin_is_away(lab: Lab):
    place = lab.place()
    await lab.attempt(place)
    lab.origin.rename(lab.root / "away.git")
    answer = await merged(place)
    assert isinstance(answer, GitProblem)
    assert answer.reason == "git_fetch_failed"


async def test_a_file_that_cannot_be_read_is_not_one_that_is_not_there(lab: Lab) -> None:
    """The checks of a repository are such a file: work must not count as checked as git could not tell them."""
    place = lab.place()
    began = await lab.started(place)
    assert await file_at(place, began.base_sha, "nowhere.toml") is None
    assert await file_at(place, began.base_sha, "README") == b"project\n"
    clone = place.repository.clone
    blob = lab.git("rev-parse", f"{began.base_sha}:README", cwd=clone)
    (clone / "objects" / blob[:2] / blob[2:]).unlink()
    assert isinstance(await file_at(place, began.base_sha, "README"), GitProblem)
    assert isinstance(await file_at(place, "0" * 40, "README"), GitProblem)
