"""What the monitor reads from Redis: all of a pool in two trips, each of them bounded. It writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from agentcom.broker.client_store import HEAD_REPLIES, PoolHead, ask_for_head, head_of
from agentcom.broker.connection import Connections
from agentcom.broker.keys import BODY, LINES, ORDERS_GROUP, Keys
from agentcom.broker.streams import readable, text
from agentcom.model.agent import AgentRecord
from agentcom.model.codec import decode_agent, decode_beat, decode_lines, decode_order, decode_record
from agentcom.model.messages import Beat, Line
from agentcom.model.task import ReadRecord


class Overview(Struct, frozen=True):
    """The first trip: the pool's head, ids of its oldest open tasks, its agents by name, the end of its journal."""

    head: PoolHead
    open_ids: list[str]
    agents: list[AgentRecord]
    lines: list[Line]


class OrderRow(Struct, frozen=True):
    """An order that an agent's stream holds, as its pending-entries list tells it.

    Attributes:
        agent: whose stream it is.
        entry: id of the entry, which says when it was ordered.
        task: what it is about; empty if the entry is gone or cannot be read.
        consumer: who holds it; empty if nobody has read it yet.
        idle_ms: how long ago its lease was last renewed.
        deliveries: how often it was delivered; 0 if nobody has read it yet.
    """

    agent: str
    entry: str
    task: str
    consumer: str
    idle_ms: int
    deliveries: int


class Details(Struct, frozen=True):
    """The second trip: records by id, beats by agent, orders."""

    records: dict[str, ReadRecord]
    beats: dict[str, Beat]
    orders: list[OrderRow]


class MonitorStore:
    """Reads for those who look on."""

    def __init__(self, connections: Connections, pool: str) -> None:
        self._redis = connections.commands
        self._names = Keys(pool)

    async def overview(self, tasks: int, entries: int) -> Overview:
        """The first trip, with at most so many ids of open tasks and entries of the journal."""
        names = self._names
        pipeline = self._redis.pipeline(transaction=False)
        ask_for_head(pipeline, names)
        pipeline.zrange(names.open, 0, tasks - 1)
        pipeline.hgetall(names.agents)
        pipeline.xrevrange(names.journal, count=entries)
        replies: list[Any] = await pipeline.execute()
        ids, agents, journal = replies[HEAD_REPLIES:]
        parts = readable(decode_lines, (fields.get(LINES, b"[]") for _, fields in reversed(journal)))
        return Overview(
            head_of(replies[:HEAD_REPLIES]),
            [text(id_) for id_ in ids],
            sorted(readable(decode_agent, agents.values()), key=lambda agent: agent.name),
            [line for part in parts for line in part],
        )

    async def details(self, tasks: Sequence[str], agents: Sequence[str], rows: int) -> Details:
        """The second trip, about these tasks and agents, with at most so many orders of each agent."""
        names = self._names
        pipeline = self._redis.pipeline(transaction=False)
        for task in tasks:
            pipeline.get(names.task(task))
        for agent in agents:
            pipeline.get(names.beat(agent))
            pipeline.xpending_range(names.orders(agent), ORDERS_GROUP, "-", "+", rows)
            pipeline.xrange(names.orders(agent), count=rows)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        records = readable(decode_record, (body for body in replies[: len(tasks)] if isinstance(body, bytes)))
        beats: dict[str, Beat] = {}
        orders: list[OrderRow] = []
        for place, agent in enumerate(agents):
            body, pending, entries = replies[len(tasks) + 3 * place : len(tasks) + 3 * place + 3]
            beat = decode_beat(body) if isinstance(body, bytes) else None
            if isinstance(beat, Beat):
                beats[agent] = beat
            orders += _orders(agent, pending, entries)
        return Details({record.spec.id: record for record in records}, beats, orders)


def _orders(agent: str, pending: Any, entries: Any) -> list[OrderRow]:
    """Pending entries, the oldest first, and then those that nobody has read. Replies that are errors hold none."""
    tasks: dict[str, str] = {}
    for entry, fields in entries if isinstance(entries, list) else ():
        order = decode_order((fields or {}).get(BODY, b""))
        tasks[text(entry)] = "" if isinstance(order, str) else order.task
    rows = [
        OrderRow(
            agent,
            text(row["message_id"]),
            tasks.pop(text(row["message_id"]), ""),
            text(row["consumer"]),
            row["time_since_delivered"],
            row["times_delivered"],
        )
        for row in (pending if isinstance(pending, list) else ())
    ]
    return rows + [OrderRow(agent, entry, task, "", 0, 0) for entry, task in tasks.items()]
