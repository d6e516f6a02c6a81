"""Real schedulers and sidecars, and the end of a socket at which a service manager would listen."""

from __future__ import annotations

import copy
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
LOOK_S = 0.5

SETTINGS = """\
redis = "{url}"
pool = "{pool}"
data_dir = "{folder}/data"

[policy]
drain_s = 30
grace_s = 1
beat_s = 1
beat_offset_s = 0

[agents.oak]
command = ["sh", "-c", "trap '' TERM; echo $$ > '{folder}/agent'; while :; do sleep 0.1; done"]

[agents.fir]
runner = "python"
handler = "tests.supervisor.handlers:freeze"
"""


class Home:
    """A folder with settings, where commands are called."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
        pool = f"sv-{os.getpid()}-{time.monotonic_ns()}"
        (folder / "agentcom.toml").write_text(SETTINGS.format(url=url, pool=pool, folder=folder))

    def beside(self, name: str) -> Home:
        """Another folder with the same settings, for another service of the same pool."""
        other = copy.copy(self)
        other.folder = self.folder / name
        other.folder.mkdir()
        (other.folder / "agentcom.toml").write_text((self.folder / "agentcom.toml").read_text())
        return other

    def call(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "agentcom", *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def agent_pid(self) -> int:
        """Of the process of agent oak, once it has begun."""
        path = self.folder / "agent"
        eventually(lambda: path.exists() and path.read_text().strip() != "")
        return int(path.read_text())


def eventually(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    ends_at = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_at, "it does not come about"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Watched:
    """A service, and what it told its manager."""

    process: subprocess.Popen[bytes]
    to: socket.socket
    said: list[str] = field(default_factory=list)

    def hear(self, within_s: float) -> str | None:
        """The next message; None if none comes."""
        self.to.settimeout(within_s)
        try:
            self.said.append(self.to.recv(4096).decode())
        except TimeoutError:
            return None
        return self.said[-1]

    def until(self, part: str, within_s: float = PATIENCE_S) -> None:
        """Listen until something is said."""
        ends_at = time.monotonic() + within_s
        while part not in (self.hear(LOOK_S) or ""):
            assert time.monotonic() < ends_at, f"{part} was not said, only {self.said}"
            assert self.process.poll() is None or self.to_be_read(), "it has ended"

    def to_be_read(self) -> bool:
        return bool(select.select([self.to], [], [], 0)[0])

    def hush(self) -> None:
        """Forget what was said by now."""
        while self.hear(0.01) is not None:
            pass

    def ended(self, within_s: float = PATIENCE_S) -> int:
        return self.process.wait(within_s)


@contextmanager
def watched(home: Home, *arguments: str, watchdog_s: float, abstract: bool = False) -> Iterator[Watched]:
    """A long-running command, as a service manager starts it."""
    name = f"\0agentcom-{os.getpid()}-{time.monotonic_ns()}" if abstract else str(home.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.bind(name)
        told = {"NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": str(int(watchdog_s * 1_000_000))}
        with (home.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "agentcom", *arguments],
                cwd=home.folder,
                env=home.environ | told,
                stdout=log,
                stderr=log,
            )
        try:
            yield Watched(process, to)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if not abstract:
                Path(name).unlink(missing_ok=True)
