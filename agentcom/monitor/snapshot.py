"""A pool at one moment, as plain data. Pure."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from agentcom.model.agent import AgentRecord
from agentcom.model.messages import Beat, Line
from agentcom.model.task import ReadRecord


class Order(Struct, frozen=True):
    """An order that an agent's stream holds.

    Attributes:
        agent: whose stream it is.
        entry: its id.
        ordered_at: when it was ordered, in Unix ms by the server's clock.
        task: what it is about; empty if that cannot be told.
        consumer: who holds it; empty if nobody has read it yet.
        idle_ms: how long ago its lease was last renewed.
        deliveries: how often it was delivered.
    """

    agent: str
    entry: str
    ordered_at: int
    task: str
    consumer: str
    idle_ms: int
    deliveries: int


class Snapshot(Struct, frozen=True, kw_only=True):
    """What one look saw.

    Attributes:
        at: Unix time in ms.
        latency_ms: of one trip to Redis.
        leader: name of the leading scheduler; empty if none leads.
        epoch, seq: of the leadership and of the last commit.
        inbox, reports: entries that no scheduler has taken into account yet.
        open: how many tasks are open.
        dead: how many dead letters are kept.
        agents: by name; of very many, those that work.
        agents_total: how many there are.
        beats: by agent.
        tasks: the oldest open tasks, and all that run.
        orders: by agent, the oldest first.
        lines: the end of the journal, the newest last.
    """

    at: int
    pool: str
    latency_ms: float
    leader: str
    epoch: int
    seq: int
    inbox: int
    reports: int
    open: int
    dead: int
    agents: list[AgentRecord]
    agents_total: int
    beats: dict[str, Beat]
    tasks: list[ReadRecord]
    orders: list[Order]
    lines: list[Line]

    @property
    def whole(self) -> bool:
        """Whether all open tasks are in `tasks`, so that counting them counts all."""
        return len(self.tasks) >= self.open

    def states(self) -> Counter[str]:
        """How many of `tasks` are in each state."""
        return Counter(record.state for record in self.tasks)
