"""`agentcom service` where there is no systemd, and with a systemctl that says what a test wants it to say."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from agentcom.cli import service, service_target
from agentcom.supervisor import systemd
from tests.cli.harness import Said, Terminal

pytestmark = pytest.mark.process

SETTINGS = """\
redis = "redis://localhost"

[agents.fir]
command = ["true"]

[agents.oak]
command = ["no-such-agent"]
env_pass = ["PATH", "API_KEY", "OTHER_KEY"]
workspace = "work"
"""

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> "$FAKE/calls"
case "$*" in
*show*)
    number=$(cat "$FAKE/number" 2>/dev/null || echo 1)
    [ -e "$FAKE/show.$((number + 1))" ] && echo $((number + 1)) > "$FAKE/number"
    cat "$FAKE/show.$number" ;;
*) [ ! -e "$FAKE/refuse" ] || { cat "$FAKE/refuse" >&2; exit 1; } ;;
esac
"""

ACTIVE = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running"}
FAILED = ACTIVE | {"ActiveState": "failed", "SubState": "failed", "Result": "signal", "ExecMainStatus": "11"}
SECRET = "redis://:hunter2@localhost"


class Machine:
    """A home with settings, and a systemctl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fake = folder / "fake"
        self.home = folder / "home"
        for path in (self.fake, self.home, folder / "bin"):
            path.mkdir()
        (folder / "agentcom.toml").write_text(SETTINGS)
        path = folder / "bin" / "systemctl"
        path.write_text(SYSTEMCTL)
        path.chmod(0o755)
        self.environ = {
            "FAKE": str(self.fake),
            "HOME": str(self.home),
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": "",
            "XDG_STATE_HOME": "",
            "SUDO_USER": "",
        }
        self.says({"LoadState": "not-found"})

    def __call__(self, *arguments: str, **environ: str) -> Said:
        return Terminal(self.folder, self.environ | environ)("service", *arguments)

    def says(self, *states: dict[str, str]) -> None:
        """What systemctl shows, one call after the other; the last for ever."""
        for old in self.fake.iterdir():
            old.unlink()
        for number, state in enumerate(states, 1):
            lines = "".join(f"{name}={value}\n" for name, value in state.items())
            (self.fake / f"show.{number}").write_text(lines)

    def calls(self) -> list[str]:
        """What systemctl was asked to do; not what it was asked to show."""
        path = self.fake / "calls"
        return [line for line in path.read_text().splitlines() if "show" not in line] if path.exists() else []

    def files(self) -> dict[str, Path]:
        return {path.name: path for path in self.home.rglob("*") if path.is_file()}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that systemd runs."""
    booted = tmp_path / "booted"
    booted.mkdir()
    with (
        mock.patch.object(systemd, "BOOTED", booted),
        mock.patch.object(service_target, "LINGERING", tmp_path / "linger"),
        mock.patch.object(service, "SETTLING_S", 0.01),
    ):
        yield Machine(tmp_path)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machine]:
    """A machine without systemd."""
    with mock.patch.object(systemd, "BOOTED", tmp_path / "nothing"):
        yield Machine(tmp_path)


# -------------------------------------------------------------------- install


def test_what_is_installed_is_enabled_and_started(machine: Machine) -> None:
    said = machine("install", "scheduler", "--user")
    assert said.code == 0, said
    assert machine.calls() == ["--user daemon-reload", "--user enable --now agentcom-scheduler.service"]
    assert set(machine.files()) == {"agentcom-scheduler.service", "agentcom-alert@.service"}
    assert "agentcom-scheduler.service is enabled and was started" in said.out
    assert "loginctl enable-linger" in said.err


def test_installing_again_changes_nothing_and_says_so(machine: Machine) -> None:
    machine("install", "scheduler", "--user")
    before = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in machine.files().items()}
    machine.says(ACTIVE)
    said = machine("install", "scheduler", "--user")
    assert said.out == "agentcom-scheduler.service: nothing to change; it is installed, enabled and at work\n"
    assert machine.calls() == []
    assert {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in machine.files().items()} == before


