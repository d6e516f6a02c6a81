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


class Ended(Struct, frozen=True):
    """How the agent's process ended, as its keeper saw it: its exit code, or why it could not be started."""

    code: int = 0
    unstarted: str = ""


class AttemptFiles:
    """Paths of one attempt's files. The workspace is the task's, so that a later attempt goes on in it.

    Args:
        folder: the agent's own, absolute.
        workspace: the one that the settings name; empty: one for each task.
        task: id of the task.
        token: of the attempt. No other has it: after a fail-over of Redis, two may have the same generation.
    """

    def __init__(self, folder: Path, workspace: str, task: str, token: str) -> None:
        self.workspace = Path(workspace).absolute() if workspace else folder / "workspaces" / task
        attempt = folder / "attempts" / f"{task}.{token}"
        self.task = attempt / TASK_FILE
        self.prompt = attempt / "prompt.txt"
        self.result = attempt / "result.json"
        self.output = attempt / "output.log"
        self.exit = attempt / "exit"
        self._begun = attempt / "exit.new"

    @property
    def mark(self) -> str:
        """What every process of the attempt carries in its environment."""
        return str(self.task)

    def prepare(self, job: Job) -> None:
        """Make the folders, and write the task for the agent to read: as JSON in a file, as text for its stdin.

        Raises:
            OSError: the disk refuses.
        """
        self.task.parent.mkdir(parents=True, exist_ok=True)
        self.workspace.mkdir(parents=True, exist_ok=True)
        for old in (self.result, self.exit, self._begun):
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
        self.prompt.write_text(spec.text, encoding="utf-8", errors="replace")
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
        try:
            lines = read_file(self.output, LAST_WORDS_BYTES, end=True).decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return "it printed nothing that can be read"
        return " / ".join(line.strip() for line in lines[-3:]) or "it printed nothing"


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


def _words_of(path: Path) -> list[str]:
    try:
        return read_file(path, ROOM).decode("utf-8", "replace").strip().split(" ", 1)
    except OSError:
        return []
