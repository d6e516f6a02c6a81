"""What an agent did, as git tells it, whatever the agent did to its worktree."""

from __future__ import annotations

import shutil

import pytest

from tests.git.lab import BRANCH, TASK, Begun, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_5]


async def test_work_that_was_committed_is_counted(lab: Lab, begun: Begun):
    place, began = begun
    lab.commit(place.worktree, "new.txt", "a\nb\n")
    head = lab.commit(place.worktree, "sub/file.txt", "one\nthree\n")
    done = await lab.finished(place, began)
    assert done.problem is None
    evidence = done.evidence
    assert (evidence.branch, evidence.base, evidence.base_sha) == (BRANCH, "main", began.base_sha)
    assert (evidence.head_sha, evidence.commits, evidence.pushed, evidence.rescue) == (head, 2, False, "")
    assert (evidence.files, evidence.insertions, evidence.deletions) == (2, 2, 1)
    assert await lab.finished(place, began) == done


async def test_an_agent_that_commits_nothing_breaks_no_rule_and_has_no_commits(lab: Lab, begun: Begun):
    done = await lab.finished(*begun)
    assert (done.problem, done.evidence.commits, done.evidence.head_sha) == (None, 0, begun[1].head_sha)


async def test_what_the_agent_pushed_itself_counts_as_pushed(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    assert lab.agent_pushes(place, "origin", "HEAD").returncode == 0
    done = await lab.finished(place, began)
    assert (done.evidence.pushed, done.origin_sha) == (True, head)


async def test_commits_on_another_branch_that_go_on_from_the_tasks_are_taken_over(lab: Lab, begun: Begun):
    place, began = begun
    lab.commit(place.worktree)
    lab.git("checkout", "--quiet", "-b", "feature", cwd=place.worktree)
    head = lab.commit(place.worktree, "more.txt")
    done = await lab.finished(place, began)
    assert done.problem is None
    assert (done.evidence.head_sha, done.evidence.commits) == (head, 2)
    assert f"commits on feature were taken over to {BRANCH}" in done.detail


async def test_commits_on_no_branch_are_taken_over(lab: Lab, begun: Begun):
    place, began = begun
    lab.git("checkout", "--quiet", "--detach", cwd=place.worktree)
    head = lab.commit(place.worktree)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.head_sha) == (None, head)


async def test_commits_that_do_not_go_on_from_the_tasks_branch_are_a_problem_and_rescued(lab: Lab, begun: Begun):
    place, began = begun
    own = lab.commit(place.worktree)
    lab.git("checkout", "--quiet", "-b", "feature", "origin/main", cwd=place.worktree)
    stray = lab.commit(place.worktree, "stray.txt")
    done = await lab.finished(place, began)
    assert done.evidence.head_sha == own
    assert done.problem is not None
    assert done.problem.reason == "uncommitted"
    assert "commits on feature do not go on from" in done.problem.detail
    assert lab.sha(done.evidence.rescue) == stray


async def test_to_look_at_another_branch_is_no_problem_and_takes_nothing_over(lab: Lab, begun: Begun):
    place, began = begun
    other = await lab.attempt(lab.place("elm", task="other"), "others.txt")
    lab.git("fetch", "--quiet", cwd=place.worktree)
    lab.git("checkout", "--quiet", "--detach", "origin/oak/other", cwd=place.worktree)
    done = await lab.finished(place, began)
    assert lab.git("rev-parse", "HEAD", cwd=place.worktree) == other.evidence.head_sha
    assert (done.problem, done.evidence.commits, done.evidence.head_sha) == (None, 0, began.head_sha)


async def test_a_deleted_branch_is_made_again_where_it_was(lab: Lab, begun: Begun):
    place, began = begun
    lab.git("checkout", "--quiet", "--detach", cwd=place.worktree)
    lab.git("branch", "-D", BRANCH, cwd=place.worktree)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.head_sha) == (None, began.head_sha)


async def test_a_push_to_the_base_itself_is_found(lab: Lab, begun: Begun):
    place, began = begun
    lab.commit(place.worktree)
    assert lab.agent_pushes(place, "origin", "HEAD:main").returncode == 1
    assert lab.agent_pushes(place, "--no-verify", "origin", "HEAD:main").returncode == 0
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert done.problem.reason == "push_refused"
    assert "pushed to main itself" in done.problem.detail
    assert done.evidence.commits == 1


async def test_a_base_that_others_moved_is_not_held_against_the_agent_that_merges_it(lab: Lab, begun: Begun):
    place, began = begun
    moved = lab.main_moves()
    lab.git("fetch", "--quiet", cwd=place.worktree)
    lab.git("merge", "--quiet", "--ff-only", "origin/main", cwd=place.worktree)
    lab.commit(place.worktree)
    done = await lab.finished(place, began)
    assert done.problem is None
    assert (done.evidence.base_sha, done.evidence.commits, done.evidence.files) == (moved, 1, 1)


async def test_a_merge_of_the_tasks_branch_by_a_person_is_no_push_to_the_base(lab: Lab, begun: Begun):
    place, began = begun
    lab.commit(place.worktree)
    assert lab.agent_pushes(place, "origin", "HEAD").returncode == 0
    person = lab.person()
    lab.git("fetch", "--quiet", cwd=person)
    lab.git("merge", "--quiet", "--no-ff", "-m", "Merge", f"origin/{BRANCH}", cwd=person)
    lab.git("push", "--quiet", "origin", "main", cwd=person)
    assert (await lab.finished(place, began)).problem is None