def test_a_changed_unit_is_written_and_the_restart_is_left_to_a_person(machine: Machine) -> None:
    machine("install", "scheduler", "--user")
    machine.says(ACTIVE)
    said = machine("install", "scheduler", "--user", AGENTCOM_POLICY_DRAIN_S="77")
    assert machine.calls() == ["--user daemon-reload"]
    assert "goes on as it was before" in said.out
    assert "systemctl --user restart agentcom-scheduler.service" in said.out
    assert "TimeoutStopSec=117" in machine.files()["agentcom-scheduler.service"].read_text()


def test_a_unit_that_was_given_up_is_brought_back(machine: Machine) -> None:
    machine("install", "scheduler", "--user")
    machine.says(FAILED)
    machine("install", "scheduler", "--user")
    unit = "agentcom-scheduler.service"
    assert machine.calls() == [f"--user reset-failed {unit}", f"--user enable --now {unit}"]


def test_without_an_agent_all_that_the_settings_describe_are_meant(machine: Machine) -> None:
    machine("install", "sidecar", "--user")
    assert {"agentcom-sidecar-fir.service", "agentcom-sidecar-oak.service"} <= set(machine.files())


def test_what_an_agent_will_miss_is_said(machine: Machine) -> None:
    said = machine("install", "sidecar", "--agent", "oak", "--user", API_KEY="k")
    assert "'no-such-agent' is not on the PATH" in said.err
    assert "OTHER_KEY, not set here" in said.err
    assert "API_KEY" not in said.err


def test_secrets_can_be_read_by_their_owner_only(machine: Machine) -> None:
    machine("install", "sidecar", "--agent", "oak", "--user", AGENTCOM_REDIS=SECRET, API_KEY="s3cret")
    files = machine.files()
    assert files["agentcom-sidecar-oak.env"].stat().st_mode & 0o777 == 0o600
    assert "s3cret" in files["agentcom-sidecar-oak.env"].read_text()
    for name, path in files.items():
        if not name.endswith(".env"):
            assert "hunter2" not in path.read_text()
            assert "s3cret" not in path.read_text()


def test_a_dry_run_shows_everything_but_secrets_and_changes_nothing(machine: Machine) -> None:
    said = machine("install", "sidecar", "--agent", "oak", "--user", "--dry-run", AGENTCOM_REDIS=SECRET)
    assert said.code == 0
    assert "ExecStart=" in said.out
    assert "AGENTCOM_REDIS=***" in said.out
    assert "hunter2" not in said.out
    assert machine.files() == {}
    assert machine.calls() == []


def test_of_a_secret_with_several_lines_a_dry_run_shows_none(machine: Machine) -> None:
    key = "-----BEGIN KEY-----\nMIIabc\nNAME=inside\n-----END KEY-----\n"
    said = machine("install", "sidecar", "--agent", "oak", "--user", "--dry-run", API_KEY=key, OTHER_KEY="k")
    assert said.code == 0
    lines = said.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.endswith("agentcom-sidecar-oak.env (mode 600)"))
    assert lines[at + 1 : at + 3] == ["API_KEY=***", "OTHER_KEY=***"]
    assert not [part for part in ("BEGIN KEY", "MIIabc", "inside", "END KEY") if part in said.out]


def test_without_systemd_the_files_are_written_and_what_was_not_done_is_said(bare: Machine) -> None:
    said = bare("install", "scheduler", "--user")
    assert said.code == 1
    assert "agentcom-scheduler.service" in bare.files()
    assert "is not enabled and not started: systemd does not run on this machine" in said.err
    assert "systemctl --user enable --now agentcom-scheduler.service" in said.err
    assert bare.calls() == []


def test_without_systemctl_it_is_the_same(machine: Machine) -> None:
    said = machine("install", "scheduler", "--user", PATH=str(machine.folder))
    assert (said.code, "systemctl is not installed" in said.err) == (1, True)
    assert "agentcom-scheduler.service" in machine.files()


