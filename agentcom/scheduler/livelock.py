"""Notices a livelock: work that goes round and round, and none of it is done.

The count outlives a leader, as leaders that come and go may be a part of the trouble.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

SIGN = "livelock"
"""Under this name the pool's head says since when there is a livelock."""


class Livelock:
    """Counts requeues since the last completion, as many as matter."""

    def __init__(self, requeues: int, window_ms: int) -> None:
        self._window_ms = window_ms
        self._times: deque[int] = deque(maxlen=requeues)
        self.said = False

    @property
    def times(self) -> tuple[int, ...]:
        """When the requeues were that count."""
        return tuple(self._times)

    def resume(self, times: Iterable[int], now: int) -> None:
        """Go on from what an earlier leader counted, whose clock may have been ahead."""
        self._times.extend(min(at, now) for at in times)

    def requeued(self, now: int) -> bool:
        """An attempt ended without an outcome that ends its task. True: this is a livelock, and news."""
        self._times.append(now)
        full = len(self._times) == self._times.maxlen
        if full and not self.said and now - self._times[0] <= self._window_ms:
            self.said = True
            return True
        return False

    def is_still(self, now: int) -> bool:
        """Whether anything was requeued within the last window."""
        return bool(self._times) and now - self._times[-1] < self._window_ms

    def over(self) -> bool:
        """A task completed, or nothing goes round any more. True: it had been a livelock, and that is news."""
        self._times.clear()
        was_said, self.said = self.said, False
        return was_said
