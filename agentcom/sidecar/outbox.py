"""Reports on their way to Redis. They are on the local disk before they are sent, and until Redis has them: an outcome
that was reached is reported, however often Redis or the sidecar goes away in between.

Sending a batch twice is harmless: the scheduler knows the attempts by their tokens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import anyio
from msgspec import Raw

from agentcom.broker.sidecar_store import SidecarStore
from agentcom.sidecar.journal import UNSAVED, Journal, OutboxNote
from agentcom.sidecar.trouble import Complaint, until_done

log = logging.getLogger("agentcom.sidecar")

BATCH_MAX = 100
"""Reports, and settled orders, of one batch; Lua cannot take many thousands at once."""

GATHER_S = 0.05
"""While a batch is on its way, what comes up is in memory alone for at most so long."""


class Outbox:
    """Collects reports, and sends what has come together as one batch.

    Args:
        store: where they are sent.
        journal: has them until they arrived.
        complaint: is told what Redis answers instead of taking them.
        on_disk_trouble: called when the journal cannot take them.
    """

    def __init__(
        self,
        store: SidecarStore,
        journal: Journal,
        complaint: Complaint,
        on_disk_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._journal = journal
        self._complaint = complaint
        self._on_disk_trouble = on_disk_trouble
        self._fresh: deque[tuple[list[bytes], list[str]]] = deque()
        self._notes: deque[OutboxNote] = deque()
        self._wanted = anyio.Event()
        self._noted = anyio.Event()
        self._emptied = anyio.Event()
        self.settling: set[str] = set()
        """Entries that are being settled: pending still, but over."""

    def put(self, reports: list[bytes], settled: list[str]) -> None:
        """Send these in one step, with whatever else comes together until the next batch leaves."""
        self._fresh.append((reports, settled))
        self.settling.update(settled)
        self._wanted.set()

    def resume(self, note: OutboxNote) -> None:
        """Send a batch that an earlier start of this sidecar may not have sent."""
        self._notes.append(note)
        self.settling.update(note.settled)
        self._noted.set()

    @property
    def unsent(self) -> int:
        """How many reports Redis does not have yet."""
        return sum(len(reports) for reports, _ in self._fresh) + sum(len(note.reports) for note in self._notes)

    async def empty(self) -> None:
        """Wait until Redis has everything."""
        while self._fresh or self._notes:
            await self._emptied.wait()

    async def run(self) -> None:
        """Send batches for ever. Whenever this is ended, all that was put is on the disk."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._write)
                group.start_soon(self._send)
        finally:
            self._note_down()

    async def _write(self) -> None:
        """Note down what was put: at once, or while a batch is on its way, when more may have come together."""
        while True:
            await self._wanted.wait()
            if self._notes:
                with anyio.move_on_after(GATHER_S):
                    await self._emptied.wait()
            self._wanted = anyio.Event()
            self._note_down()
            self._noted.set()

    async def _send(self) -> None:
        while True:
            await self._noted.wait()
            self._noted = anyio.Event()
            while self._notes:
                await self._deliver(self._notes[0])
                self._notes.popleft()
            self._emptied.set()
            self._emptied = anyio.Event()

    def _note_down(self) -> None:
        while self._fresh:
            reports: list[bytes] = []
            settled: list[str] = []
            while self._fresh and len(reports) + len(settled) < BATCH_MAX:
                more_reports, more_settled = self._fresh.popleft()
                reports += more_reports
                settled += more_settled
            self._notes.append(self._noted_batch(reports, settled))

    def _noted_batch(self, reports: list[bytes], settled: list[str]) -> OutboxNote:
        try:
            note = self._journal.queued(settled, reports)
        except OSError as error:
            log.warning("the journal cannot be written, so these reports are in memory alone: %s", error)
            self._on_disk_trouble()
            return OutboxNote(UNSAVED, settled, [Raw(report) for report in reports])
        self._end_runs(note)
        return note

    async def _deliver(self, note: OutboxNote) -> None:
        reports = [bytes(report) for report in note.reports]
        await until_done(lambda: self._store.finish(note.settled, reports), self._complaint)
        if note.number == UNSAVED:
            self._end_runs(note)
        self._journal.sent(note)
        self.settling.difference_update(note.settled)

    def _end_runs(self, note: OutboxNote) -> None:
        for entry in note.settled:
            self._journal.ended(entry)