def test_what_systemctl_refuses_is_passed_on(machine: Machine) -> None:
    (machine.fake / "refuse").write_text("Failed to connect to bus\n")
    said = machine("install", "scheduler", "--user")
    assert said.code == 1
    assert "Failed to connect to bus" in said.err


@pytest.mark.parametrize(
    ("given", "code", "problem"),
    [
        (("install", "sidecar", "--agent", "elm"), 78, "agent 'elm' is not in"),
        (("install", "scheduler", "--agent", "oak"), 2, "--agent goes with sidecar only"),
        (("install", "scheduler", "--user", "--run-as", "daemon"), 2, "--run-as goes with --system only"),
        (("install", "scheduler", "--system", "--run-as", "nobody-such"), 2, "there is no user 'nobody-such'"),
        (("install", "everything"), 2, "everything"),
        (("install",), 2, "Missing argument"),
    ],
)
def test_what_cannot_be_installed_is_said(machine: Machine, given: tuple[str, ...], code: int, problem: str) -> None:
    said = machine(*given)
    assert (said.code, problem in said.err) == (code, True), said
    assert machine.files() == {}


def test_a_service_needs_a_redis_that_is_named(machine: Machine) -> None:
    (machine.folder / "agentcom.toml").write_text("")
    said = machine("install", "scheduler", "--user", AGENTCOM_REDIS="")
    assert (said.code, "no Redis is named" in said.err) == (78, True)


# ------------------------------------------------------------ the machine's own


def as_root(machine: Machine, *arguments: str, **environ: str) -> Said:
    units = {"SYSTEM_UNITS": machine.folder / "units", "SYSTEM_SECRETS": machine.folder / "secrets"}
    with (
        mock.patch.object(os, "geteuid", return_value=0),
        mock.patch.object(os, "chown"),
        mock.patch.multiple(service_target, **units),
    ):
        return machine(*arguments, **environ)


def test_root_installs_for_who_called_sudo(machine: Machine) -> None:
    (machine.folder / "agentcom.toml").write_text(f'data_dir = "{machine.folder}/data"\n{SETTINGS}')
    said = as_root(machine, "install", "scheduler", SUDO_USER="daemon")
    assert said.code == 0, said
    assert "User=daemon\n" in (machine.folder / "units" / "agentcom-scheduler.service").read_text()
    assert machine.calls() == ["daemon-reload", "enable --now agentcom-scheduler.service"]


@pytest.mark.parametrize("caller", ["", "root"])
def test_nothing_runs_as_root_unless_that_is_said(machine: Machine, caller: str) -> None:
    said = as_root(machine, "install", "scheduler", "--dry-run", SUDO_USER=caller)
    assert (said.code, "--run-as" in said.err) == (2, True)
    said = as_root(machine, "install", "scheduler", "--dry-run", "--run-as", "root", SUDO_USER=caller)
    assert (said.code, "User=root\n" in said.out) == (0, True)


def test_the_folder_is_that_of_the_user_who_will_run_it(machine: Machine) -> None:
    said = as_root(machine, "install", "scheduler", "--dry-run", SUDO_USER="daemon")
    assert f"--data-dir {pwd.getpwnam('daemon').pw_dir}/.local/state/agentcom/default" in said.out


def test_root_installs_nothing_into_a_users_own_units_by_mistake(machine: Machine) -> None:
    said = as_root(machine, "install", "scheduler", "--user", SUDO_USER="daemon")
    assert (said.code, "without sudo" in said.err) == (2, True)


def test_who_is_not_root_is_told_so_before_anything_is_written(machine: Machine) -> None:
    with mock.patch.object(os, "geteuid", return_value=pwd.getpwnam("daemon").pw_uid):
        said = machine("install", "scheduler", "--system")
    assert (said.code, "installed by root" in said.err) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folders_that_are_made_belong_to_the_user_and_those_that_were_there_do_not_change(tmp_path: Path) -> None:
    owner = pwd.getpwnam("daemon")
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    systemd.make_folder(there / "a" / "b", (owner.pw_uid, owner.pw_gid))
    made = [there / "a", there / "a" / "b"]
    assert [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in made] == [(owner.pw_uid, 0o700)] * 2
    assert (there.stat().st_uid, there.stat().st_mode & 0o777) == (0, 0o755)


