"""An attempt on a real repository: what is reported done is done, and somebody other than the agent saw it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agentcom.forge.base import Draft, ForgeTrouble
from agentcom.forge.git import Git
from agentcom.forge.local import LocalForge
from agentcom.forge.none import NoForge
from agentcom.forge.origin import Origin
from agentcom.model.codec import encode
from agentcom.model.task import PullRequest
from agentcom.processes import identify
from agentcom.sidecar.runners import publishing
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.progress import Progress, save
from tests.sidecar.attempt_process import Described
from tests.sidecar.workbench import POLICY, Workbench, git

pytestmark = [pytest.mark.process, pytest.mark.pitfall_5]

WORK = "echo working; echo more >> README.md; git commit -qam 'did it'"


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


async def test_work_is_committed_checked_pushed_and_reviewed(bench: Workbench) -> None:
    outcome = await bench.run("oak", WORK, spec={"checks": ("grep -q more README.md",)})
    assert (outcome.result, outcome.reason, outcome.detail) == ("completed", "", "")
    evidence = outcome.evidence
    assert evidence is not None
    assert (evidence.branch, evidence.base, evidence.commits, evidence.files) == (f"oak/{bench.task}", "main", 1, 1)
    assert bench.branches[evidence.branch] == evidence.head_sha
    assert [(check.command, check.by, check.sha, check.passed) for check in outcome.checks] == [
        ("grep -q more README.md", "oak", evidence.head_sha, True),
        ("sh check.sh", "oak", evidence.head_sha, True),
    ]
    assert outcome.pull_request is not None
    assert outcome.pull_request.state == "open"
    assert await bench.forge.find(bench.task, evidence.branch) == outcome.pull_request
    assert list(dict.fromkeys(bench.phases)) == ["preparing", "working", "verifying"]


async def test_the_agent_wakes_on_its_branch_in_a_clean_worktree_of_the_current_base(bench: Workbench) -> None:
    head = bench.commit({"README.md": "newer\n"})
    script = "git rev-parse HEAD; git branch --show-current; git status --porcelain; cat README.md; exit 3"
    outcome = await bench.run("oak", script)
    assert outcome.exit_code == 3
    lines = bench.heard.output.decode().splitlines()
    assert [head, f"oak/{bench.task}", "newer"] == lines[:3]


async def test_a_dead_origin_fails_the_attempt_before_the_agent_starts(bench: Workbench) -> None:
    bench.origin.rename(bench.folder / "gone.git")
    outcome = await bench.run("oak", WORK, policy=replace(POLICY, git_s=5.0))
    assert (outcome.result, outcome.reason) == ("failed", "git_fetch_failed")
    assert bench.heard.events == [], "nobody was woken"


async def test_failed_checks_go_back_to_the_agent_with_what_they_printed(bench: Workbench) -> None:
    script = """
        if [ -e README.fixed ]; then echo unexpected; fi
        cat > told
        if grep -q 'must say fixed' told; then echo fixed >> README.md; else echo broken >> README.md; fi
        rm told; git commit -qam 'a try'
    """
    check = "sh -c 'grep -q fixed README.md || { echo it must say fixed; exit 1; }'"
    outcome = await bench.run("oak", script, spec={"checks": (check,)})
    assert outcome.result == "completed", outcome
    assert [check.passed for check in outcome.checks] == [True, True]
    assert outcome.evidence is not None
    assert outcome.evidence.commits == 2
    assert bench.phases[:5] == ["preparing", "working", "verifying", "working", "verifying"]


async def test_work_that_never_passes_fails_verification_and_is_kept_for_whoever_goes_on(bench: Workbench) -> None:
    outcome = await bench.run("oak", "date +%N >> README.md; git commit -qam try", spec={"checks": ("false",)})
    assert (outcome.result, outcome.reason) == ("failed", "verification_failed")
    assert outcome.evidence is not None
    assert outcome.evidence.commits == 1 + POLICY.max_returns
    assert bench.branches[f"oak/{bench.task}"] == outcome.evidence.head_sha
    assert await bench.forge.find(bench.task, f"oak/{bench.task}") is None, "nobody reviews what does not pass"


async def test_an_agent_cannot_make_its_own_checks_pass(bench: Workbench) -> None:
    bench.commit({"agentcom.toml": '[checks]\ncommands = ["false"]\n'})
    script = "printf '[checks]\\ncommands = [\"true\"]\\n' > agentcom.toml; git commit -qam 'easier'; true"
    outcome = await bench.run("oak", script, policy=replace(POLICY, max_returns=0))
    assert outcome.reason == "verification_failed"
    assert [check.command for check in outcome.checks] == ["false"]


async def test_checks_of_a_repository_that_cannot_be_read_wait_for_a_person(bench: Workbench) -> None:
    bench.commit({"agentcom.toml": "[checks\n"})
    outcome = await bench.run("oak", WORK)
    assert (outcome.result, outcome.reason) == ("failed", "checks_unreadable")
    assert bench.heard.events == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo done", "no_change"),
        ("echo more >> README.md", "uncommitted"),
        ("echo new > new.txt", "uncommitted"),
    ],
)
async def test_exit_0_is_no_evidence(bench: Workbench, script: str, reason: str) -> None:
    outcome = await bench.run("oak", script)
    assert (outcome.result, outcome.reason) == ("failed", reason)


async def test_uncommitted_work_is_saved_on_a_rescue_branch(bench: Workbench) -> None:
    outcome = await bench.run("oak", "echo precious > new.txt", policy=replace(POLICY, max_returns=0))
    assert outcome.reason == "uncommitted"
    assert outcome.evidence is not None
    assert outcome.evidence.rescue in bench.branches
    assert git(bench.origin, "show", f"{outcome.evidence.rescue}:new.txt") == "precious"


async def test_what_an_agent_says_that_needs_no_change_is_done(bench: Workbench) -> None:
    script = """echo '{"summary": "NO CHANGE: it is right already"}' > $AGENTCOM_RESULT_FILE"""
    outcome = await bench.run("oak", script)
    assert (outcome.result, outcome.pull_request) == ("completed", None)
    assert [check.passed for check in outcome.checks] == [True]


@pytest.mark.pitfall_1
async def test_a_second_agent_goes_on_from_what_the_first_had_pushed(bench: Workbench) -> None:
    first = await bench.run("oak", "echo one >> README.md; git commit -qam one; exit 7")
    assert (first.result, first.exit_code) == ("failed", 7)
    second = await bench.run("elm", "git log --format=%s -1; echo two >> README.md; git commit -qam two")
    assert second.result == "completed", second
    assert second.evidence is not None
    assert (second.evidence.branch, second.evidence.commits) == (f"oak/{bench.task}", 2)
    assert set(bench.branches) == {"main", f"oak/{bench.task}"}, "one branch for the task, for ever"
    assert b"one\n" in bench.heard.output


@pytest.mark.pitfall_1
async def test_there_is_one_pull_request_however_often_it_is_done(bench: Workbench) -> None:
    first = await bench.run("oak", WORK)
    second = await bench.run("elm", WORK)
    assert first.pull_request is not None
    assert second.pull_request == first.pull_request


@pytest.mark.pitfall_1
async def test_a_task_whose_pull_request_is_merged_or_closed_is_not_run_again(bench: Workbench) -> None:
    done = await bench.run("oak", WORK)
    git(bench.person, "fetch", "-q")
    git(bench.person, "merge", "-q", "--no-ff", "-m", "reviewed", f"origin/oak/{bench.task}")
    git(bench.person, "push", "-q", "origin", "HEAD:main")
    bench.heard.events.clear()
    again = await bench.run("elm", WORK)
    assert (again.result, bench.heard.events) == ("completed", [])
    assert again.pull_request is not None
    assert (again.pull_request.url, again.pull_request.state) == (done.pull_request and done.pull_request.url, "merged")


async def test_what_checks_leave_behind_is_no_work_of_the_agent(bench: Workbench) -> None:
    check = "sh -c 'echo litter > litter.txt; echo changed >> README.md; test -e second'"
    script = (
        "echo x >> README.md; if [ -e first ]; then touch second; else touch first; fi; git add -A; git commit -qm x"
    )
    outcome = await bench.run("oak", script, spec={"checks": (check,)})
    assert outcome.result == "completed", outcome
    assert "litter.txt" not in git(bench.origin, "ls-tree", "--name-only", f"oak/{bench.task}")


async def test_each_check_sees_the_commit_and_not_what_an_earlier_one_made_of_it(bench: Workbench) -> None:
    """What is pushed is the commit, so a formatter that is a check must not make the tests pass."""
    checks = (
        "sh -c 'echo formatted >> README.md; echo made > made.txt'",
        "grep -q formatted README.md",
        "cat made.txt",
    )
    outcome = await bench.run("oak", WORK, spec={"checks": checks}, policy=replace(POLICY, max_returns=0))
    assert outcome.reason == "verification_failed"
    assert [check.passed for check in outcome.checks] == [True, False, False, True]


HIDDEN_CHANGES = {
    "assumed unchanged": "git update-index --assume-unchanged README.md; echo needed >> README.md",
    "skipped": "git update-index --skip-worktree README.md; echo needed >> README.md",
    "excluded": 'echo new.txt > "$(git rev-parse --git-common-dir)/info/exclude"; echo needed > new.txt',
}


@pytest.mark.parametrize("hide", HIDDEN_CHANGES.values(), ids=HIDDEN_CHANGES.keys())
async def test_a_change_that_git_was_told_not_to_look_at_is_uncommitted_work(bench: Workbench, hide: str) -> None:
    bench.commit({"check.sh": "grep -rq needed --include='*.*' . --exclude=check.sh\n", "other.md": "one\n"})
    script = f"{hide}; echo two >> other.md; git add other.md; git commit -qm other"
    outcome = await bench.run("oak", script, policy=replace(POLICY, max_returns=0))
    assert (outcome.result, outcome.reason) == ("failed", "uncommitted"), outcome
    assert outcome.evidence is not None
    rescued = git(bench.origin, "grep", "-h", "needed", outcome.evidence.rescue, "--", "README.md", "new.txt")
    assert rescued == "needed"


async def test_a_check_that_goes_to_another_branch_changes_nothing_there(bench: Workbench) -> None:
    checks = ("git checkout -q -b elsewhere origin/main", "test -d .git -o -f .git")
    outcome = await bench.run("oak", WORK, spec={"checks": checks})
    assert outcome.result == "completed", outcome
    clone = next((bench.agent_folder("oak").parent.parent / "clones").glob("*.git"))
    assert git(clone, "rev-parse", "elsewhere") == git(bench.origin, "rev-parse", "main")
    worktree = bench.agent_folder("oak") / "workspaces" / bench.task
    assert git(worktree, "branch", "--show-current") == f"oak/{bench.task}"


async def test_a_stale_base_that_conflicts_goes_back_to_the_agent(bench: Workbench) -> None:
    script = f"""
        if [ -e $HOME/woken ]; then
            git merge -q origin/main || {{ printf 'both\\n' > README.md; git add -A; git commit -qm merged; }}
        else
            touch $HOME/woken; printf 'mine\\n' > README.md; git commit -qam mine
            cd {bench.person}; printf 'theirs\\n' > README.md
            git -c user.name=x -c user.email=x@example.com commit -qam theirs; git push -q origin HEAD:main
        fi
    """
    outcome = await bench.run("oak", script)
    assert outcome.result == "completed", outcome
    assert git(bench.origin, "show", f"oak/{bench.task}:README.md") == "both"


async def test_an_agent_that_pushes_to_the_base_is_found_out(bench: Workbench) -> None:
    outcome = await bench.run("oak", f"{WORK}; git push -q --no-verify origin HEAD:main")
    assert (outcome.result, outcome.reason) == ("failed", "push_refused")


async def test_the_hook_refuses_what_the_agent_may_not_push(bench: Workbench) -> None:
    pushes = "git push origin HEAD:main; git push origin HEAD:other"
    script = f"{WORK}; {pushes}; git push origin HEAD:oak/{bench.task} && echo pushed"
    outcome = await bench.run("oak", script)
    assert outcome.result == "completed", outcome
    assert set(bench.branches) == {"main", f"oak/{bench.task}"}
    assert b"is the base" in bench.heard.output
    assert b"pushed" in bench.heard.output


async def test_without_a_repository_the_checks_alone_are_the_evidence(bench: Workbench) -> None:
    outcome = await bench.run("oak", "echo hi > out.txt", repo="", spec={"checks": ("test -s out.txt",)})
    assert (outcome.result, outcome.evidence) == ("completed", None)
    assert [(check.passed, check.sha) for check in outcome.checks] == [(True, "")]


class Away(LocalForge):
    """A forge that is away for so many calls, or refuses for ever."""

    def __init__(self, bench: Workbench, calls: int, *, hopeless: bool = False) -> None:
        super().__init__(Origin(str(bench.origin), Git(bench.folder / "forge", bench.environ)))
        self.calls = calls
        self.hopeless = hopeless

    async def find(self, task: str, branch: str) -> PullRequest | None:
        self._answer()
        return await super().find(task, branch)

    async def publish(self, draft: Draft) -> PullRequest:
        self._answer()
        return await super().publish(draft)

    def _answer(self) -> None:
        if self.calls:
            self.calls -= 1
            raise ForgeTrouble("503: come back later", 0.01, hopeless=self.hopeless)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "FIRST_WAIT_S", 0.05)


@pytest.mark.usefixtures("at_once")
async def test_finished_work_waits_for_a_forge_that_is_away(bench: Workbench) -> None:
    outcome = await bench.run("oak", WORK, forge=Away(bench, 4))
    assert outcome.result == "completed", outcome
    assert outcome.pull_request is not None
    assert b"publishing waits" in bench.heard.output


@pytest.mark.usefixtures("at_once")
async def test_a_forge_that_stays_away_is_a_matter_for_a_person_and_the_work_is_kept(bench: Workbench) -> None:
    outcome = await bench.run("oak", WORK, forge=Away(bench, 10_000), policy=replace(POLICY, publish_s=0.3))
    assert (outcome.result, outcome.reason) == ("failed", "forge_refused")
    assert "503: come back later" in outcome.detail
    assert outcome.evidence is not None
    assert bench.branches[f"oak/{bench.task}"] == outcome.evidence.head_sha


@pytest.mark.pitfall_2
async def test_work_that_only_could_not_be_published_is_not_done_again(bench: Workbench) -> None:
    await bench.run("oak", WORK, forge=Away(bench, 10_000, hopeless=True))
    bench.heard.events.clear()
    outcome = await bench.run("oak", WORK)
    assert outcome.result == "completed", outcome
    assert bench.heard.events == [], "its agent was not woken again"
    assert outcome.pull_request is not None
    assert [check.passed for check in outcome.checks] == [True]
    assert outcome.evidence is not None
    assert outcome.evidence.commits == 1


async def test_a_refused_token_is_not_tried_for_ever(bench: Workbench) -> None:
    outcome = await bench.run("oak", WORK, forge=Away(bench, 10_000, hopeless=True))
    assert (outcome.reason, outcome.detail) == ("forge_refused", "503: come back later")


# ------------------------------------------------------- ended and adopted


async def test_what_is_ended_in_the_middle_keeps_what_it_committed(bench: Workbench) -> None:
    runner = bench.runner("oak", f"{WORK}; echo loose > loose.txt; echo ready; sleep 60")
    job = bench.job()
    async with anyio.create_task_group() as group:
        group.start_soon(runner.run, job)
        with anyio.fail_after(20):
            while b"ready" not in bench.heard.output:
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    (known,) = bench.reached
    assert known.result == "failed", "nobody checked it"
    assert known.evidence is not None
    assert bench.branches[f"oak/{bench.task}"] == known.evidence.head_sha
    assert git(bench.origin, "show", f"{known.evidence.rescue}:loose.txt") == "loose"


async def test_what_is_ended_while_its_work_is_being_saved_keeps_its_outcome(bench: Workbench) -> None:
    hook, pushing = bench.origin / "hooks" / "pre-receive", bench.folder / "pushing"
    hook.write_text(f"#!/bin/sh\ntouch {pushing}; sleep 1\n")
    hook.chmod(0o755)
    asks = """echo '{"reason": "input_required", "detail": "which one?"}' > $AGENTCOM_RESULT_FILE; exit 1"""
    runner = bench.runner("oak", f"{WORK}; {asks}")
    async with anyio.create_task_group() as group:
        group.start_soon(runner.run, bench.job())
        with anyio.fail_after(30):
            while not pushing.exists():
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    (known,) = bench.reached
    assert (known.reason, known.detail) == ("input_required", "which one?")
    assert known.evidence is not None
    assert bench.branches[f"oak/{bench.task}"] == known.evidence.head_sha


@pytest.mark.pitfall_1
async def test_what_is_somebody_elses_by_now_publishes_nothing(bench: Workbench) -> None:
    runner = bench.runner("oak", f"{WORK}; echo ready; sleep 60")
    job = replace(bench.job(), ours=lambda: False)
    async with anyio.create_task_group() as group:
        group.start_soon(runner.run, job)
        with anyio.fail_after(20):
            while b"ready" not in bench.heard.output:
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert set(bench.branches) == {"main"}


@pytest.mark.pitfall_3
@pytest.mark.parametrize("stage", ["agent", "checks", "publish"])
async def test_a_later_start_goes_on_from_the_stage_that_was_reached(bench: Workbench, stage: str) -> None:
    """The sidecar is killed in each of the stages; the next one adopts the attempt."""
    log, go = bench.folder / "log", bench.folder / "go"
    waits = f"while [ ! -e {go} ]; do sleep 0.05; done"
    check = f"sh -c 'echo checking >> {log}; {waits if stage == 'checks' else 'true'}'"
    script = f"echo woken >> {log}; {WORK}; {waits if stage == 'agent' else 'true'}"
    job = bench.job({"checks": (check,)})
    with killed_later(bench, script, job, forge_is_away=stage == "publish") as printed:
        sign = {"agent": b"working", "checks": b"$ sh -c", "publish": b"publishing waits"}[stage]
        with anyio.fail_after(20):
            while sign not in printed() or not log.exists():
                await anyio.sleep(0.02)
    go.touch()
    with anyio.fail_after(30):
        outcome = await bench.runner("oak", "exit 9").adopt(job, None)
    assert outcome.result == "completed", outcome
    assert outcome.pull_request is not None
    assert log.read_text().count("woken") == 1, "the agent was woken once"
    assert outcome.evidence is not None
    assert outcome.evidence.commits == 1


@pytest.mark.pitfall_3
async def test_checks_that_outlived_their_sidecar_end_before_others_begin(bench: Workbench) -> None:
    log, go = bench.folder / "log", bench.folder / "go"
    check = f"sh -c 'echo began >> {log}; while [ ! -e {go} ]; do sleep 0.05; done; echo ended >> {log}'"
    job = bench.job({"checks": (check,)})
    with killed_later(bench, WORK, job, forge_is_away=False), anyio.fail_after(30):
        while not log.exists():
            await anyio.sleep(0.02)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.runner("oak", "exit 9").adopt, job, None)
        with anyio.fail_after(30):
            while log.read_text().count("began") < 2:
                await anyio.sleep(0.02)
            go.touch()
    assert log.read_text().split() == ["began", "began", "ended"]


@pytest.mark.pitfall_3
async def test_work_on_a_repository_that_the_settings_do_not_name_any_more_is_not_done(bench: Workbench) -> None:
    go = bench.folder / "go"
    script = f"{WORK}; while [ ! -e {go} ]; do sleep 0.05; done"
    job = bench.job()
    with killed_later(bench, script, job, forge_is_away=False) as printed, anyio.fail_after(30):
        while b"working" not in printed():
            await anyio.sleep(0.02)
    go.touch()
    with anyio.fail_after(30):
        outcome = await bench.runner("oak", "exit 9", repo="").adopt(job, None)
    assert outcome.result == "lost", outcome


@pytest.mark.pitfall_3
async def test_a_turn_that_was_decided_on_and_not_begun_begins(bench: Workbench) -> None:
    """Its sidecar was killed when the process that it had noted was still that of the turn before."""
    job = bench.job({"checks": ("test -e fixed",)})
    folder = bench.agent_folder("oak") / "attempts" / f"{bench.task}.{job.token}"
    save(Progress(turn=2, commands=("test -e fixed",), problem="it is not fixed", returned=1), folder / "progress.json")
    with subprocess.Popen(["sleep", "60"]) as before:  # noqa: ASYNC220 - it takes about a millisecond
        process = identify(before.pid)
        before.kill()
    assert process is not None
    with anyio.fail_after(30):
        outcome = await bench.runner("oak", "touch fixed", repo="").adopt(job, process)
    assert outcome.result == "completed", outcome


@contextmanager
def killed_later(bench: Workbench, script: str, job: Job, *, forge_is_away: bool) -> Iterator[Callable[[], bytes]]:
    """An attempt in a process of its own, which is killed at the end; yields what was printed so far."""
    folder = bench.agent_folder("oak")
    described = Described(
        "oak",
        bench.settings(script),
        job.order,
        str(folder),
        bench.environ,
        POLICY,
        forge_is_away,
    )
    file, output = bench.folder / "described.json", bench.folder / "printed"
    file.write_bytes(encode(described))
    with output.open("wb") as printed:
        process = subprocess.Popen([sys.executable, "-m", "tests.sidecar.attempt_process", str(file)], stdout=printed)
    try:
        yield output.read_bytes
    finally:
        process.kill()
        process.wait()


# ------------------------------------------------------------ housekeeping


async def test_worktrees_of_tasks_that_are_long_over_go_and_nothing_that_origin_lacks_goes_with_them(
    bench: Workbench,
) -> None:
    runner = bench.runner("oak", WORK)
    with anyio.fail_after(30):
        await runner.run(bench.job())
    worktree = bench.agent_folder("oak") / "workspaces" / bench.task
    (worktree / "loose.txt").write_text("nobody committed this")
    await runner.tidy(time.time(), 3_600, ())
    assert worktree.exists(), "it is not old"
    await runner.tidy(time.time() + 7_200, 3_600, {bench.task})
    assert worktree.exists(), "it is at work"
    await runner.tidy(time.time() + 7_200, 3_600, ())
    assert not worktree.exists()
    (clone,) = (bench.agent_folder("oak").parent.parent / "clones").glob("*.git")
    assert git(clone, "worktree", "list").count("\n") == 0
    rescued = git(clone, "for-each-ref", "--format=%(refname)", "refs/heads/rescue").splitlines()
    assert [git(clone, "show", f"{ref}:loose.txt") for ref in rescued] == ["nobody committed this"]


async def test_work_that_was_merged_by_hand_is_not_done_again(bench: Workbench) -> None:
    await bench.run("oak", f"{WORK}; exit 7", forge=NoForge())
    git(bench.person, "fetch", "-q")
    git(bench.person, "merge", "-q", "--no-ff", "-m", "by hand", f"origin/oak/{bench.task}")
    git(bench.person, "push", "-q", "origin", "HEAD:main")
    bench.heard.events.clear()
    outcome = await bench.run("elm", WORK, forge=NoForge())
    assert (outcome.result, outcome.summary) == ("completed", "its work is in main already")
    assert bench.heard.events == []
