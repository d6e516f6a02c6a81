"""Carries out what was planned: files, written atomically, and calls of systemctl."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentcom.errors import AgentComError
from agentcom.supervisor.plan import File

BOOTED = Path("/run/systemd/system")
"""There if, and only if, systemd runs this machine: sd_booted(3)."""

PROPERTIES = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "MainPID",
    "ExecMainStatus",
    "StatusText",
    "ActiveEnterTimestamp",
    "InvocationID",
)

RUNNING = ("active", "activating", "reloading")


class SystemdRefused(AgentComError):
    """systemctl could not do what it was asked."""


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager of the machine, or of the user who calls."""

    system: bool

    def why_not(self) -> str:
        """Why it cannot be asked; empty if it can."""
        if shutil.which("systemctl") is None:
            return "systemctl is not installed"
        return "" if BOOTED.is_dir() else "systemd does not run on this machine"

    def command(self, *arguments: str) -> str:
        """A call as a person would type it."""
        return shlex.join(self._argv(*arguments))

    def call(self, *arguments: str) -> str:
        """What systemctl prints.

        Raises:
            SystemdRefused: it failed; its own words say why.
        """
        done = subprocess.run(self._argv(*arguments), capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise SystemdRefused(f"`{self.command(*arguments)}` failed: {said}")
        return done.stdout

    def show(self, unit: str) -> dict[str, str]:
        """What it knows of a unit, by property.

        Raises:
            SystemdRefused: it cannot be asked.
        """
        said = self.call("show", f"--property={','.join(PROPERTIES)}", "--", unit)
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def _argv(self, *arguments: str) -> list[str]:
        return ["systemctl", *(() if self.system else ("--user",)), *arguments]


def steps(unit: str, state: Mapping[str, str], *, changed: bool) -> list[tuple[str, ...]]:
    """The calls of systemctl, without its name, that bring a unit from this state to being enabled and at work."""
    calls: list[tuple[str, ...]] = [("daemon-reload",)] if changed else []
    if state.get("ActiveState") == "failed":
        calls.append(("reset-failed", unit))
    if state.get("UnitFileState") != "enabled" or state.get("ActiveState") not in RUNNING:
        calls.append(("enable", "--now", unit))
    return calls


def is_in_place(file: File) -> bool:
    """Whether the file is there as it should be."""
    path = Path(file.path)
    try:
        return path.read_bytes() == file.text.encode() and path.stat().st_mode & 0o777 == file.mode
    except OSError:
        return False


def put(file: File) -> None:
    """Put a file in place in one step; nobody ever reads half of it, or what is not theirs to read.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(file.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as to:
            to.write(file.text.encode())
            to.flush()
            os.fchmod(to.fileno(), file.mode)
            os.fsync(to.fileno())
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def make_folder(path: Path, owner: tuple[int, int] | None) -> None:
    """Make a folder with all that lead to it; those that are new belong to `owner` (user and group ids), if given.

    Raises:
        OSError: it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        if owner is not None:
            os.chown(folder, *owner)


def remove(paths: Iterable[str]) -> list[str]:
    """Remove what is there of these files; which ones were.

    Raises:
        OSError: one cannot be removed.
    """
    removed = [path for path in paths if Path(path).exists()]
    for path in removed:
        Path(path).unlink()
    return removed