# ---------------------------------------------------------- status, uninstall


def test_status_says_how_each_service_does_and_what_to_do(machine: Machine) -> None:
    machine("install", "sidecar", "--user")
    machine.says(ACTIVE | {"StatusText": "at work", "NRestarts": "0"}, FAILED | {"NRestarts": "4"})
    said = machine("status", "--user")
    fir, oak = said.out.splitlines()
    assert fir == "agentcom-sidecar-fir.service  active (running): at work"
    assert oak.startswith("agentcom-sidecar-oak.service  down: it was ended by signal 11, and systemd has given it up")
    assert "systemctl --user reset-failed agentcom-sidecar-oak.service" in oak
    assert said.code == 1


def test_status_is_also_for_programs(machine: Machine) -> None:
    machine("install", "sidecar", "--agent", "fir", "--user")
    machine.says(ACTIVE)
    said = machine("status", "sidecar", "--user", "--json")
    (unit,) = said.document["units"]
    assert (said.code, unit["agent"], unit["works"], unit["properties"]["SubState"]) == (0, "fir", True, "running")


def test_status_of_nothing_is_a_failure(machine: Machine) -> None:
    said = machine("status", "--user")
    assert (said.code, "install one: agentcom service install" in said.err) == (1, True)


def test_status_without_systemd_says_so(bare: Machine) -> None:
    bare("install", "scheduler", "--user")
    said = bare("status", "--user")
    assert (said.code, "installed, but not at work" in said.err) == (1, True)


def test_uninstalling_stops_and_removes_and_does_nothing_the_second_time(machine: Machine) -> None:
    machine("install", "sidecar", "--user", AGENTCOM_REDIS=SECRET)
    machine("install", "scheduler", "--user", AGENTCOM_REDIS=SECRET)
    machine.says(ACTIVE)
    assert machine("uninstall", "sidecar", "--user").code == 0
    assert set(machine.files()) == {
        "agentcom-scheduler.service",
        "agentcom-scheduler.env",
        "agentcom-alert@.service",
        "agentcom-alert.env",
    }
    assert machine.calls() == [
        "--user disable --now agentcom-sidecar-fir.service",
        "--user disable --now agentcom-sidecar-oak.service",
        "--user daemon-reload",
    ]
    assert machine("uninstall", "sidecar", "--user").out.startswith("nothing to remove")
    machine("uninstall", "scheduler", "--user")
    assert machine.files() == {}


def test_uninstalling_without_systemd_removes_the_files(bare: Machine) -> None:
    bare("install", "scheduler", "--user")
    said = bare("uninstall", "scheduler", "--user")
    assert (said.code, "nothing was stopped" in said.err) == (0, True)
    assert bare.files() == {}


def test_another_pools_services_are_left_alone(machine: Machine) -> None:
    machine("install", "scheduler", "--user")
    machine("install", "scheduler", "--user", "--pool", "night")
    machine("uninstall", "scheduler", "--user", "--pool", "night")
    assert set(machine.files()) == {"agentcom-scheduler.service", "agentcom-alert@.service"}


# --------------------------------------------------------------------- failed


UNIT = "agentcom-sidecar-oak"


def with_receiver(machine: Machine, command: str) -> Path:
    told = machine.folder / "told"
    alerts = f"[alerts]\ncommand = ['sh', '-c', \"{command.format(told=told)}\"]\n"
    (machine.folder / "agentcom.toml").write_text(f"{SETTINGS}\n{alerts}")
    return told


def told_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_unit_that_was_given_up_is_told_of_once_for_each_time(machine: Machine) -> None:
    told = with_receiver(machine, "cat >> {told}; echo >> {told}")
    machine.says(FAILED | {"InvocationID": "1"})
    for _ in range(3):
        assert machine("failed", UNIT, "--user").code == 0
    assert len(told_in(told)) == 1
    assert f"{UNIT} is down" in told.read_text()
    machine.says(FAILED | {"InvocationID": "2"})
    machine("failed", f"{UNIT}.service", "--user")
    assert len(told_in(told)) == 2


