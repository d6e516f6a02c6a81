"""What work costs, as it stands in Redis: what changes goes with the commit that says why, so that nothing is counted
twice or lost with a leader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from agentcom.model.costs import OTHERS, TOTAL, Costs, day_and_agent, field_of

DAY_MS = 86_400_000

AGENTS_PER_DAY = 1_000
"""Of more agents, those that come later on a day are counted together."""


NOTHING = Costs()


class Accounts:
    """All costs by field of the hash, and which of them changed.

    Args:
        days: so many days are kept, those with work on them being counted.
    """

    def __init__(self, days: int) -> None:
        self._days = days
        self._costs: dict[str, Costs] = {}
        self._agents_on: Counter[str] = Counter()
        self._number = -1
        self._today = ""
        self._changed: dict[str, Costs | None] = {}
        """What the next commit has to write; None: to be forgotten."""
        self._sum = Costs()
        """What was counted since the last commit, which the day and the total do not have yet."""

    def load(self, costs: Mapping[str, Costs]) -> None:
        """Begin with what an earlier leader counted."""
        self._costs = dict(costs)
        self._agents_on = Counter(day for day, agent in map(day_and_agent, costs) if agent)

    def turn(self, now: int) -> None:
        """What is counted from here on is counted for the day of this time, in UTC."""
        number = now // DAY_MS
        if number != self._number:
            self._add_up()
            self._number = number
            self._today = datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
            self._forget_days()

    def add(self, agent: str, costs: Costs) -> None:
        """Count this for an agent, for today, and all in all."""
        self._of(self._agents_field(agent)).add(costs)
        self._sum.add(costs)

    def ended(self, agent: str, completed: bool, messages: int, seconds: float) -> None:
        """Count one attempt that ended. What is done for every attempt is spelled out, for its speed."""
        for costs in (self._of(self._agents_field(agent)), self._sum):
            costs.attempts += 1
            costs.completed += completed
            costs.messages += messages
            costs.seconds += seconds

    def again(self, field: str) -> bool:
        """Write a field again as it is known, or have it forgotten if it is not. Returns whether it is known."""
        self._changed[field] = self._costs.get(field)
        return field in self._costs

    def take(self) -> dict[str, Costs | None]:
        """What has changed since the last commit."""
        if self._changed:
            self._add_up()
        taken, self._changed = self._changed, {}
        return taken

    def _add_up(self) -> None:
        """The day and the total are as many attempts as agents made: once for each commit is enough."""
        if self._sum != NOTHING:
            self._of(TOTAL).add(self._sum)
            self._of(self._today).add(self._sum)
            self._sum = Costs()

    def _of(self, field: str) -> Costs:
        known = self._costs.get(field)
        if known is None:
            known = self._begin(field)
        self._changed[field] = known
        return known

    def _agents_field(self, agent: str) -> str:
        field = field_of(self._today, agent)
        if field in self._costs or self._agents_on[self._today] < AGENTS_PER_DAY:
            return field
        return field_of(self._today, OTHERS)

    def _begin(self, field: str) -> Costs:
        day, agent = day_and_agent(field)
        self._agents_on[day] += bool(agent)
        known = self._costs[field] = Costs()
        return known

    def _forget_days(self) -> None:
        """Keep the last days on which there was work, and today: days do not pass by the clock alone, which may be
        wrong for a while."""
        days = sorted({day for day, _ in map(day_and_agent, self._costs)} - {TOTAL, self._today}, reverse=True)
        self._forget(set(days[self._days - 1 :]))

    def _forget(self, days: Iterable[str]) -> None:
        for field in [field for field in self._costs if day_and_agent(field)[0] in days]:
            del self._costs[field]
            self._changed[field] = None
        for day in days:
            self._agents_on.pop(day, None)
