"""Tasks that wait for an agent, those that ask the same of one taken together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from agentcom.capability import InvalidRequirement
from agentcom.diagnosis.snapshot import Snapshot
from agentcom.model.agent import AgentRecord
from agentcom.model.task import ReadRecord
from agentcom.scheduler.assignment import held_until
from agentcom.scheduler.explain import hindrance, summed
from agentcom.scheduler.pool import profile_key
from agentcom.scheduler.work import Demand, Demands, agents_to_avoid
from agentcom.settings import Policy

DEMANDS_MAX = 20
"""Of more different demands, those that have waited longest are looked at."""

BUSY = "busy"
UNREADABLE = "its record cannot be judged"
AVOIDED = "failed it before"


class Queue:
    """Waiting tasks that ask the same.

    Args:
        records: the tasks, the one that has waited longest first.
        ready_at: since when that one has.
        demand: what they ask.
        agents: all of the pool, each with what makes it the same to every task as others.
    """

    def __init__(
        self, records: Sequence[ReadRecord], ready_at: int, demand: Demand, agents: Sequence[tuple[AgentRecord, str]]
    ) -> None:
        self.oldest = records[0]
        self.ready_at = ready_at
        """Since when any of the agents may take the oldest."""
        self.waiting = len(records)
        self._demand = demand
        self._agents = agents

    @cached_property
    def hindrances(self) -> dict[str, str]:
        """Why each agent does not take them now, by name; empty for one that could at once."""
        known: dict[tuple[object, ...], str] = {}
        found: dict[str, str] = {}
        for agent, profile in self._agents:
            pinned = agent.name == self._demand.agent
            alike = (profile, pinned, agent.link, agent.health, agent.limited_until, agent.free_slots > 0)
            if alike not in known:
                known[alike] = _hindrance(self._demand, agent)
            found[agent.name] = known[alike]
        return found | {name: AVOIDED for name in agents_to_avoid(self.oldest) if found.get(name) == ""}

    @property
    def in_service(self) -> list[str]:
        """Agents that could take them, now or when they have a free slot."""
        return [name for name, why in self.hindrances.items() if why in ("", BUSY, AVOIDED)]

    @property
    def free(self) -> list[str]:
        """Agents that could take them now."""
        return [name for name, why in self.hindrances.items() if not why]

    @property
    def line(self) -> str:
        """One line such as `0 of 5 agents: 2 python 2 < 3, 2 busy, 1 offline`."""
        return summed(self.hindrances.values())


def queues_of(snapshot: Snapshot, policy: Policy, now: int) -> list[Queue]:
    """What waits for an agent, by what it asks: the longest wait first, of a bounded number of demands. What is left to
    the agent that knows it waits for others only after that."""
    groups: dict[tuple[str, int, str, frozenset[str]], list[ReadRecord]] = {}
    queued = (record for record in snapshot.tasks if record.state == "queued" and record.ready_at > 0)
    ready = [(at, record) for record in queued if (at := held_until(record, policy)) <= now]
    since = {record.spec.id: at for at, record in ready}
    for _, record in sorted(ready, key=lambda pair: pair[0]):
        spec = record.spec
        key = (spec.requires, spec.context_tokens, spec.agent, agents_to_avoid(record))
        groups.setdefault(key, []).append(record)
    agents = [(agent, profile_key(agent.card)) for agent in snapshot.agents]
    demands = Demands()
    found: list[Queue] = []
    for records in list(groups.values())[:DEMANDS_MAX]:
        try:
            oldest = records[0].spec
            found.append(Queue(records, since[oldest.id], demands.of(oldest), agents))
        except InvalidRequirement:
            continue  # the scheduler could not load it either, and says so
    return found


def _hindrance(demand: Demand, agent: AgentRecord) -> str:
    try:
        return hindrance(demand, agent)
    except (InvalidRequirement, OverflowError):
        return UNREADABLE
