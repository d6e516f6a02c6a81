"""When a leader does what is not called for by anything that happened, and how much it reads at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentcom.broker.connection import BLOCK_MAX_S
from agentcom.broker.streams import Entry
from agentcom.settings import Policy

READ_BYTES = 16 * 1024 * 1024
"""A read brings about so much at most, however large its entries are."""

FIRST_READ = 16
RENEWALS_PER_LEASE = 3

STREAMS_MS = 60_000
"""From one look at the streams to the next: what it finds only happens where somebody wrote to Redis by hand."""


class Duties:
    """When the periodic duties of a leader are due."""

    def __init__(self, policy: Policy, now: int) -> None:
        self._renew_ms = int(policy.lease_s * 1000 / RENEWALS_PER_LEASE)
        self._beats_ms = int(policy.beat_s * 1000 / 2)
        self._sweep_ms = int(policy.sweep_s * 1000)
        self._renew_at = now + self._renew_ms
        self._beats_at = now + self._beats_ms
        self._sweep_at = now
        self._streams_at = now + STREAMS_MS

    def renewal_due(self, now: int) -> bool:
        """Whether to renew the lease."""
        if now < self._renew_at:
            return False
        self._renew_at = now + self._renew_ms
        return True

    def beats_due(self, now: int) -> bool:
        """Whether to read the agents' beats."""
        if now < self._beats_at:
            return False
        self._beats_at = now + self._beats_ms
        return True

    def sweep_due(self, now: int) -> bool:
        """Whether to look for what silent agents hold."""
        if now < self._sweep_at:
            return False
        self._sweep_at = now + self._sweep_ms
        return True

    def streams_due(self, now: int) -> bool:
        """Whether to look if inbox and reports can still be written to and go on from where they were read."""
        if now < self._streams_at:
            return False
        self._streams_at = now + STREAMS_MS
        return True

    def block_ms(self, now: int, wake_at: int | None) -> int:
        """How long a read may wait: until the next duty, and no longer than a read may block at all."""
        due = min(self._renew_at, self._beats_at, self._sweep_at, wake_at if wake_at is not None else self._renew_at)
        return max(1, min(due - now, int(BLOCK_MAX_S * 1000)))


class Appetite:
    """How many entries to read at once: fewer where they are large, so that what is read fits into memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.entries = min(most, FIRST_READ)

    def fed(self, batches: Mapping[str, Sequence[Entry]]) -> None:
        """What was read last."""
        size = sum(len(entry.body) for entries in batches.values() for entry in entries)
        if size > READ_BYTES:
            self.entries = max(1, self.entries * READ_BYTES // size)
        elif any(len(entries) >= self.entries for entries in batches.values()):
            self.entries = min(self._most, self.entries * 2)
