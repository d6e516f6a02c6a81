"""The pre-push hook, as the agent meets it, and what follows where it was skipped."""

from __future__ import annotations

import json

import pytest

from agentcom.git import agent_environ, arm, disarm, publishable
from tests.git.lab import BRANCH, TOKEN, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_1, pytest.mark.pitfall_5]


async def test_the_attempt_at_work_may_push_its_branch(lab: Lab):
    place = lab.place()
    await lab.started(place)
    head = lab.commit(place.worktree)
    pushed = lab.agent_pushes(place)
    assert pushed.returncode == 0, pushed.stderr
    assert lab.sha(BRANCH) == head


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["origin", "HEAD:main"], "main is the base"),
        (["origin", "HEAD:other"], f"only {BRANCH} may be pushed from here, not refs/heads/other"),
        (["origin", "HEAD:refs/tags/v1"], "not refs/tags/v1"),
        (["origin", f":{BRANCH}"], "must not be deleted"),
        (["origin", "--delete", BRANCH], "must not be deleted"),
        (["origin", "--mirror"], "may be pushed from here"),
        (["origin", "HEAD", "HEAD:other"], "not refs/heads/other"),
    ],
)
async def test_nothing_else_may_be_pushed(lab: Lab, arguments: list[str], why: str):
    place = lab.place()
    await lab.attempt(place)
    await lab.started(place)
    lab.commit(place.worktree, "more.txt")
    before = lab.git("for-each-ref", cwd=lab.origin)
    pushed = lab.agent_pushes(place, *arguments)
    assert pushed.returncode == 1
    assert why in pushed.stderr.partition("agentcom: push refused: ")[2].split("\n")[0]
    assert lab.git("for-each-ref", cwd=lab.origin) == before


async def test_a_rewritten_history_cannot_be_forced(lab: Lab):
    place = lab.place()
    await lab.attempt(place)
    await lab.started(place)
    lab.git("commit", "--quiet", "--amend", "-m", "Better", cwd=place.worktree)
    pushed = lab.agent_pushes(place, "--force", "origin", "HEAD")
    assert "would lose" in pushed.stderr
    assert pushed.returncode == 1


async def test_a_branch_from_before_the_base_that_the_attempt_began_at_is_refused(lab: Lab):
    old = lab.sha("main")
    lab.main_moves()
    place = lab.place()
    await lab.started(place)
    lab.git("reset", "--quiet", "--hard", old, cwd=place.worktree)
    lab.commit(place.worktree)
    pushed = lab.agent_pushes(place)
    assert "the base is stale: merge origin/main" in pushed.stderr
    lab.git("merge", "--quiet", "--no-edit", "origin/main", cwd=place.worktree)
    assert lab.agent_pushes(place).returncode == 0


async def test_an_attempt_that_has_lost_the_task_may_not_push(lab: Lab):
    place = lab.place()
    began = await lab.started(place, "1-old")
    lab.commit(place.worktree)
    arm(place, "2-new", began)
    assert "attempt 1-old has this task no longer" in lab.agent_pushes(place, token="1-old").stderr
    assert "AGENTCOM_FENCE is not set" in lab.agent_pushes(place, token="").stderr
    assert lab.agent_pushes(place, token="2-new").returncode == 0


async def test_without_an_attempt_nothing_may_be_pushed(lab: Lab):
    place = lab.place()
    began = await lab.started(place)
    lab.commit(place.worktree)
    disarm(place)
    disarm(place)
    assert "no attempt is at work here" in lab.agent_pushes(place).stderr
    arm(place, "1-abcd", began)
    await lab.started(place, "2-next")
    assert lab.agent_pushes(place, token="1-abcd").returncode == 1


@pytest.mark.parametrize("noted", ["", "[]", "{}", "null", '{"token": "1-abcd"}', "\udcff", "{" * 100_000])
async def test_a_damaged_note_refuses(lab: Lab, noted: str):
    place = lab.place()
    await lab.started(place)
    lab.commit(place.worktree)
    place.guard.write_bytes(noted.encode("utf-8", "surrogateescape"))
    pushed = lab.agent_pushes(place)
    assert pushed.returncode == 1
    assert "Traceback" not in pushed.stderr
    assert lab.branches() == ["main"]


async def test_the_note_is_for_its_owner_alone(lab: Lab):
    place = lab.place()
    await lab.started(place)
    assert place.guard.stat().st_mode & 0o077 == 0
    assert json.loads(place.guard.read_text())["branch"] == BRANCH


async def test_a_repositorys_own_hooks_path_does_not_hide_the_hook(lab: Lab):
    place = lab.place()
    await lab.started(place)
    lab.git("config", "core.hooksPath", "/nowhere", cwd=place.worktree)
    lab.commit(place.worktree)
    assert "push refused" in lab.agent_pushes(place, "origin", "HEAD:main").stderr


async def test_a_hook_that_the_agent_spoiled_is_there_again_at_the_next_start(lab: Lab):
    place = lab.place()
    await lab.started(place)
    folder = lab.git("config", "core.hooksPath", cwd=place.worktree)
    hook = place.guard.parent / folder / "pre-push"
    hook.chmod(0o644)
    lab.git("config", "--worktree", "core.hooksPath", "/nowhere", cwd=place.worktree)
    await lab.started(place)
    lab.commit(place.worktree)
    assert "push refused" in lab.agent_pushes(place, "origin", "HEAD:main").stderr


async def test_a_rewritten_history_that_was_forced_past_the_hook_is_refused_by_the_sidecar(lab: Lab):
    place = lab.place()
    first = await lab.attempt(place)
    began = await lab.started(place)
    lab.git("reset", "--quiet", "--hard", "HEAD~1", cwd=place.worktree)
    lab.git("config", "user.name", "x", cwd=place.worktree)
    lab.commit(place.worktree, "other.txt")
    assert lab.agent_pushes(place, "--force", "--no-verify", "origin", "HEAD").returncode == 0
    assert lab.sha(BRANCH) != first.evidence.head_sha
    answer = await publishable(place, began)
    assert answer is not None
    assert answer.reason == "push_refused"
    assert first.evidence.head_sha[:12] in answer.detail
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert "forced away" in done.problem.detail
    assert lab.sha(done.evidence.rescue) == first.evidence.head_sha
    lab.git("merge", "--quiet", "--no-edit", "-s", "ours", done.evidence.rescue, cwd=place.worktree)
    assert await publishable(place, began) is None


async def test_an_agents_environment_lets_it_push_and_keeps_git_from_asking_and_from_other_repositories(lab: Lab):
    place = lab.place()
    outer = place.worktree.parent
    outer.mkdir(parents=True)
    lab.git("init", "--quiet", cwd=outer)
    await lab.started(place)
    environ = agent_environ(place, TOKEN)
    (place.worktree / "new.txt").write_text("new\n")
    lab.git("add", "new.txt", cwd=place.worktree, **environ)
    assert lab.run("commit", "--quiet", cwd=place.worktree, **environ).returncode == 1  # an empty message, at once
    lab.git("commit", "--quiet", "-m", "New", cwd=place.worktree, **environ)
    lab.git("push", "--quiet", cwd=place.worktree, **environ)
    (place.worktree / ".git").unlink()
    assert "not a git repository" in lab.run("add", "new.txt", cwd=place.worktree, **environ).stderr