def test_a_unit_that_is_started_again_is_not_told_of(machine: Machine) -> None:
    told = with_receiver(machine, "cat >> {told}")
    again = FAILED | {"ActiveState": "activating", "SubState": "auto-restart"}
    machine.says(again, again, ACTIVE)
    said = machine("failed", UNIT, "--user")
    assert (said.code, told.exists()) == (0, False)


def test_a_restart_that_is_once_too_often_is_told_of(machine: Machine) -> None:
    """Newer systemd starts the alert unit before it knows that it will give up."""
    told = with_receiver(machine, "cat >> {told}; echo >> {told}")
    before = FAILED | {"SubState": "failed-before-auto-restart", "InvocationID": "1"}
    again = FAILED | {"ActiveState": "activating", "SubState": "auto-restart", "InvocationID": "1"}
    machine.says(before, again, again, FAILED | {"InvocationID": "1"})
    machine("failed", UNIT, "--user")
    machine("failed", UNIT, "--user")
    assert len(told_in(told)) == 1


def test_what_nobody_could_be_told_is_told_by_the_next_call(machine: Machine) -> None:
    with_receiver(machine, "exit 1")
    machine.says(FAILED | {"InvocationID": "1"})
    with mock.patch("agentcom.alerts.sending.WAIT_S", 0.01):
        assert machine("failed", UNIT, "--user").code == 1
    told = with_receiver(machine, "cat >> {told}; echo >> {told}")
    assert machine("failed", UNIT, "--user").code == 0
    assert len(told_in(told)) == 1


def test_with_nobody_to_tell_it_stands_in_the_log(machine: Machine) -> None:
    machine.says(FAILED)
    said = machine("failed", UNIT, "--user")
    assert (said.code, f"{UNIT} is down: it was ended by signal 11" in said.err) == (0, True)


def test_the_name_of_a_unit_cannot_lead_elsewhere(machine: Machine) -> None:
    machine.says(FAILED)
    assert machine("failed", "../../etc/passwd", "--user").code == 2


# ------------------------------------------------------------------------ pm2


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_pm2_gets_the_scheduler_and_every_agent(machine: Machine) -> None:
    apps = apps_of(machine("pm2"), {})
    assert [app["name"] for app in apps] == [
        "agentcom-scheduler",
        "agentcom-sidecar-fir",
        "agentcom-sidecar-oak",
    ]
    for app in apps:
        assert app["stop_exit_codes"] == [78]
        assert app["kill_timeout"] > 40_000  # drain_s is 30 and grace_s 10
        assert {"max_restarts", "min_uptime", "exp_backoff_restart_delay"} <= app.keys()
        assert app["cwd"] == str(machine.folder)
        done = subprocess.run([app["script"], *app["args"][:3], "--version"], capture_output=True, check=True)
        assert done.stdout.startswith(b"agentcom ")
    assert [app["treekill"] for app in apps] == [True, False, False]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_pm2_is_told_no_secrets(machine: Machine) -> None:
    said = machine("pm2", AGENTCOM_REDIS=SECRET, AGENTCOM_POLICY_BEAT_S="20")
    assert "hunter2" not in said.out
    env = apps_of(said, {"AGENTCOM_REDIS": SECRET})[0]["env"]
    assert (env["AGENTCOM_REDIS"], env["AGENTCOM_POLICY_BEAT_S"]) == (SECRET, "20")
    with pytest.raises(subprocess.CalledProcessError):
        apps_of(said, {})


def apps_of(said: Said, environ: dict[str, str]) -> list[dict[str, Any]]:
    """What node makes of a file."""
    assert said.code == 0, said
    read = "const m = {exports: {}}; new Function('module', require('fs').readFileSync(0, 'utf8'))(m);"
    done = subprocess.run(
        ["node", "-e", f"{read} console.log(JSON.stringify(m.exports.apps))"],
        input=said.out,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environ},
        check=True,
    )
    apps: list[dict[str, Any]] = json.loads(done.stdout)
    return apps
