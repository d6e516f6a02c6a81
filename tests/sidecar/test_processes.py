"""Recognising a process: by its pid and its start, so that nobody is taken for another."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agentcom.processes import identify, is_running

pytestmark = pytest.mark.process


def test_a_running_process_is_itself_for_as_long_as_it_runs():
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = identify(process.pid)
        assert identity is not None
        assert identity == identify(process.pid)
        assert is_running(identity)
        process.kill()
    assert identify(process.pid) is None
    assert not is_running(identity)


def test_another_process_with_the_same_pid_is_another():
    me = identify(os.getpid())
    assert me is not None
    assert not is_running(replace(me, started="another boot:1"))


def test_what_has_ended_and_is_not_reaped_yet_does_not_run():
    with subprocess.Popen(["true"]) as process:
        deadline = time.monotonic() + 5
        while identify(process.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert identify(process.pid) is None


@pytest.mark.parametrize("name", ["a) b", "((", "x y z ) S 1 2"])
def test_a_program_may_have_any_name(tmp_path: Path, name: str):
    program = tmp_path / name
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([str(program), "60"]) as process:
        identity = identify(process.pid)
        assert identity is not None
        assert is_running(identity)
        process.kill()


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_nobody_has_an_impossible_pid(pid: int):
    assert identify(pid) is None
