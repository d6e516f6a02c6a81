"""What the scheduler holds in memory of an open task: its record, and what decides where it waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from weakref import WeakValueDictionary

from msgspec import Struct

from agentcom.capability import Preferences, Requirement, parse, parse_preferences
from agentcom.model.reasons import NO_FAILURE, blames_agent
from agentcom.model.task import PRIORITIES, CarriedRecord, ReadRecord, TaskSpec
from agentcom.wording import dollars

CONTEXT_SHARE = 0.8
"""A task's context may fill this share of an agent's window: the agent needs the rest for its own work."""


LEVEL_OF = {priority: level for level, priority in enumerate(PRIORITIES)}


class Demand(Struct, frozen=True, weakref=True, eq=False):
    """What a task asks of an agent. Equal demands are one object, so that a million waiting tasks share it."""

    requirement: Requirement
    preferences: Preferences
    context_tokens: int
    agent: str

    @property
    def facts(self) -> Mapping[str, str | int | float | bool]:
        """What an agent's `accepts` is judged on: each name the task requires, its context, whether it is pinned."""
        named: dict[str, str | int | float | bool] = dict.fromkeys(self.requirement.names(), True)
        return named | {"context_tokens": self.context_tokens, "pinned": bool(self.agent)}


class Work(Struct, gc=False):
    """An open task.

    Attributes:
        budget_tokens, budget_usd: as its spec has them; 0 means no limit.
        queued: it waits in a lane.
        ghost: it left a lane without having been taken, and still stands there: it can never wait anywhere again.
        avoid: agents that failed it.
        held_for: while it waits, only this agent may take it; empty: any.
        preparing_at: when a beat last said that its agent is not woken yet, as its workspace is being made ready.
    """

    id: str
    record: CarriedRecord
    demand: Demand
    priority: int
    max_attempts: int
    timeout_s: float
    key: str
    budget_tokens: int = 0
    budget_usd: float = 0.0
    queued: bool = False
    ghost: bool = False
    avoid: frozenset[str] = frozenset()
    held_for: str = ""
    preparing_at: int = 0

    @property
    def only(self) -> str:
        """The one agent that may take it; empty: any."""
        return self.demand.agent or self.held_for

    @property
    def tokens_left(self) -> int:
        """What of its budget of tokens is left for an attempt, 1 at least; 0 means no limit."""
        return max(1, self._tokens - self.record.spent.new_tokens) if self.budget_tokens else 0

    @property
    def usd_left(self) -> float:
        """What of its budget of money is left for an attempt, over 0; 0 means no limit."""
        return max(1e-6, self._usd - self.record.spent.cost_usd) if self.budget_usd else 0.0

    def overspent(self, more_tokens: int = 0, more_usd: float = 0.0) -> str:
        """How much of which budget is spent, if nothing of it would be left for another attempt when so much is added;
        empty if something would."""
        spent, tokens, usd = self.record.spent, self._tokens + more_tokens, self._usd + more_usd
        if self.budget_tokens and spent.new_tokens >= tokens:
            return f"it has used {spent.new_tokens:,} tokens of the {tokens:,} that it may use"
        if self.budget_usd and spent.cost_usd >= usd:
            return f"it has cost {dollars(spent.cost_usd)} of the {dollars(usd)} that it may cost"
        return ""

    @property
    def _tokens(self) -> int:
        return self.budget_tokens + self.record.granted_tokens

    @property
    def _usd(self) -> float:
        return self.budget_usd + self.record.granted_usd

    @property
    def token(self) -> str:
        """The token of its latest attempt; empty before the first."""
        return self.record.attempts[-1].token if self.record.attempts else ""


class Demands:
    """Makes one `Demand` of equal ones, and forgets it with the last task that has it."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, str, int, str], Demand] = WeakValueDictionary()

    def of(self, spec: TaskSpec) -> Demand:
        """The demand of a spec that admission found valid.

        Raises:
            InvalidRequirement: its `requires` or `prefer` does not parse.
        """
        key = (spec.requires, spec.prefer, spec.context_tokens, spec.agent)
        known = self._known.get(key)
        if known is not None:
            return known
        requirement, preferences = parse(spec.requires), parse_preferences(spec.prefer)
        canonical = (requirement.canonical, preferences.canonical, spec.context_tokens, spec.agent)
        demand = self._known.get(canonical)
        if demand is None:
            demand = Demand(requirement, preferences, spec.context_tokens, spec.agent)
            self._known[canonical] = demand
        self._known[key] = demand
        return demand


def make_work(record: CarriedRecord, spec: TaskSpec, demand: Demand, max_attempts: int, timeout_s: float) -> Work:
    """The in-memory side of an open record. `max_attempts` and `timeout_s` are the pool's, where the spec has none."""
    return Work(
        id=spec.id,
        record=record,
        demand=demand,
        priority=LEVEL_OF[spec.priority],
        max_attempts=spec.max_attempts or max_attempts,
        timeout_s=spec.timeout_s or timeout_s,
        key=spec.key,
        budget_tokens=spec.budget_tokens,
        budget_usd=spec.budget_usd,
        avoid=agents_to_avoid(record),
    )


NOBODY: frozenset[str] = frozenset()


def agents_to_avoid(record: CarriedRecord | ReadRecord) -> frozenset[str]:
    """Agents that failed it in a way that is more likely theirs than the work's, or in any way twice, and those that a
    person took it from; sending it back forgives them."""
    if not record.attempts:
        return NOBODY
    left = record.counted - record.granted
    found: set[str] = set()
    failed: Counter[str] = Counter()
    for attempt in reversed(record.attempts):
        if attempt.counted and left <= 0:
            break
        left -= attempt.counted
        outcome = attempt.outcome
        if outcome is None or outcome.result == "completed":
            continue
        failed[attempt.agent] += attempt.counted and outcome.reason not in NO_FAILURE
        if blames_agent(outcome.reason) if attempt.counted else outcome.reason == "requeued":
            found.add(attempt.agent)
    return frozenset(found | {agent for agent, times in failed.items() if times > 1})
