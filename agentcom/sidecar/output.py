"""What agents print, on its way to the kept tails of their tasks. Bounded: of too much, the newest is kept."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import anyio

from agentcom.broker.connection import TROUBLE, backoff_s, is_away
from agentcom.broker.sidecar_store import Output, SidecarStore
from agentcom.settings import Policy
from agentcom.sidecar.trouble import Complaint

FLUSH_S = 0.25
PIECES_MAX = 500
"""Pieces sent in one go."""


class OutputBuffer:
    """Collects what was printed since the last flush, of all attempts. Agents may print from any thread."""

    def __init__(self, policy: Policy) -> None:
        self._limit = policy.output_bytes
        self._piece = max(1, policy.output_bytes // policy.output_entries)
        self._printed: dict[tuple[str, int], bytearray] = {}
        self._lock = Lock()

    def add(self, task: str, attempt: int, body: bytes) -> None:
        """An agent printed this."""
        with self._lock:
            self._add(task, attempt, body)

    def take(self, now: int) -> list[Output]:
        """All that was collected, in pieces of a bounded size."""
        with self._lock:
            taken, self._printed = self._printed, {}
        return [
            Output(task, attempt, now, bytes(body[first : first + self._piece]))
            for (task, attempt), body in taken.items()
            for first in range(0, len(body), self._piece)
        ]

    def put_back(self, pieces: list[Output]) -> None:
        """What could not be sent waits for the next flush, before what was printed since."""
        with self._lock:
            newer, self._printed = self._printed, {}
            for piece in pieces:
                self._add(piece.task, piece.attempt, piece.body)
            for (task, attempt), body in newer.items():
                self._add(task, attempt, body)

    def _add(self, task: str, attempt: int, body: bytes | bytearray) -> None:
        kept = self._printed.setdefault((task, attempt), bytearray())
        kept += body
        if len(kept) > self._limit:
            del kept[: -self._limit]


class OutputSender:
    """Passes on what was collected, as long as Redis takes it."""

    def __init__(
        self,
        buffer: OutputBuffer,
        store: SidecarStore,
        clock: Callable[[], int],
        complaint: Complaint,
    ) -> None:
        self._buffer = buffer
        self._store = store
        self._clock = clock
        self._complaint = complaint
        self._flushing = anyio.Lock()

    async def run(self) -> None:
        """Flush for ever."""
        attempt = 0
        while True:
            await anyio.sleep(FLUSH_S + (backoff_s(attempt) if attempt else 0))
            attempt = 0 if await self.flush() else attempt + 1

    async def flush(self) -> bool:
        """Send what was printed. What Redis refuses is dropped; while it is away, the newest waits. False: it waits."""
        async with self._flushing:
            pieces = self._buffer.take(self._clock())
            for first in range(0, len(pieces), PIECES_MAX):
                try:
                    await self._store.output(pieces[first : first + PIECES_MAX])
                except TROUBLE as error:
                    self._complaint.say(error)
                    if is_away(error):
                        self._buffer.put_back(pieces[first:])
                        return False
                else:
                    self._complaint.well()
            return True
