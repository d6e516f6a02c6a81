"""Passes on what an agent writes to its output file, while it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import anyio
import anyio.lowlevel

from agentcom.adapters.base import Turn
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.reading import Limits, open_output

READ_BYTES = 65_536
BEHIND_MAX_BYTES = 16 * 1_048_576
"""Who prints faster than this can pass on is not read in full, so that the end of its output never lies far ahead."""


class Tail:
    """The output of one turn, from where an earlier start of the sidecar came to. There may be none.

    That there is output is a sign of life, whoever passed it on.

    Args:
        path: of the output.
        job: is told of life, and of what is for people.
        limits: how much and how seldom it may print.
        clock: seconds, monotonic.
    """

    def __init__(self, path: Path, job: Job, limits: Limits, clock: Callable[[], float]) -> None:
        self.enough = False
        self.excess = ""
        self.turn = Turn()
        self._path = path
        self._job = job
        self._limits = limits
        self._clock = clock
        self._heard_at_s = clock()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = open_output(self._path)
        if self._file is not None:
            self._file.seek(min(self._job.offset, self._size()))
            if self._file.tell():
                self._job.alive()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def follow(self, wait_s: float) -> None:
        """Pass on a piece of what is there; where nothing is, wait for a while."""
        if not await self._pass_on():
            await anyio.sleep(wait_s)
        self.excess = self._limits.excess(self._size(), self._clock() - self._heard_at_s)
        self.enough = bool(self.excess)

    async def finish(self) -> None:
        """Pass on what is there by now: what the agent left behind may go on printing for ever."""
        end = self._size()
        while self._file is not None and self._file.tell() < end and await self._pass_on():
            pass

    async def _pass_on(self) -> bool:
        if self._file is None:
            return False
        end = self._size()
        if end - self._file.tell() > BEHIND_MAX_BYTES:
            self._file.seek(end - BEHIND_MAX_BYTES)
        printed = self._file.read(READ_BYTES)
        if printed:
            self._heard_at_s = self._clock()
            self._job.alive()
            self._job.printed(printed)
            self._job.followed(self._file.tell())
            await anyio.lowlevel.checkpoint()
        return bool(printed)

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size if self._file is not None else 0
