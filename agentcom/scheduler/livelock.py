"""Notices a livelock: work that goes round and round, and none of it is done.

The count outlives a leader, as leaders that come and go may be a part of the trouble.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

SIGN = "livelock"
"""Under this name the pool's head says since when there is a livelock."""

KEPT = 1_000
"""So many of the latest requeues outlive a leader: what is written with each of them stays small."""


class Livelock:
    """Counts requeues since the last completion, as many as matter: the latest, of the last window."""

    def __init__(self, requeues: int, window_ms: int) -> None:
        self._window_ms = window_ms
        self._times: deque[int] = deque(maxlen=requeues)
        self._changed = False
        self.said = False

    def take(self) -> tuple[int, ...] | None:
        """When the requeues were that count, to be kept; None if that has not changed since it was taken last."""
        changed, self._changed = self._changed, False
        return tuple(islice(self._times, max(0, len(self._times) - KEPT), None)) if changed else None

    def resume(self, times: Iterable[int], now: int) -> None:
        """Go on from what an earlier leader counted. Its clock may have been ahead: then all was earlier by as much."""
        kept = sorted(times)
        ahead = max(0, kept[-1] - now) if kept else 0
        self._times.extend(at - ahead for at in kept)

    def requeued(self, now: int) -> bool:
        """An attempt ended without an outcome that ends its task. True: this is a livelock, and news."""
        self._times.append(now)
        self._changed = True
        while now - self._times[0] > self._window_ms:
            self._times.popleft()
        if len(self._times) == self._times.maxlen and not self.said:
            self.said = True
            return True
        return False

    def is_still(self, now: int) -> bool:
        """Whether anything was requeued within the last window."""
        return bool(self._times) and now - self._times[-1] < self._window_ms

    def over(self) -> bool:
        """A task completed, or nothing goes round any more. True: it had been a livelock, and that is news."""
        self._changed = self._changed or bool(self._times)
        self._times.clear()
        was_said, self.said = self.said, False
        return was_said
