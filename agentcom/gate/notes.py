"""The gate's history on this machine's disk: one line for each verdict, and a bounded number of them."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path

import msgspec

from agentcom.gate.history import Note

KEPT = 1_000


def read(path: Path) -> list[Note]:
    """The notes, the oldest first. A line that cannot be read is left out."""
    notes = []
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines()[-KEPT:]:
            with suppress(msgspec.MsgspecError):
                notes.append(msgspec.json.decode(line, type=Note))
    return notes


def add(path: Path, note: Note) -> None:
    """Add a note; of twice as many as are kept, the older half goes. Several programs may do so at once.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with path.open("ab") as file:
            file.write(msgspec.json.encode(note) + b"\n")
        lines = path.read_bytes().splitlines(keepends=True)
        if len(lines) >= 2 * KEPT:
            fresh = path.with_suffix(".new")
            fresh.write_bytes(b"".join(lines[-KEPT:]))
            fresh.replace(path)
