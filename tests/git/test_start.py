"""Where a task's work begins, and goes on."""

from __future__ import annotations

import pytest

from agentcom.git import GitProblem, start
from tests.git.lab import BRANCH, TASK, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_1, pytest.mark.pitfall_5]


async def test_the_first_attempt_begins_at_the_base_on_the_tasks_branch(lab: Lab):
    place = lab.place()
    began = await lab.started(place)
    assert began.base == "main"
    assert began.base_sha == began.head_sha == lab.sha("main")
    assert (began.resumed, began.origin_sha, began.conflicts, began.detail) == (False, "", (), "")
    assert lab.git("branch", "--show-current", cwd=place.worktree) == BRANCH
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""
    assert (place.worktree / "sub" / "file.txt").read_text() == "one\ntwo\nthree\n"


async def test_without_a_base_it_is_what_origins_head_names(lab: Lab):
    lab.git("branch", "trunk", "main", cwd=lab.origin)
    lab.git("symbolic-ref", "HEAD", "refs/heads/trunk", cwd=lab.origin)
    assert (await lab.started(lab.place(base=""))).base == "trunk"


async def test_a_task_that_comes_to_another_agent_on_another_machine_goes_on_from_what_was_pushed(lab: Lab):
    done = await lab.attempt(lab.place("oak"))
    elm = lab.place("elm", machine="there")
    began = await lab.started(elm)
    assert (began.resumed, began.head_sha, began.origin_sha) == (True, done.evidence.head_sha, done.evidence.head_sha)
    again = await lab.attempt(elm, "more.txt")
    assert again.evidence.commits == 2
    assert lab.branches() == ["main", BRANCH]
    assert lab.sha(BRANCH) == again.evidence.head_sha


async def test_two_agents_of_one_machine_one_after_another_share_the_branch_and_the_first_cannot_move_it(lab: Lab):
    oak, elm = lab.place("oak"), lab.place("elm")
    done = await lab.attempt(oak)
    began = await lab.started(elm)
    assert began.head_sha == done.evidence.head_sha
    late = lab.commit(oak.worktree, "late.txt")
    assert lab.sha(BRANCH, cwd=elm.worktree) == began.head_sha != late
    assert lab.git("status", "--porcelain", cwd=elm.worktree) == ""


async def test_commits_that_only_this_machine_has_go_on(lab: Lab):
    place = lab.place()
    await lab.started(place)
    made = lab.commit(place.worktree)
    again = await lab.started(place)
    assert (again.resumed, again.head_sha, again.origin_sha) == (True, made, "")
    assert "only this clone has" in again.detail


async def test_where_origin_is_ahead_its_commits_are_taken(lab: Lab):
    oak, elm = lab.place("oak"), lab.place("elm", machine="there")
    await lab.attempt(oak)
    done = await lab.attempt(elm, "more.txt")
    assert (await lab.started(oak)).head_sha == done.evidence.head_sha
    assert (oak.worktree / "more.txt").exists()


async def test_where_both_went_on_origin_wins_and_what_was_here_is_rescued(lab: Lab):
    oak, elm = lab.place("oak"), lab.place("elm", machine="there")
    await lab.attempt(oak)
    done = await lab.attempt(elm, "more.txt")
    lost = lab.commit(oak.worktree, "lost.txt", "not lost\n")
    began = await lab.started(oak)
    assert began.head_sha == done.evidence.head_sha
    rescue = f"rescue/{TASK}/{lost[:12]}"
    assert rescue in began.detail
    assert lab.sha(rescue) == lost
    assert lab.shown(rescue, "lost.txt") == "not lost"


async def test_an_empty_branch_of_an_earlier_attempt_follows_the_base(lab: Lab):
    place = lab.place()
    await lab.started(place)
    moved = lab.main_moves()
    began = await lab.started(place)
    assert (began.resumed, began.head_sha) == (False, moved)


async def test_a_branch_of_somebody_else_that_ends_in_the_tasks_id_is_gone_on_from(lab: Lab):
    person = lab.person()
    lab.git("checkout", "--quiet", "-b", f"ann/{TASK}", cwd=person)
    begun = lab.commit(person, "begun.txt")
    lab.git("push", "--quiet", "origin", f"ann/{TASK}", cwd=person)
    began = await lab.started(lab.place())
    assert (began.resumed, began.head_sha) == (True, begun)
    assert f"goes on from ann/{TASK}" in began.detail


