"""Calls of git end in time, ask for nothing, and leave nothing behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import pytest

from agentcom.forge.base import ForgeTrouble
from agentcom.forge.git import Git
from agentcom.git import running as git_running
from agentcom.processes import identify
from tests.forge.repositories import ENVIRON

pytestmark = pytest.mark.process


def fake(folder: Path, script: str) -> dict[str, str]:
    """An environ in which git is a script once it has made its repository."""
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$1" in init|config) exit 0;; esac\n{script}\n')
    program.chmod(0o755)
    return ENVIRON | {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def running(pids: Path) -> list[int]:
    """Those of the processes in a file, which are two, that still run."""
    noted = [int(pid) for pid in pids.read_text().split()]
    assert len(noted) == 2
    return [pid for pid in noted if identify(pid) is not None]


async def until_gone(pids: Path) -> None:
    with anyio.fail_after(20):
        while running(pids):
            await anyio.sleep(0.02)


async def test_what_takes_too_long_is_ended_with_its_helpers(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    environ = fake(tmp_path, f"sleep 60 & echo $$ $! > {pids}; wait")
    began = time.monotonic()
    with pytest.raises(ForgeTrouble, match="did not come to an end in time"):
        await Git(tmp_path / "r.git", environ, timeout_s=1).run("fetch")
    assert time.monotonic() - began < 30
    await until_gone(pids)


async def test_what_is_canceled_is_ended_with_its_helpers(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    environ = fake(tmp_path, f"sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait")
    async with anyio.create_task_group() as group:
        group.start_soon(Git(tmp_path / "r.git", environ).run, "fetch")
        while not pids.exists():
            await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    await until_gone(pids)


async def test_it_is_never_asked_for_a_password(tmp_path: Path) -> None:
    environ = fake(tmp_path, 'echo "$GIT_TERMINAL_PROMPT:$GIT_SSH_COMMAND:$GIT_ASKPASS:${GIT_DIR-unset}"')
    ran = await Git(tmp_path / "r.git", environ | {"GIT_DIR": "/other"}).run("fetch")
    assert ran.text == "0:ssh -o BatchMode=yes::unset"
    own = environ | {"GIT_SSH_COMMAND": "ssh -i key", "GIT_ASKPASS": "/bin/window"}
    assert (await Git(tmp_path / "r.git", own).run("fetch")).text == "0:ssh -i key -o BatchMode=yes::unset"


async def test_endless_output_is_no_endless_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_running, "OUTPUT_BYTES", 1_000)
    environ = fake(tmp_path, "head -c 1000000 /dev/zero")
    with pytest.raises(ForgeTrouble, match="printed too much"):
        await Git(tmp_path / "r.git", environ).run("diff")


async def test_git_that_reads_nothing_is_no_trouble(tmp_path: Path) -> None:
    environ = fake(tmp_path, "exec <&-; sleep 0.2; exit 3")
    assert (await Git(tmp_path / "r.git", environ).run("hash-object", stdin=b"x" * 1_000_000)).code == 3


async def test_calls_that_come_at_once_find_the_repository_made(tmp_path: Path) -> None:
    git = Git(tmp_path / "r.git", ENVIRON)
    codes: list[int] = []

    async def call() -> None:
        codes.append((await git.run("rev-parse", "--git-dir")).code)

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(call)
    assert codes == [0] * 6


async def test_a_repository_that_could_not_be_made_is_made_when_it_can_be(tmp_path: Path) -> None:
    folder = tmp_path / "in the way" / "r.git"
    folder.parent.write_text("")
    git = Git(folder, ENVIRON)
    with pytest.raises(ForgeTrouble, match="git init failed"):
        await git.run("rev-parse", "--git-dir")
    folder.parent.unlink()
    assert (await git.run("rev-parse", "--git-dir")).code == 0


async def test_a_machine_without_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(ForgeTrouble, match="git cannot be started"):
        await Git(tmp_path / "r.git", {"PATH": str(tmp_path)}).run("fetch")


async def test_what_went_wrong_is_one_line_without_passwords(tmp_path: Path) -> None:
    environ = fake(tmp_path, "printf 'fatal: no\\n\\033[31m https://u:hunter2@h/x' >&2; exit 128")
    with pytest.raises(ForgeTrouble) as raised:
        await Git(tmp_path / "r.git", environ).read("fetch")
    assert raised.value.why == "git fetch failed: fatal: no https://u:***@h/x"
