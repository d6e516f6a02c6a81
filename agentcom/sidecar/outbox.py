"""Reports on their way to Redis. A batch is on the local disk before it is sent, and until Redis has it: an outcome
that was reached is reported, however often Redis or the sidecar goes away in between.

Sending a batch twice is harmless: the scheduler knows the attempts by their tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from agentcom.broker.connection import until_back
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.sidecar.journal import Journal, OutboxNote


class Outbox:
    """Collects reports, and sends what has come together as one batch."""

    def __init__(self, store: SidecarStore, journal: Journal, on_away: Callable[[Exception], None]) -> None:
        self._store = store
        self._journal = journal
        self._on_away = on_away
        self._reports: deque[bytes] = deque()
        self._settled: list[str] = []
        self._resumed: deque[OutboxNote] = deque()
        self._wanted = anyio.Event()
        self._emptied = anyio.Event()
        self.settling: set[str] = set()
        """Entries that are being settled: pending still, but over."""

    def put(self, reports: list[bytes], settled: list[str]) -> None:
        """Send these, with whatever else comes together until the next batch leaves."""
        self._reports.extend(reports)
        self._settled += settled
        self.settling.update(settled)
        self._wanted.set()

    def resume(self, note: OutboxNote) -> None:
        """Send a batch that an earlier start of this sidecar may not have sent."""
        self._resumed.append(note)
        self.settling.update(note.settled)
        self._wanted.set()

    @property
    def unsent(self) -> int:
        """How many reports Redis does not have yet."""
        return len(self._reports) + sum(len(note.reports) for note in self._resumed)

    async def empty(self) -> None:
        """Wait until Redis has everything."""
        while self._reports or self._settled or self._resumed or self.settling:
            self._emptied = anyio.Event()
            await self._emptied.wait()

    async def run(self) -> None:
        """Send batches for ever."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            while self._resumed:
                await self._send(self._resumed[0])
                self._resumed.popleft()
            while self._reports or self._settled:
                await self._send(self._next_batch())
            self._emptied.set()

    def _next_batch(self) -> OutboxNote:
        settled, self._settled = self._settled, []
        reports = list(self._reports)
        self._reports.clear()
        note = self._journal.queued(settled, reports)
        for entry in settled:
            self._journal.ended(entry)
        return note

    async def _send(self, note: OutboxNote) -> None:
        reports = [bytes(report) for report in note.reports]
        await until_back(lambda: self._store.finish(note.settled, reports), self._on_away)
        self._journal.sent(note)
        self.settling.difference_update(note.settled)