async def test_a_deleted_git_file_is_mended_and_nothing_is_lost(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    (place.worktree / "loose.txt").write_text("loose\n")
    (place.worktree / ".git").unlink()
    done = await lab.finished(place, began)
    assert done.evidence.head_sha == head
    assert done.problem is not None
    assert done.problem.detail.startswith("1 file not committed, such as loose.txt")
    assert lab.shown(done.evidence.rescue, "loose.txt") == "loose"
    assert "its .git was gone" in done.detail


async def test_a_git_file_that_was_deleted_and_pruned_is_made_anew_on_the_branch(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    (place.worktree / ".git").unlink()
    lab.git("worktree", "prune", cwd=place.repository.clone)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.head_sha) == (None, head)
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""


async def test_a_repository_of_the_agents_own_in_place_of_the_worktree_is_kept_and_its_files_are_rescued(
    lab: Lab, begun: Begun
):
    place, began = begun
    (place.worktree / ".git").unlink()
    lab.git("init", "--quiet", cwd=place.worktree)
    lab.git("config", "user.name", "me", cwd=place.worktree)
    lab.git("config", "user.email", "me@example.invalid", cwd=place.worktree)
    own = lab.commit(place.worktree, "own.txt", "own\n")
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert lab.shown(done.evidence.rescue, "own.txt") == "own"
    _, _, kept = done.detail.partition("another repository had been made in it: what was committed there is on ")
    assert lab.sha(kept, cwd=place.worktree) == own


async def test_a_clone_that_the_agent_removed_is_made_anew(lab: Lab, begun: Begun):
    place, began = begun
    lab.commit(place.worktree)
    shutil.rmtree(place.repository.clone)
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert done.problem.reason == "uncommitted"
    assert lab.shown(done.evidence.rescue, "work.txt") == "work"


async def test_a_commit_of_large_and_binary_files_is_measured(lab: Lab, begun: Begun):
    place, began = begun
    (place.worktree / "large").write_bytes(b"line\n" * 8_000_000)
    (place.worktree / "binary").write_bytes(bytes(1000))
    lab.git("add", "--all", cwd=place.worktree)
    lab.git("commit", "--quiet", "-m", "Large", cwd=place.worktree)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.commits, done.evidence.files) == (None, 1, 2)


async def test_the_work_is_looked_at_also_while_origin_is_away(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    (place.worktree / "loose.txt").write_text("loose\n")
    lab.origin.rename(lab.root / "away.git")
    done = await lab.finished(place, began)
    assert (done.evidence.head_sha, done.evidence.pushed) == (head, False)
    assert lab.sha(done.evidence.rescue, cwd=place.worktree) != ""


async def test_history_that_origin_never_had_may_be_rewritten(lab: Lab, begun: Begun):
    place, began = begun
    lab.commit(place.worktree)
    lab.git("commit", "--quiet", "--amend", "-m", "Better", cwd=place.worktree)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.commits) == (None, 1)


async def test_a_worktree_that_is_gone_altogether_still_has_its_commits(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    shutil.rmtree(place.worktree)
    done = await lab.finished(place, began)
    assert done.evidence.head_sha == head


async def test_commits_of_a_branch_that_was_deleted_are_taken_over(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    lab.git("checkout", "--quiet", "--detach", cwd=place.worktree)
    lab.git("branch", "-D", BRANCH, cwd=place.worktree)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.head_sha, done.evidence.commits) == (None, head, 1)


async def test_without_a_log_of_the_worktree_a_commit_that_no_branch_has_is_its_own(lab: Lab, begun: Begun):
    place, began = begun
    lab.git("checkout", "--quiet", "--detach", cwd=place.worktree)
    head = lab.commit(place.worktree)
    shutil.rmtree(place.repository.clone / "worktrees" / TASK / "logs")
    assert (await lab.finished(place, began)).evidence.head_sha == head


async def test_commits_of_a_branch_that_was_deleted_under_the_worktree_are_found_again(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    lab.git("update-ref", "-d", f"refs/heads/{BRANCH}", cwd=place.worktree)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.head_sha) == (None, head)
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""


async def test_a_damaged_head_is_restored_to_where_it_was(lab: Lab, begun: Begun):
    place, began = begun
    lab.git("checkout", "--quiet", "--detach", cwd=place.worktree)
    head = lab.commit(place.worktree)
    (place.repository.clone / "worktrees" / TASK / "HEAD").write_text("x")
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.head_sha) == (None, head)
    assert "its HEAD was damaged" in done.detail


async def test_a_branch_that_was_begun_from_nothing_is_rescued_and_the_task_can_go_on(lab: Lab, begun: Begun):
    place, began = begun
    lab.git("update-ref", "-d", f"refs/heads/{BRANCH}", cwd=place.worktree)
    orphan = lab.commit(place.worktree)
    done = await lab.finished(place, began)
    assert done.evidence.head_sha == began.head_sha
    assert done.problem is not None
    assert done.problem.reason == "uncommitted"
    assert "no history in common with its base" in done.detail
    assert lab.sha(f"rescue/{TASK}/{orphan[:12]}") == orphan
    assert (await lab.started(place)).head_sha == began.base_sha
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""
