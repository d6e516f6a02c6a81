"""What a sidecar must not forget when it is killed, on disk at every change. Two folders of small JSON files, each
replaced atomically, so that a reader finds the old or the new content whole, whenever the writer died:

    runs/ENTRY.json     an agent's process was, or was about to be, started for this order
    outbox/NUMBER.json  reports, and orders that they settle, on their way to Redis

A file is not forced to the disk: it survives the death of every process, which is what it is for. After a power
failure the agents are gone too, and Redis still has the orders, so they are reclaimed and fenced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from agentcom.model.messages import Assign
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.effects import Phase

T = TypeVar("T")

EntryId = Annotated[str, Meta(pattern=r"^[0-9]{1,20}-[0-9]{1,20}\Z")]
"""Of an order. Redis takes nothing else, so a note with anything else was damaged, whatever else can be read of it."""

UNSAVED = 0
"""The number of a batch that could not be written to the disk."""


STARTS_KEPT = 20

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, OSError)


class RunNote(Struct, frozen=True):
    """An order that was started, with the process that works on it, once there is one.

    Attributes:
        entry: of the order.
        order: itself.
        since_at: when it was started, and as much later as its agent's time stood still.
        paused_at: since when that stands still; 0 while it passes.
        process: that was started for it.
        offset: how many bytes of the agent's output were passed on to Redis, as of the last beat.
    """

    entry: EntryId
    order: Assign
    since_at: int
    process: ProcessIdentity | None = None
    offset: int = 0
    paused_at: int = 0

    def since(self, now: int) -> int:
        """From when on its agent's time is to be counted."""
        return self.since_at + max(0, now - self.paused_at) if self.paused_at else self.since_at

    def in_phase(self, phase: Phase, now: int) -> RunNote:
        """The note of the attempt as it comes into a phase: only while it is working does its agent's time pass."""
        if phase == "working":
            return replace(self, since_at=self.since(now), paused_at=0)
        return replace(self, paused_at=self.paused_at or now)


class OutboxNote(Struct, frozen=True):
    """A batch on its way to Redis: encoded reports, and the entries of the orders that they settle."""

    number: int
    settled: list[EntryId]
    reports: list[Raw]


class Journal:
    """The two folders, under `folder`.

    Its methods raise OSError where the disk is full, read-only or gone. What was written before is still there then.
    """

    def __init__(self, folder: Path) -> None:
        self._runs = folder / "runs"
        self._outbox = folder / "outbox"
        self._starts = folder / "starts.json"
        self._encode = msgspec.json.Encoder().encode
        self.set_aside: list[Path] = []
        """Files that could not be read, by their new names."""
        for place in (self._runs, self._outbox):
            with suppress(OSError):  # what is not there yet is made when it is needed
                place.mkdir(parents=True, exist_ok=True)
            for unfinished in place.glob("*.new"):
                _remove(unfinished)
        self._number = max((note.number for note in self.unsent()), default=0)

    def began(self, incarnation: str) -> None:
        """Remember this start, among the last ones: what was ordered from them and is not in `runs` never began."""
        with suppress(OSError):
            _replace(self._starts, self._encode([*self.starts(), incarnation][-STARTS_KEPT:]))

    def starts(self) -> list[str]:
        """The incarnations that this folder has seen, the oldest first."""
        try:
            return msgspec.json.decode(self._starts.read_bytes(), type=list[str])
        except FileNotFoundError:
            return []
        except UNREADABLE:
            self._set_aside(self._starts)
            return []

    def started(self, note: RunNote) -> None:
        """Remember that a process is being, or was, started."""
        _replace(self._run_path(note.entry), self._encode(note))

    def ended(self, entry: str) -> None:
        """Nothing runs for this order any more, and what is to be said of it is in the outbox, or is nothing."""
        _remove(self._run_path(entry))

    def queued(self, settled: list[str], reports: list[bytes]) -> OutboxNote:
        """Remember a batch until Redis has it."""
        self._number += 1
        note = OutboxNote(self._number, settled, [Raw(report) for report in reports])
        _replace(self._outbox / f"{note.number:012d}.json", self._encode(note))
        return note

    def sent(self, note: OutboxNote) -> None:
        """Redis has it."""
        _remove(self._outbox / f"{note.number:012d}.json")

    def runs(self) -> list[RunNote]:
        """What was started and not ended."""
        return list(self._read(self._runs, RunNote))

    def damaged(self) -> set[str]:
        """Entries of orders that were or may have been started, of which no more can be read than that."""
        return {path.stem for path in self._runs.glob("*.corrupt")}

    def damage(self) -> str:
        """The files that were set aside and nobody removed since, for people; empty if there are none."""
        found = sorted(str(path) for path in self._starts.parent.rglob("*.corrupt"))
        return found[0] + (f" and {len(found) - 1} more" if found[1:] else "") if found else ""

    def unsent(self) -> list[OutboxNote]:
        """What Redis may not have yet, in the order in which it was queued."""
        return list(self._read(self._outbox, OutboxNote))

    def _run_path(self, entry: str) -> Path:
        return self._runs / f"{entry}.json"

    def _read(self, place: Path, kind: type[T]) -> Iterator[T]:
        for path in sorted(place.glob("*.json")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=kind)
            except UNREADABLE:
                self._set_aside(path)

    def _set_aside(self, path: Path) -> None:
        """Out of the way, and kept for people to look at."""
        aside = path.with_suffix(".corrupt")
        with suppress(OSError):
            path.replace(aside)
        self.set_aside.append(aside)


def _replace(path: Path, body: bytes) -> None:
    fresh = f"{path}.new"
    try:
        handle = _opened(fresh)
        try:
            written = 0
            while written < len(body):  # a disk that is almost full takes a part of it, and refuses only the next
                written += os.write(handle, body[written:])
        finally:
            os.close(handle)
        os.replace(fresh, path)  # noqa: PTH105 - this runs once per batch of reports
    except OSError:
        _remove(Path(fresh))
        raise


def _opened(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)


def _remove(path: Path) -> None:
    """Remove a file. One that cannot be removed is found at the next start, and to report it again is harmless."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
