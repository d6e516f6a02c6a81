"""Where one attempt of a command keeps its files, and what they say after its sidecar was started anew."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from msgspec import Struct

from agentcom.model.codec import encode
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.keeper import ROOM

TASK_FILE = "task.json"
LAST_WORDS_BYTES = 400
LAST_LINES_BYTES = 1_048_576
UNREADABLE = "it printed nothing that can be read"


class Ended(Struct, frozen=True):
    """How the agent's process ended, as its keeper saw it: its exit code, or why it could not be started."""

    code: int = 0
    unstarted: str = ""


class AttemptFiles:
    """Paths of the files of one turn of an attempt: one process that is woken for it. Most attempts have one turn.

    Args:
        folder: the agent's own, absolute.
        workspace: where the agent works.
        task: id of the task.
        token: of the attempt. No other has it: after a fail-over of Redis, two may have the same generation.
        turn: counted from 1.
    """

    def __init__(self, folder: Path, workspace: Path, task: str, token: str, turn: int = 1) -> None:
        self.workspace = workspace
        self._of = (folder, workspace, task, token)
        attempt = folder / "attempts" / f"{task}.{token}"
        self.task = attempt / TASK_FILE
        self.result = attempt / "result.json"
        self.progress = attempt / "progress.json"
        self.guard = attempt / "guard.json"
        self.checks = attempt / "checks"
        place = attempt if turn == 1 else attempt / f"turn-{turn}"
        self.prompt = place / "prompt.txt"
        self.output = place / "output.log"
        self.errors = place / "errors.log"
        self.exit = place / "exit"
        self._begun = place / "exit.new"

    def turn(self, number: int) -> AttemptFiles:
        """The files of another turn of the same attempt."""
        return AttemptFiles(*self._of, number)

    @property
    def mark(self) -> str:
        """What every process of the attempt carries in its environment."""
        return str(self.task)

    def prepare(self, job: Job, prompt: str) -> None:
        """Make the folders, and write the task for the agent to read: as JSON in a file, as text for its stdin.

        Raises:
            OSError: the disk refuses.
        """
        self.prompt.parent.mkdir(parents=True, exist_ok=True)
        self.workspace.mkdir(parents=True, exist_ok=True)
        for old in (self.result, self.exit, self._begun, self.errors):
            old.unlink(missing_ok=True)
        spec = job.spec
        told: dict[str, Any] = {
            "id": spec.id,
            "title": spec.heading,
            "text": spec.text,
            "context": spec.context,
            "attempt": job.attempt,
        }
        self.task.write_bytes(encode(told))
        self.prompt.write_text(prompt, encoding="utf-8", errors="replace")
        self.output.write_bytes(b"")

    @property
    def ended(self) -> Ended | None:
        """How the agent's process ended; None if its keeper did not write that down, or not yet."""
        words = _words_of(self.exit)
        match words:
            case ["ended", code] if code.removeprefix("-").isdecimal():
                return Ended(int(code))
            case ["unstarted", why]:
                return Ended(unstarted=why)
            case _:
                return None

    @property
    def begun(self) -> bool:
        """Whether the agent's process was, or was about to be, started."""
        return self._begun.exists() or self.exit.exists()

    @property
    def keeper(self) -> int:
        """The pid that the keeper had; 0 if it did not begin, or wrote down an end."""
        match _words_of(self._begun):
            case ["running", pid] if pid.isdecimal():
                return int(pid)
            case _:
                return 0

    def last_words(self) -> str:
        """The end of what the agent printed, in one line: the likeliest place of a cause."""
        said = [words for path in (self.errors, self.output) if (words := _last_words_of(path)) is not None]
        return next((words for words in said if words), "it printed nothing") if said else UNREADABLE

    def last_lines(self) -> list[bytes]:
        """The end of what the agent printed, of a bounded length, line by line."""
        return _end_of(self.output, LAST_LINES_BYTES).splitlines()


def _end_of(path: Path, limit: int) -> bytes:
    """The end of a file; nothing where that cannot be read."""
    try:
        return read_file(path, limit, end=True)
    except OSError:
        return b""


def read_file(path: Path, limit: int, *, end: bool = False) -> bytes:
    """The beginning or the end of a file, which the agent may have made something else that would never end.

    Raises:
        OSError: it cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path.name} is not a file")
        file.seek(max(0, found.st_size - limit) if end else 0)
        return file.read(limit)


def _last_words_of(path: Path) -> str | None:
    try:
        lines = read_file(path, LAST_WORDS_BYTES, end=True).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return None
    return " / ".join(line.strip() for line in lines[-3:])


def _words_of(path: Path) -> list[str]:
    try:
        return read_file(path, ROOM).decode("utf-8", "replace").strip().split(" ", 1)
    except OSError:
        return []
