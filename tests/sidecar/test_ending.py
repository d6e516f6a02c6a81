"""Ending what an earlier start left running: found by its process or its mark, and never a stranger."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentcom.ending import MARK, end_orphan, find_leader
from agentcom.processes import ProcessIdentity, identify

pytestmark = pytest.mark.process

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def one(*command: str, mark: str = "") -> subprocess.Popen[bytes]:
        environ = {"PATH": os.environ["PATH"]} | ({MARK: mark} if mark else {})
        process = subprocess.Popen(command, env=environ, start_new_session=True, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield one
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


async def test_an_orphan_is_ended_by_its_process(start: Start):
    process = start("sleep", "60")
    await end_orphan(identify(process.pid), "/none", 2.0)
    assert process.wait(1) == -15


async def test_an_orphan_whose_process_was_not_noted_is_ended_by_its_mark(start: Start, tmp_path: Path):
    """The sidecar was killed between starting it and noting that."""
    process = start("sleep", "60", mark=f"{tmp_path}/task.json")
    other = start("sleep", "60", mark=f"{tmp_path}/task.json2")
    await end_orphan(None, f"{tmp_path}/task.json", 2.0)
    assert process.wait(1) == -15
    assert other.poll() is None


async def test_what_an_orphan_started_is_ended_after_the_orphan_itself_has_gone(start: Start, tmp_path: Path):
    mark = f"{tmp_path}/task.json"
    leader = start("sh", "-c", "sleep 60 & echo $!", mark=mark)
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    noted = identify(leader.pid)
    leader.wait()
    await end_orphan(noted or ProcessIdentity(leader.pid, "gone"), mark, 2.0)
    assert identify(child) is None


async def test_a_stranger_with_a_recycled_pid_is_left_alone(start: Start):
    stranger = start("sleep", "60")
    await end_orphan(ProcessIdentity(stranger.pid, "another boot:1"), "/none", 0.2)
    assert stranger.poll() is None


async def test_an_orphan_that_ignores_sigterm_is_killed(start: Start):
    script = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    process = start(sys.executable, "-c", script)
    assert process.stdout is not None
    process.stdout.readline()
    await end_orphan(identify(process.pid), "/none", 0.2)
    assert process.wait(1) == -9


async def test_where_nothing_was_left_nothing_happens(start: Start, tmp_path: Path):
    other = start("sleep", "60", mark=f"{tmp_path}/another.json")
    await end_orphan(None, f"{tmp_path}/task.json", 5.0)
    assert other.poll() is None


async def test_the_leader_of_an_attempt_is_found_by_its_mark(start: Start, tmp_path: Path):
    mark = f"{tmp_path}/task.json"
    leader = start("sh", "-c", "sleep 60 & wait", mark=mark)
    assert await find_leader(mark) == identify(leader.pid)
    assert await find_leader(mark, leader.pid) == identify(leader.pid)
    assert await find_leader(mark, os.getpid()) is None
    assert await find_leader(f"{mark}2") is None
