"""Units as `agentcom service install` writes them, judged by systemd's own tool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentcom.settings import load
from agentcom.supervisor.plan import Installation, plan
from agentcom.supervisor.systemd import put
from agentcom.supervisor.units import Service

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"),
]

SETTINGS = '[agents.oak]\ncommand = ["true"]\nworkspace = "work here"\nenv_pass = ["PATH", "API_KEY"]\n'
AWKWARD = "a b%h$HOME'q'\"d\";#\\e"
PYTHON = "py %h $HOME thon"
SERVICES = [Service("scheduler", "default"), Service("sidecar", "default", "oak"), Service("sidecar", "night", "oak")]


def write_units(folder: Path, *, system: bool) -> list[Path]:
    """All units of a pool that is called from this folder, with a Python whose path is as awkward as systemd allows."""
    python = folder.parent / PYTHON
    python.symlink_to(sys.executable)
    at = Installation(
        python=str(python),
        config=str(folder / "agentcom.toml"),
        working_dir=str(folder),
        data_dir=str(folder / "data"),
        units=str(folder.parent / "units"),
        secrets=str(folder / "secrets"),
        system=system,
        user="daemon",
        home="/nonexistent",
        environ={"API_KEY": "x", "LANG": "C", "PATH": os.environ["PATH"]},
    )
    for service in SERVICES:
        loaded = load(("agentcom.toml", SETTINGS), {}, {"redis": "redis://:secret@localhost", "pool": service.pool})
        done = plan(service, loaded, at)
        for file in (*done.files, *done.shared):
            put(file)
    return sorted(Path(at.units).iterdir())


def judged(units: list[Path], folder: Path, *, system: bool) -> subprocess.CompletedProcess[str]:
    runtime = folder.parent / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    command = ["systemd-analyze", "verify", "--man=no", *(() if system else ("--user",)), *map(str, units)]
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_UNIT_PATH": f"{units[0].parent}:"}
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, check=False)


@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("name", ["plain", AWKWARD])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, name: str, system: bool) -> None:
    folder = tmp_path / name
    folder.mkdir()
    done = judged(write_units(folder, system=system), folder, system=system)
    assert (done.returncode, _about_ours(done.stderr)) == (0, [])


def test_systemd_would_say_so_if_it_read_another_path(tmp_path: Path) -> None:
    """The test above can fail: a unit that names what is not there is found out."""
    folder = tmp_path / AWKWARD
    folder.mkdir()
    units = write_units(folder, system=True)
    (tmp_path / PYTHON).unlink()
    done = judged(units, folder, system=True)
    assert done.returncode != 0
    assert f"{PYTHON} is not executable" in done.stderr


@pytest.mark.parametrize("wrong", ["Restrt=on-failure", "WatchdogSec=soon", "KillMode=gently"])
def test_systemd_would_say_so_if_a_setting_were_wrong(tmp_path: Path, wrong: str) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    units = write_units(folder, system=True)
    text = units[0].read_text()
    units[0].write_text(text.replace("[Service]\n", f"[Service]\n{wrong}\n"))
    assert _about_ours(judged(units, folder, system=True).stderr)


def _about_ours(said: str) -> list[str]:
    """What it says about units of ours: the machine's own may have their faults."""
    return [line for line in said.splitlines() if "agentcom" in line]
