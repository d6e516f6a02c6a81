"""Reads the ledger of side effects while it grows, and sees in the process table how long each process lived."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentcom.processes import ProcessIdentity, identify
from tests.chaos.evidence import Run

MARK = b"AGENTCOM_TASK_FILE="


def now_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000


@dataclass
class _Open:
    """A run whose process still lives, as far as is known."""

    begin: dict[str, Any]
    identity: ProcessIdentity | None
    alive_at: int
    ended_at: int = 0
    code: int | None = None

    def as_run(self) -> Run:
        """What the judge is given of it."""
        begin = self.begin
        return Run(
            begin["task"], begin["token"], begin["agent"], begin["pid"], begin["at"], self.alive_at, self.ended_at,
            self.code,
        )  # fmt: skip


class Ledger:
    """The file, and what has been read of it. One thread uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._read = 0
        self._all: list[_Open] = []
        self._alive: dict[tuple[str, str, int], _Open] = {}

    def look(self) -> None:
        """Read what is new, and see who of the known still lives."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            self._take(json.loads(line))
        for key, open_ in list(self._alive.items()):
            if open_.identity is not None and identify(open_.identity.pid) == open_.identity:
                open_.alive_at = now_ms()
            else:
                del self._alive[key]

    def _take(self, entry: dict[str, Any]) -> None:
        key = (entry["task"], entry["token"], entry["pid"])
        if entry["mark"] == "begin":
            identity = identify(entry["pid"])
            if identity is not None and not _bears(entry["pid"], entry["token"]):
                identity = None  # it has gone, and somebody else has its pid
            opened = self._alive[key] = _Open(entry, identity, entry["at"])
            self._all.append(opened)
            return
        for open_ in reversed(self._all):
            if (open_.begin["task"], open_.begin["token"], open_.begin["pid"]) == key:
                open_.ended_at, open_.code = entry["at"], entry["code"]
                open_.alive_at = max(open_.alive_at, entry["at"])
                return

    def alive(self) -> list[ProcessIdentity]:
        """The agents' processes that live, as of the last look, oldest first."""
        return [open_.identity for open_ in self._alive.values() if open_.identity is not None]

    def runs(self) -> list[Run]:
        """All runs, in the order of their beginning."""
        return sorted((open_.as_run() for open_ in self._all), key=lambda run: run.began_at)


def processes_under(folder: Path) -> list[ProcessIdentity]:
    """Every process that was started for a task of this pool, daemons included: it bears the pool's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _bears(int(entry.name), str(folder)):
            process = identify(int(entry.name))
            if process is not None:
                found.append(process)
    return found


def command_of(process: ProcessIdentity) -> str:
    """Its command line and the attempt it belongs to, for people."""
    folder = Path("/proc", str(process.pid))
    with suppress(OSError):
        argv = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        mark = next((part for part in (folder / "environ").read_bytes().split(b"\0") if part.startswith(MARK)), b"")
        return f"{argv} ({Path(mark.decode(errors='replace')).parent.name})"
    return f"pid {process.pid}"


def _bears(pid: int, text: str) -> bool:
    """Whether the variable that marks an attempt's processes has this text in it."""
    with suppress(OSError):
        variables = Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
        return any(part.startswith(MARK) and text.encode() in part for part in variables)
    return False
