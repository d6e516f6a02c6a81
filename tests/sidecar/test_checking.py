"""Checks are run by the sidecar: each within its limit, with what it printed kept, and its processes ended."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import anyio
import pytest

from agentcom.model.task import Check
from agentcom.sidecar.runners import checking
from agentcom.sidecar.runners.checking import Checker
from tests.sidecar.bench import gone, written

pytestmark = pytest.mark.process

SHA = "a" * 40


def python(script: str) -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = b""
        self.environ = {"PATH": "/usr/bin:/bin", "SECRET": "none"}

    def heard(self, body: bytes) -> None:
        self.printed += body

    async def run(self, *commands: str, limit_s: float = 20.0) -> list[Check]:
        checker = Checker("oak", self.environ, limit_s, 0.3)
        with anyio.fail_after(30):
            checks = await checker.run(
                commands, self.folder, SHA, str(self.folder / "task.json"), self.folder / "kept", self.heard
            )
        assert isinstance(checks, list)
        return checks


@pytest.fixture
def checks(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_check_says_who_ran_what_at_which_commit_and_how_it_ended(checks: Bench) -> None:
    good, bad = await checks.run("sh -c 'echo fine'", "sh -c 'echo broken >&2; exit 3'")
    assert (good.command, good.by, good.sha, good.passed, good.exit_code) == ("sh -c 'echo fine'", "oak", SHA, True, 0)
    assert (bad.passed, bad.exit_code, bad.tail) == (False, 3, "broken")
    assert b"$ sh -c 'echo fine'\nfine\n" in checks.printed
    assert (checks.folder / "kept" / "2.log").read_text() == "broken\n"


async def test_all_are_run_also_after_one_has_failed(checks: Bench) -> None:
    assert [one.passed for one in await checks.run("false", "true", "false")] == [False, True, False]


async def test_no_shell_looks_at_a_check(checks: Bench) -> None:
    (check,) = await checks.run("echo $(touch pwned); touch pwned")
    assert check.tail == "$(touch pwned); touch pwned"
    assert not (checks.folder / "pwned").exists()


async def test_a_program_that_is_not_there_is_a_check_that_failed(checks: Bench) -> None:
    (check,) = await checks.run("no-such-program --fast")
    assert (check.passed, check.exit_code) == (False, 127)
    assert "cannot be started" in check.tail


async def test_one_that_hangs_is_ended_with_its_tree_and_has_failed(checks: Bench) -> None:
    script = f"trap '' TERM; sleep 60 & echo $! > {checks.folder}/child; wait"
    (check,) = await checks.run(f"sh -c {shlex.quote(script)}", limit_s=0.5)
    assert (check.passed, check.exit_code) == (False, None)
    await written(checks.folder / "child")
    assert gone(int((checks.folder / "child").read_text()))


async def test_a_daemon_that_a_check_leaves_behind_is_ended(checks: Bench) -> None:
    script = f"""
import subprocess
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
open({str(checks.folder / "d")!r}, "w").write(str(child.pid))
"""
    (check,) = await checks.run(python(script))
    assert check.passed
    assert gone(int((checks.folder / "d").read_text()))


async def test_one_that_prints_without_end_is_ended_and_its_end_is_kept(
    checks: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "OUTPUT_MAX_BYTES", 100_000)
    (check,) = await checks.run("yes flood")
    assert not check.passed
    assert len(check.tail) <= checking.TAIL_BYTES
    assert "flood\nflood" in check.tail[-20:]


async def test_what_is_not_text_is_shown_as_far_as_it_is(checks: Bench) -> None:
    (check,) = await checks.run("printf 'a\\377\\000b'")
    assert check.tail == "a��b"


async def test_a_check_gets_the_agents_environment_and_no_more(checks: Bench) -> None:
    (check,) = await checks.run("env")
    assert {line.split("=")[0] for line in check.tail.splitlines()} <= {"PATH", "SECRET", "PWD", "AGENTCOM_TASK_FILE"}
