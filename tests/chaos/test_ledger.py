"""What the chaos runs' agent writes into the ledger, and what the ledger makes of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.ledger import Ledger, processes_under
from tests.chaos.programs import AGENT

pytestmark = pytest.mark.process

TASK = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"


def start(folder: Path, text: str, token: str = "1.abc") -> subprocess.Popen[bytes]:
    """The agent as a sidecar starts it."""
    files = folder / "attempts" / f"{TASK}.{token}"
    files.mkdir(parents=True)
    environ = {
        "AGENTCOM_TASK_FILE": str(files / "task.json"),
        "AGENTCOM_TASK_ID": TASK,
        "AGENTCOM_AGENT": "oak",
        "CHAOS_LEDGER": str(folder / "ledger"),
        "PATH": "/usr/bin:/bin",
    }
    started = subprocess.Popen([sys.executable, "-I", "-S", str(AGENT)], stdin=subprocess.PIPE, env=environ)
    assert started.stdin is not None
    started.stdin.write(text.encode())
    started.stdin.close()
    return started


def await_run(ledger: Ledger) -> None:
    deadline = time.monotonic() + 20
    while not ledger.alive() and time.monotonic() < deadline:
        ledger.look()
        time.sleep(0.02)


@pytest.mark.parametrize(("kind", "code"), [("quick", 0), ("failing", 1), ("later", 75), ("mute", 0)])
def test_an_agent_that_comes_to_its_end_is_in_the_ledger_with_its_exit_code(
    tmp_path: Path, kind: str, code: int
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    agent = start(tmp_path, f"{kind} 0.05")
    assert agent.wait(20) == code
    ledger.look()
    (run,) = ledger.runs()
    assert (run.task, run.token, run.agent, run.pid, run.code) == (TASK, "1.abc", "oak", agent.pid, code)
    assert run.began_at <= run.ended_at <= run.alive_at


def test_an_agent_that_is_killed_was_alive_until_it_was_last_seen(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    agent = start(tmp_path, "slow 60")
    await_run(ledger)
    assert [process.pid for process in ledger.alive()] == [agent.pid]
    agent.kill()
    agent.wait()
    ledger.look()
    (run,) = ledger.runs()
    assert ledger.alive() == []
    assert (run.ended_at, run.code) == (0, None)
    assert run.began_at <= run.alive_at


def test_a_daemon_that_an_agent_leaves_behind_is_found(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger")
    assert start(tmp_path, "daemon 0.05").wait(20) == 0
    (daemon,) = processes_under(tmp_path)
    subprocess.run(["kill", "-9", str(daemon.pid)], check=True)
