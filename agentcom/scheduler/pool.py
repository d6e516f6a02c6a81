"""Who could work: agents with the same card share a *profile*, so that what fits is judged once for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from agentcom.capability import Requirement, parse
from agentcom.model.agent import AgentRecord, Card
from agentcom.scheduler.work import CONTEXT_SHARE, Demand


class Profile:
    """Agents with equal attributes. `idle` and `partly` hold its free agents, the least recently freed first."""

    __slots__ = ("accepts", "agents", "capable", "card", "idle", "index", "key", "partly", "turn")

    def __init__(self, index: int, key: str, card: Card) -> None:
        self.index = index
        self.key = key
        self.card = card
        self.accepts: Requirement = parse(card.accepts)
        self.agents: dict[str, AgentRecord] = {}
        self.idle: dict[str, AgentRecord] = {}
        self.partly: dict[str, AgentRecord] = {}
        self.capable = 0
        """Bit n: its agents could do the work of lane n."""
        self.turn = 0
        """The lane index from which the next look for work begins."""

    def could_do(self, demand: Demand) -> bool:
        """Whether both sides agree, whatever else its agents are doing now."""
        card = self.card
        if card.context_tokens and demand.context_tokens > card.context_tokens * CONTEXT_SHARE:
            return False
        if card.accepts and not self.accepts.satisfied_by(demand.facts):
            return False
        return demand.requirement.satisfied_by(card.attributes)

    def free(self) -> Iterator[AgentRecord]:
        """Agents with a free slot, those with nothing to do first."""
        yield from self.idle.values()
        yield from self.partly.values()

    def update(self, agent: AgentRecord) -> None:
        """File an agent by what it is free for now."""
        self.agents[agent.name] = agent
        self.idle.pop(agent.name, None)
        if not agent.free_slots:
            self.partly.pop(agent.name, None)
        elif agent.running:
            self.partly[agent.name] = agent
        else:
            self.partly.pop(agent.name, None)
            self.idle[agent.name] = agent

    def remove(self, name: str) -> None:
        """The agent is gone, or its card changed."""
        for group in (self.agents, self.idle, self.partly):
            group.pop(name, None)


def profile_key(card: Card) -> str:
    """What makes two agents the same to every task."""
    return json.dumps([card.attributes, card.accepts, card.context_tokens], sort_keys=True)


class Slots:
    """Hands out small indexes and takes them back, so that bit sets stay small for ever."""

    def __init__(self) -> None:
        self._next = 0
        self._returned: list[int] = []

    def take(self) -> int:
        """An index that nobody holds."""
        if self._returned:
            return self._returned.pop()
        self._next += 1
        return self._next - 1

    def give_back(self, index: int) -> None:
        """The index may be handed out again."""
        self._returned.append(index)


def bits(mask: int, start: int = 0) -> Iterator[int]:
    """The set bits of `mask`, rising from `start` and then from 0: a start that moves on treats all alike."""
    high = mask >> start << start
    for part in (high, mask ^ high):
        rest = part
        while rest:
            low = rest & -rest
            yield low.bit_length() - 1
            rest ^= low
