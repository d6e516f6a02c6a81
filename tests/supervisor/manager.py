"""A real systemd, as the manager of a user's services, in a mount namespace and a control group of its own.

systemd wants to be asked through /run, where the machine's own would be: only the namespace has that one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

SYSTEMD = next((path for path in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if Path(path).exists()), "")
GROUPS = Path("/sys/fs/cgroup/systemd")

BEGIN = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR" && chmod 700 "$XDG_RUNTIME_DIR" &&
echo $$ > "$GROUP/cgroup.procs" && exec "$SYSTEMD" --user
"""


@dataclass(frozen=True)
class Manager:
    """A running systemd, and a home for the user whose services it keeps."""

    pid: int
    home: Path
    environ: dict[str, str]

    def run(self, *argv: str, within_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """Run a command where this systemd is the machine's."""
        command = ["nsenter", f"--target={self.pid}", "--mount", f"--wd={self.home}", *argv]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=within_s, check=False)

    def systemctl(self, *arguments: str) -> str:
        done = self.run("systemctl", "--user", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        return self.systemctl("show", "--value", f"--property={name}", unit).strip()

    def until(self, unit: str, name: str, value: str, within_s: float = PATIENCE_S) -> None:
        """Wait until a property of a unit has this value."""
        ends_at = time.monotonic() + within_s
        while (found := self.property(unit, name)) != value:
            assert time.monotonic() < ends_at, f"{unit}: {name} is {found}, not {value}\n{self.systemctl('show', unit)}"
            time.sleep(0.1)


def skip_without_systemd() -> None:
    """Skip where no second systemd can be run."""
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs this machine: a second one could get in its way")
    if not SYSTEMD or shutil.which("systemctl") is None or shutil.which("dbus-daemon") is None:
        pytest.skip("systemd or dbus-daemon is not installed")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("a mount namespace needs root")
    if not os.access(GROUPS, os.W_OK):
        pytest.skip("there is no control group to put systemd into")


@contextmanager
def a_manager(folder: Path, environ: dict[str, str]) -> Iterator[Manager]:
    """A systemd that keeps what is installed in the home that it makes in this folder."""
    skip_without_systemd()
    home = folder / "home"
    group = GROUPS / f"agentcom-test-{os.getpid()}"
    home.mkdir()
    group.mkdir()
    runtime = "/run/user/0"
    told = {"XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}
    told |= {"HOME": str(home), "SYSTEMD": SYSTEMD, "GROUP": str(group), "SYSTEMD_LOG_TARGET": "console"}
    told |= {"PATH": os.environ["PATH"], "SYSTEMD_LOG_LEVEL": "info"} | environ
    log = folder / "systemd.log"
    with log.open("wb") as to:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", BEGIN], env=told, stdout=to, stderr=to)
    try:
        manager = Manager(process.pid, home, told)
        ends_at = time.monotonic() + PATIENCE_S
        while manager.run("systemctl", "--user", "is-system-running").stdout.strip() not in ("running", "degraded"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends_at, log.read_text()
            time.sleep(0.1)
        yield manager
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
        process.wait()
        _remove(group)


def _remove(group: Path) -> None:
    for path in (*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group):
        with suppress(OSError):  # a process of the test's is still ending: its group is empty soon, and no harm
            path.rmdir()
