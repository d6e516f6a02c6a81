"""Reads what a coding agent prints, line by line, while it does: what its adapter makes of the lines adds up to a turn.

Always from the first line on, also where an earlier start of the sidecar had read most of it: what that knew is known
again, and only what is new is passed on to people.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import anyio
import anyio.lowlevel

from agentcom.adapters.base import LINE_MAX_BYTES, Adapter, Did, Event, Over, Said, Turn
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.reading import FLOODED, Limits, open_output

READ_BYTES = 262_144
KEPT_OF_LONG_BYTES = 1_000
SHOWN_MAX = 2_000


class Transcript:
    """The output of one turn.

    Args:
        path: of the output.
        errors: what it prints besides; nobody reads it meanwhile, and it counts as output.
        adapter: reads the lines.
        job: is told of the first sign of life, and of what is for people.
        limits: how much and how seldom it may print.
        linger_s: how long a process may run on after its terminal event.
        on_line: called after each line with what all of them add up to; True: the turn is to end.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        path: Path,
        errors: Path,
        adapter: Adapter,
        job: Job,
        *,
        limits: Limits,
        linger_s: float,
        on_line: Callable[[Turn], bool],
        clock: Callable[[], float],
    ) -> None:
        self.turn = Turn()
        self.enough = False
        self.excess = ""
        self._path = path
        self._errors = errors
        self._adapter = adapter
        self._job = job
        self._linger_s = linger_s
        self._limits = limits
        self._on_line = on_line
        self._clock = clock
        self._file: BinaryIO | None = None
        self._rest = b""
        self._skipping = False
        self._read_bytes = 0
        self._shown_bytes = 0
        self._heard_at_s = clock()
        self._over_at_s = 0.0

    def __enter__(self) -> Self:
        self._file = open_output(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def follow(self, wait_s: float) -> None:
        """Read a piece of what is there; where nothing is, wait for a while."""
        if not await self._read():
            await anyio.sleep(wait_s)
        self._look_at_clock()

    async def finish(self) -> None:
        """Read what is there by now, to the last line, whether or not that was ended."""
        end = os.fstat(self._file.fileno()).st_size if self._file is not None else 0
        while self._read_bytes < end and await self._read():
            pass
        if self._rest and not self._skipping:
            self._shown_bytes += len(self._rest)
            self._line(self._rest)
            self._rest = b""

    def _look_at_clock(self) -> None:
        now_s = self._clock()
        if self.turn.over is not None:
            self._over_at_s = self._over_at_s or now_s
            self.enough = self.enough or now_s - self._over_at_s >= self._linger_s
        else:
            # An agent may go on after what looked like its end.
            self._over_at_s = 0.0
            self.excess = self.excess or self._limits.excess(self._size(), now_s - self._heard_at_s)
            self.enough = self.enough or bool(self.excess)

    def _size(self) -> int:
        """All that it has printed: who prints faster than it is read must not fill the disk meanwhile."""
        printed = os.fstat(self._file.fileno()).st_size if self._file is not None else 0
        with suppress(OSError):
            printed += self._errors.stat().st_size
        return printed

    async def _read(self) -> bool:
        if self._file is None or self.excess == FLOODED:
            return False
        piece = self._file.read(READ_BYTES)
        if not piece:
            return False
        self._read_bytes += len(piece)
        self._heard_at_s = self._clock()
        if self._read_bytes > self._limits.size_bytes:
            self.excess, self.enough = FLOODED, True
            return False
        self._take(piece)
        self._job.followed(self._shown_bytes)
        await anyio.lowlevel.checkpoint()
        return True

    def _take(self, piece: bytes) -> None:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole, self._rest = self._rest + line, b""
            self._shown_bytes += len(whole) + 1
            if not self._skipping:
                self._line(whole)
            self._skipping = False
        self._rest += rest
        if len(self._rest) > LINE_MAX_BYTES:
            if not self._skipping:
                self._line(self._rest[:KEPT_OF_LONG_BYTES])
            self._shown_bytes += len(self._rest)
            self._rest, self._skipping = b"", True

    def _line(self, line: bytes) -> None:
        if not line.strip():
            return
        new = self._shown_bytes > self._job.offset
        for event in self._adapter.parse(line):
            self.turn.take(event)
            if self.turn.alive:
                self._job.alive()
            if new and (shown := _shown(event)):
                self._job.printed(shown)
        self.enough = self._on_line(self.turn) or self.enough


def _shown(event: Event) -> bytes:
    """What people are shown of an event, in `agentcom logs`."""
    match event:
        case Said():
            text = event.text
        case Did():
            text = f"· {event.text}"
        case Over(ok=False):
            text = f"✗ {event.reason}: {event.detail}"
        case _:
            return b""
    cut = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
    return f"{cut.rstrip()}\n".encode("utf-8", "backslashreplace") if cut.strip() else b""
