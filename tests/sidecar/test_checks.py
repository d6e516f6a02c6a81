"""What a sidecar checks of its machine, on real folders, with real programs."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import anyio
import pytest

from agentcom.processes import identify
from agentcom.settings import AgentSettings, Policy
from agentcom.sidecar.checks import _InThread, machine_checks
from agentcom.sidecar.probing import LAST_WORDS_BYTES, probe
from tests.patience import PATIENCE_S
from tests.sidecar.bench import gone, is_written, written

pytestmark = [pytest.mark.process, pytest.mark.pitfall_7]

POLICY = Policy(disk_free_bytes=0)
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}


async def problems(folder: Path, policy: Policy = POLICY, **settings: str) -> list[str]:
    checks = machine_checks(folder, policy, AgentSettings(**settings), ENVIRON)  # type: ignore[arg-type]
    return [found for check in checks.values() if (found := await check())]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_folder_that_can_be_written_to_is_fine_and_nothing_is_left_in_it(tmp_path: Path):
    assert await problems(tmp_path / "agent") == []
    assert await problems(tmp_path, workspace=str(tmp_path / "later" / "made")) == []
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["attempts", "workspaces", "journal/runs"])
async def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, place: str):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("a file where a folder should be")
    assert await problems(tmp_path) == [f"{tmp_path / place} cannot be written to: Not a directory"]


async def test_a_given_workspace_is_checked_instead_of_the_tasks_own(tmp_path: Path):
    (tmp_path / "workspaces").write_text("in the way of nothing")
    workspace = tmp_path / "mine"
    assert await problems(tmp_path, workspace=str(workspace)) == []
    workspace.write_text("in the way")
    assert await problems(tmp_path, workspace=str(workspace)) == [f"{workspace} cannot be written to: Not a directory"]


async def test_the_workspace_may_be_named_from_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").write_text("in the way")
    expected = f"{tmp_path}/mine cannot be written to: Not a directory"
    assert await problems(tmp_path / "agent", workspace="~/mine") == [expected]


async def test_a_disk_with_too_little_room_is_a_problem(tmp_path: Path):
    [folder, workspace] = await problems(tmp_path, Policy(disk_free_bytes=10**18))
    assert folder.startswith(f"the disk of {tmp_path}/attempts has ")
    assert workspace.endswith(" bytes left, under policy.disk_free_bytes (1,000,000,000,000,000,000)")


async def test_of_a_disk_that_hangs_one_thread_waits_however_often_it_is_asked():
    before, go_on = threading.active_count(), threading.Event()

    def hang() -> str:
        go_on.wait(20)
        return "now"

    check = _InThread(hang)
    for _ in range(5):
        with anyio.move_on_after(0.05) as scope:
            await check()
        assert scope.cancelled_caught
    assert threading.active_count() <= before + 1
    go_on.set()
    with anyio.fail_after(PATIENCE_S):
        while check._looking:
            await anyio.sleep(0.01)
        assert await check() == "now"


# --------------------------------------------------------------------------- git


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = tmp_path / "repo.git"
    subprocess.run(["git", "init", "--bare", "--quiet", str(repo)], check=True)
    return repo


async def test_a_repository_that_answers_is_fine_also_an_empty_one(tmp_path: Path, repo: Path):
    assert await problems(tmp_path, repo=str(repo)) == []


async def test_a_repository_that_does_not_exist_is_a_problem_with_gits_own_words(tmp_path: Path):
    [problem] = await problems(tmp_path, repo=str(tmp_path / "absent.git"))
    assert problem.startswith(f"the repository {tmp_path}/absent.git cannot be reached: git ls-remote ended with exit")
    assert "does not appear to be a git repository" in problem


async def test_a_repository_is_never_an_option(tmp_path: Path):
    pwned = tmp_path / "pwned"
    [problem] = await problems(tmp_path, repo=f"--upload-pack=touch {pwned};")
    assert "begins with a hyphen" in problem
    await problems(tmp_path, repo=f"ext::sh -c touch% {pwned}")
    assert not pwned.exists()


async def test_git_asks_nobody_for_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Instead of git there is a program that says what it was given."""
    (tmp_path / "bin").mkdir()
    git = tmp_path / "bin" / "git"
    git.write_text(f'#!/bin/sh\nenv > {tmp_path}/env; echo "$@" >> {tmp_path}/env; exit 1')
    git.chmod(0o755)
    environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "GIT_SSH_COMMAND": "ssh -i key"}
    checks = machine_checks(tmp_path, POLICY, AgentSettings(repo="ssh://host/x"), environ)
    monkeypatch.setenv("PATH", environ["PATH"])
    await checks["git ls-remote"]()
    seen = (tmp_path / "env").read_text().splitlines()
    assert {"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "GIT_SSH_COMMAND=ssh -i key -o BatchMode=yes"} <= set(seen)
    assert seen[-1] == "ls-remote --quiet -- ssh://host/x HEAD"


# ------------------------------------------------------------------------- probes


async def test_exit_0_is_no_problem_whatever_it_printed(tmp_path: Path):
    assert await probe(["sh", "-c", "echo much"], ENVIRON, tmp_path, f"{tmp_path}/mark") == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo one; echo; echo two >&2; exit 3", "ended with exit code 3: one / two"),
        ("exit 1", "ended with exit code 1: it printed nothing"),
        ("kill -9 $$", "was ended by signal 9: it printed nothing"),
        ("head -c 300000 /dev/zero | tr '\\0' x; exit 1", "ended with exit code 1: " + "x" * LAST_WORDS_BYTES),
    ],
)
async def test_any_other_end_is_said_with_its_last_words(tmp_path: Path, script: str, said: str):
    assert await probe(["sh", "-c", script], ENVIRON, tmp_path, f"{tmp_path}/mark") == said


async def test_what_cannot_be_started_is_said(tmp_path: Path):
    assert (await probe(["/absent"], ENVIRON, tmp_path, "mark")).startswith("cannot be started: [Errno 2]")


async def test_a_probe_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path):
    pids = tmp_path / "pids"
    script = f"trap '' TERM; setsid sleep 60 & echo $! > {pids}; sleep 60"
    started = time.monotonic()
    with anyio.move_on_after(0.5) as scope:
        await probe(["sh", "-c", script], ENVIRON, tmp_path, f"{tmp_path}/mark")
    assert scope.cancelled_caught
    assert time.monotonic() - started < 30
    assert gone(int(pids.read_text()), 0)


async def test_a_probe_is_not_held_up_by_what_it_leaves_behind(tmp_path: Path):
    script = f"sleep 60 & echo $! > {tmp_path}/pid"
    assert await probe(["sh", "-c", script], ENVIRON, tmp_path, f"{tmp_path}/mark") == ""
    assert is_written(tmp_path / "pid")
    assert gone(int((tmp_path / "pid").read_text()), 0)


async def test_a_probe_that_a_killed_sidecar_left_hanging_is_ended_by_the_next(tmp_path: Path):
    mark = f"{tmp_path}/mark"
    with subprocess.Popen(  # noqa: ASYNC220 - what a sidecar that was killed leaves
        ["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"],
        env={**ENVIRON, "AGENTCOM_TASK_FILE": mark},
        start_new_session=True,
    ) as left:
        await written(tmp_path / "pid")
        assert await probe(["true"], ENVIRON, tmp_path, mark) == ""
        assert identify(left.pid) is None
