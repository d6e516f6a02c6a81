"""The last hour, minute by minute: what waited, what was completed, what failed, which tokens were used. Pure.

While a monitor looks on, it adds up how counters grow. What was before it came is told by the journal, as far as that
reaches back and is read: from there on the picture is known, and blank before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from agentcom.model.lifecycle import RUNNING, WAITING
from agentcom.model.messages import Line
from agentcom.model.reasons import INNOCENT

MINUTES = 60
MINUTE_MS = 60_000
HOUR_MS = MINUTES * MINUTE_MS

GAP_MS = 2 * MINUTE_MS
"""Whoever has not looked for longer reads the journal again."""

Measure = Literal["waiting", "completed", "failed", "tokens"]


class Totals(Struct, frozen=True):
    """Counters at one moment, and what waits then.

    Attributes:
        at: Unix ms.
        tokens: None where nobody keeps count of them.
    """

    at: int
    waiting: int
    completed: int
    failed: int
    tokens: int | None = None


class _Minute(Struct):
    waiting: int | None = None
    completed: int = 0
    failed: int = 0
    tokens: int | None = None


class History:
    """What is known of the last hour.

    Attributes:
        since_at: from when on it is known, in Unix ms; 0 means not at all.
    """

    def __init__(self) -> None:
        self._minutes: dict[int, _Minute] = {}
        self._last: Totals | None = None
        self.since_at = 0

    def is_behind(self, at: int) -> bool:
        """Whether the journal has to be read before more is added: what was just before is not known."""
        return self._last is None or at - self._last.at > GAP_MS

    def recall(self, now: Totals, lines: Sequence[Line], *, whole: bool) -> None:
        """Begin anew with the journal of the last hour, oldest first; `whole`: as far as there was anything, it is all
        there."""
        self._minutes, self._last = {}, now
        hour_ago = now.at - HOUR_MS
        self.since_at = hour_ago if whole else max(hour_ago, lines[0].at if lines else now.at)
        waiting = now.waiting
        for line in reversed([line for line in lines if line.what == "task" and line.at >= self.since_at]):
            minute = self._minute(line.at)
            if minute.waiting is None:
                minute.waiting = max(0, waiting)
            waiting -= _waits(line.after) - _waits(line.before)
            minute.completed += line.after == "completed"
            minute.failed += _failed(line)
        # Between lines nothing changed.
        for number in range(self.since_at // MINUTE_MS, now.at // MINUTE_MS + 1):
            minute = self._minutes.setdefault(number, _Minute())
            if minute.waiting is None:
                minute.waiting = max(0, waiting)
            waiting = minute.waiting

    def add(self, now: Totals) -> None:
        """What was seen now. A counter that shrank, as an agent was forgotten, has grown by nothing."""
        last, self._last = self._last, now
        minute = self._minute(now.at)
        minute.waiting = now.waiting
        if last is not None:
            minute.completed += max(0, now.completed - last.completed)
            minute.failed += max(0, now.failed - last.failed)
            if now.tokens is not None and last.tokens is not None:
                minute.tokens = (minute.tokens or 0) + max(0, now.tokens - last.tokens)
        oldest = now.at // MINUTE_MS - MINUTES
        self._minutes = {number: kept for number, kept in self._minutes.items() if number > oldest}
        self.since_at = max(self.since_at, now.at - HOUR_MS) if self.since_at else now.at

    def series(self, measure: Measure, now: int) -> list[float | None]:
        """A value for each minute, the present one last; None where it is unknown."""
        last = now // MINUTE_MS
        found = (self._minutes.get(number) for number in range(last - MINUTES + 1, last + 1))
        return [None if minute is None else getattr(minute, measure) for minute in found]

    def within_hour(self, measure: Measure, now: int) -> int:
        """The sum of what is known of it."""
        return int(sum(value for value in self.series(measure, now) if value is not None))

    def _minute(self, at: int) -> _Minute:
        return self._minutes.setdefault(at // MINUTE_MS, _Minute())


def _waits(state: str) -> bool:
    return state in WAITING


def _failed(line: Line) -> bool:
    """Whether this is the end of an attempt that failed."""
    followed = line.before in RUNNING and (line.after in WAITING or line.after == "failed")
    return followed and bool(line.reason) and line.reason not in INNOCENT
