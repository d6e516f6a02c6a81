"""Services under a real systemd: frozen, killed, refused, crashing; what it does about each, and who is told."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer
from tests.supervisor.manager import Manager, a_manager
from tests.supervisor.watched import ROOT, SETTINGS, eventually, is_alive

pytestmark = pytest.mark.process

SCHEDULER = "agentcom-scheduler.service"
OAK = "agentcom-sidecar-oak.service"
FIR = "agentcom-sidecar-fir.service"

TELL = """
[alerts]
command = ["sh", "-c", "cat >> '{folder}/told'; echo >> '{folder}/told'"]
"""


@pytest.fixture(scope="module")
def manager(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    folder = tmp_path_factory.mktemp("systemd")
    with a_manager(folder, {"PYTHONPATH": str(ROOT)}) as manager:
        text = SETTINGS.format(url=server.url, pool="default", folder=manager.home).replace(
            "drain_s = 30", "drain_s = 2"
        )
        (manager.home / "agentcom.toml").write_text(text + TELL.format(folder=manager.home))
        yield manager
        for role in ("sidecar", "scheduler"):
            agentcom(manager, "service", "uninstall", role, "--user")


def agentcom(manager: Manager, *arguments: str, code: int = 0) -> str:
    done = manager.run(sys.executable, "-m", "agentcom", *arguments)
    assert done.returncode == code, done
    return done.stdout + done.stderr


def change(manager: Manager, unit: str, **settings: str) -> None:
    """What `systemctl edit` does: the tests have less patience than people, and read what is printed."""
    folder = manager.home / f".config/systemd/user/{unit}.d"
    folder.mkdir(exist_ok=True)
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    (folder / "test.conf").write_text(f"[Service]\nStandardError=file:{manager.home}/{unit}.log\n{lines}")
    manager.systemctl("daemon-reload")


def told(manager: Manager) -> list[str]:
    """What was told but for one thing: the tests restart a sidecar so often that the pool calls it a crash loop."""
    path = manager.home / "told"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line and json.loads(line)["rule"] != "crash_loop"]


@pytest.fixture
def install(manager: Manager) -> Iterator[None]:
    """Everything is installed and at work, and nothing was told."""
    (manager.home / "told").unlink(missing_ok=True)
    agentcom(manager, "service", "install", "scheduler", "--user")
    agentcom(manager, "service", "install", "sidecar", "--user")
    for unit in (SCHEDULER, OAK, FIR):
        manager.until(unit, "SubState", "running")
    yield
    for unit in (SCHEDULER, OAK, FIR):
        (manager.home / f".config/systemd/user/{unit}.d/test.conf").unlink(missing_ok=True)
    manager.systemctl("daemon-reload")
    manager.systemctl("reset-failed")


@pytest.mark.usefixtures("install")
def test_installed_services_work_and_installing_again_changes_nothing(manager: Manager) -> None:
    agentcom(manager, "submit", "be quick", "--agent", "fir", "--wait")
    before = [manager.property(unit, "MainPID") for unit in (SCHEDULER, OAK, FIR)]
    for role, units in (("scheduler", [SCHEDULER]), ("sidecar", [FIR, OAK])):
        said = agentcom(manager, "service", "install", role, "--user")
        for unit in units:
            assert f"{unit}: nothing to change" in said
        assert "wrote" not in said
    assert [manager.property(unit, "MainPID") for unit in (SCHEDULER, OAK, FIR)] == before
    said = agentcom(manager, "service", "status", "--user")
    assert said.count("active (running): at work; Redis is unix://") == 3


@pytest.mark.pitfall_3
@pytest.mark.pitfall_7
@pytest.mark.usefixtures("install")
def test_a_frozen_sidecar_is_killed_and_started_again(manager: Manager) -> None:
    change(manager, FIR, WatchdogSec="12", RestartSec="1")
    manager.systemctl("restart", FIR)
    manager.until(FIR, "SubState", "running")
    agentcom(manager, "submit", "freeze", "--agent", "fir")
    began = time.monotonic()
    manager.until(FIR, "NRestarts", "1")
    manager.until(FIR, "SubState", "running")
    assert time.monotonic() - began < 45
    log = (manager.home / f"{FIR}.log").read_text(errors="replace")
    assert "handlers.py" in log  # where it stood
    assert told(manager) == []


@pytest.mark.pitfall_3
@pytest.mark.usefixtures("install")
def test_a_stopped_process_is_killed_too(manager: Manager) -> None:
    change(manager, SCHEDULER, WatchdogSec="12", RestartSec="1")
    manager.systemctl("restart", SCHEDULER)
    manager.until(SCHEDULER, "SubState", "running")
    os.kill(int(manager.property(SCHEDULER, "MainPID")), signal.SIGSTOP)
    manager.until(SCHEDULER, "NRestarts", "1")
    manager.until(SCHEDULER, "SubState", "running")


@pytest.mark.pitfall_3
@pytest.mark.usefixtures("install")
def test_a_killed_sidecar_leaves_its_agent_at_work(manager: Manager) -> None:
    _, agent = oak_at_work(manager)
    os.kill(int(manager.property(OAK, "MainPID")), signal.SIGKILL)
    manager.until(OAK, "SubState", "auto-restart")
    assert is_alive(agent)
    manager.until(OAK, "SubState", "running")


@pytest.mark.pitfall_3
@pytest.mark.usefixtures("install")
def test_a_restarted_sidecar_takes_its_agent_on_and_waits_for_nothing(manager: Manager) -> None:
    task, agent = oak_at_work(manager)
    sidecar = manager.property(OAK, "MainPID")
    manager.systemctl("restart", OAK)
    manager.until(OAK, "SubState", "running")
    assert manager.property(OAK, "MainPID") != sidecar
    assert manager.property(OAK, "NRestarts") == "0"
    time.sleep(3)
    assert is_alive(agent)
    agentcom(manager, "cancel", task)
    eventually(lambda: not is_alive(agent))
    assert told(manager) == []


@pytest.mark.usefixtures("install")
def test_a_service_that_refuses_its_configuration_stays_down_and_is_told_of_once(manager: Manager) -> None:
    change(manager, OAK, Environment="AGENTCOM_POLICY_BEAT_S=never")
    manager.run("systemctl", "--user", "restart", OAK)
    manager.until(OAK, "ActiveState", "failed")
    eventually(lambda: len(told(manager)) == 1)
    assert "agentcom-sidecar-oak is down" in told(manager)[0]
    assert "it refuses its configuration" in told(manager)[0]
    assert manager.property(OAK, "NRestarts") == "0"
    assert "exit code 78" in agentcom(manager, "service", "status", "sidecar", "--agent", "oak", "--user", code=1)
    said = agentcom(manager, "service", "failed", OAK, "--user")
    assert "told of before" in said
    assert len(told(manager)) == 1


@pytest.mark.usefixtures("install")
def test_a_crash_loop_comes_to_an_end_and_is_told_of_once(manager: Manager) -> None:
    change(manager, SCHEDULER, Type="exec", ExecStart="\nExecStart=/bin/false", RestartSec="1")
    manager.run("systemctl", "--user", "restart", SCHEDULER)
    manager.until(SCHEDULER, "ActiveState", "failed")
    eventually(lambda: len(told(manager)) == 1)
    said = agentcom(manager, "service", "status", "scheduler", "--user", code=1)
    assert "systemd has given it up" in said
    assert f"systemctl --user reset-failed {SCHEDULER}" in said
    time.sleep(5)
    assert len(told(manager)) == 1
    assert "agentcom-scheduler is down" in told(manager)[0]


@pytest.mark.usefixtures("install")
def test_what_is_uninstalled_is_stopped_and_gone_and_uninstalling_again_changes_nothing(manager: Manager) -> None:
    pid = int(manager.property(OAK, "MainPID"))
    said = agentcom(manager, "service", "uninstall", "sidecar", "--agent", "oak", "--user")
    assert f"removed {manager.home}/.config/systemd/user/{OAK}" in said
    assert not is_alive(pid)
    assert manager.property(OAK, "LoadState") == "not-found"
    assert manager.property(FIR, "ActiveState") == "active"
    again = agentcom(manager, "service", "uninstall", "sidecar", "--agent", "oak", "--user")
    assert again.startswith("nothing to remove")


def oak_at_work(manager: Manager) -> tuple[str, int]:
    """A task that never ends, and the process of its agent; the sidecar is slow to come back from a crash."""
    change(manager, OAK, RestartSec="4")
    manager.systemctl("restart", OAK)
    manager.until(OAK, "SubState", "running")
    (manager.home / "agent").unlink(missing_ok=True)
    said = agentcom(manager, "submit", "work for ever", "--agent", "oak", "--json")
    return json.loads(said)["tasks"][0]["id"], agent_of(manager.home)


def agent_of(home: Path) -> int:
    path = home / "agent"
    eventually(lambda: path.exists() and path.read_text().strip() != "")
    return int(path.read_text())