async def test_a_base_that_moved_is_merged_into_work_that_goes_on(lab: Lab):
    place = lab.place()
    done = await lab.attempt(place)
    moved = lab.main_moves()
    began = await lab.started(place)
    assert began.base_sha == moved
    assert (place.worktree / "news.txt").exists()
    parents = lab.git("log", "-1", "--format=%P%n%an%n%ae", cwd=place.worktree).split("\n")
    assert parents == [f"{done.evidence.head_sha} {moved}", "oak", "oak@agentcom.invalid"]
    assert (await lab.finished(place, began)).evidence.files == 1  # what came from the base is not the task's work


async def test_a_base_that_conflicts_is_left_to_the_agent_and_said(lab: Lab):
    place = lab.place()
    done = await lab.attempt(place, "news.txt", "mine\n")
    lab.main_moves("news.txt", "theirs\n")
    began = await lab.started(place)
    assert began.conflicts == ("news.txt",)
    assert began.head_sha == done.evidence.head_sha
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""


async def test_uncommitted_files_of_an_earlier_attempt_are_rescued_and_caches_stay(lab: Lab):
    place = lab.place()
    await lab.started(place)
    (place.worktree / "README").write_text("changed\n")
    (place.worktree / "new.txt").write_text("new\n")
    (place.worktree / "cache").mkdir()
    (place.worktree / "cache" / "kept").write_text("")
    began = await lab.started(place)
    assert (place.worktree / "README").read_text() == "project\n"
    assert not (place.worktree / "new.txt").exists()
    assert (place.worktree / "cache" / "kept").exists()
    [rescue] = [branch for branch in lab.branches() if branch.startswith("rescue/")]
    assert rescue in began.detail
    assert (lab.shown(rescue, "README"), lab.shown(rescue, "new.txt")) == ("changed", "new")


async def test_the_same_agent_can_go_on_with_its_uncommitted_files(lab: Lab):
    place = lab.place()
    await lab.started(place)
    (place.worktree / "new.txt").write_text("new\n")
    began = await lab.started(place, keep=True)
    assert (place.worktree / "new.txt").exists()
    assert "saved" not in began.detail
    assert lab.branches() == ["main"]


async def test_an_agent_without_an_identity_can_commit_under_its_name(lab: Lab):
    place = lab.place()
    await lab.started(place)
    lab.commit(place.worktree)
    assert lab.git("log", "-1", "--format=%an <%ae>", cwd=place.worktree) == "oak <oak@agentcom.invalid>"


async def test_a_users_own_identity_is_kept(lab: Lab):
    (lab.root / "home" / ".gitconfig").write_text("[user]\nname = Eve\nemail = eve@example.invalid\n")
    place = lab.place()
    await lab.started(place)
    lab.commit(place.worktree)
    assert lab.git("log", "-1", "--format=%an <%ae>", cwd=place.worktree) == "Eve <eve@example.invalid>"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"branch": "--delete"}, "no name of a branch"),
        ({"branch": "oak/-d"}, "no name of a branch"),
        ({"branch": "a..b"}, "no name of a branch"),
        ({"branch": "main"}, "is the base itself"),
        ({"task": "../../x", "branch": "oak/x"}, "no name of a branch"),
        ({"base": "-x"}, "no name of a branch"),
        ({"url": "--upload-pack=touch pwned"}, "no URL or path"),
        ({"url": "ext::sh -c touch% pwned"}, "cannot be reached"),
    ],
)
async def test_names_that_git_would_take_for_something_else_are_refused(lab: Lab, names: dict[str, str], said: str):
    answer = await start(lab.place(**names))  # type: ignore[arg-type]
    assert isinstance(answer, GitProblem)
    assert said in answer.detail
    assert not (lab.root / "pwned").exists()


async def test_a_worktree_in_a_place_that_cannot_be_written_to_is_a_problem_of_this_machine(lab: Lab):
    place = lab.place()
    place.worktree.parent.mkdir(parents=True)
    place.worktree.write_text("a file where a folder should be")
    answer = await start(place)
    assert isinstance(answer, GitProblem)
    assert answer.reason == "unfit"
    assert str(place.worktree) in answer.detail
