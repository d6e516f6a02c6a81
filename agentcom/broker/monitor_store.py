"""What the monitor reads from Redis: all of a pool in two trips, each of them bounded. It writes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from agentcom.broker.client_store import HEAD_REPLIES, PoolHead, ask_for_head, head_of
from agentcom.broker.connection import Connections
from agentcom.broker.keys import BODY, LINES, ORDERS_GROUP, SWEEPER, Keys
from agentcom.broker.streams import readable, text
from agentcom.broker.watching import Extras, Wanted, ask_for_extras, extras_of, lines_since
from agentcom.model.agent import AgentRecord
from agentcom.model.codec import (
    decode_agent,
    decode_beat,
    decode_dead,
    decode_lines,
    decode_order,
    decode_record,
)
from agentcom.model.messages import Beat, DeadLetter, Line
from agentcom.model.task import ReadRecord

INFO_SECTIONS = ("server", "clients", "memory", "persistence", "replication")


class Overview(Struct, frozen=True):
    """The first trip.

    Attributes:
        head: the pool's.
        open_ids: of its oldest open tasks.
        agents: by name.
        lines: the end of its journal, the newest last.
        letters: the last dead letters, the newest first.
        server_at: the server's clock, in Unix ms; 0 if it does not tell.
        server: fields of the server's INFO; empty if it does not tell this user.
        took_ms: how long the trip took, without the reading of what it brought.
    """

    head: PoolHead
    open_ids: list[str]
    agents: list[AgentRecord]
    lines: list[Line]
    letters: list[DeadLetter]
    server_at: int
    server: dict[str, Any]
    took_ms: float


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

    @property
    def reclaimed(self) -> bool:
        """Whether the scheduler holds it."""
        return self.consumer == SWEEPER


class Details(Struct, frozen=True):
    """The second trip.

    Attributes:
        records: by id.
        beats: by agent.
        beat_left_ms: by agent, for how long its beat is still kept.
        orders: of each agent.
        printed_at: by task, when the last piece of its output was kept, in Unix ms by the server's clock.
        inbox_since_at, reports_since_at: when the oldest unread entry was written, by the same clock; 0: there is none.
        extras: what else was wanted.
    """

    records: dict[str, ReadRecord]
    beats: dict[str, Beat]
    beat_left_ms: dict[str, int]
    orders: list[OrderRow]
    printed_at: dict[str, int]
    inbox_since_at: int
    reports_since_at: int
    extras: Extras


class MonitorStore:
    """Reads for those who look on."""

    def __init__(self, connections: Connections, pool: str) -> None:
        self._redis = connections.commands
        self._names = Keys(pool)

    async def overview(self, tasks: int, entries: int, letters: int) -> Overview:
        """The first trip, with at most so many ids of open tasks, entries of the journal, and dead letters."""
        names = self._names
        pipeline = self._redis.pipeline(transaction=False)
        ask_for_head(pipeline, names)
        pipeline.zrange(names.open, 0, tasks - 1)
        pipeline.hgetall(names.agents)
        pipeline.xrevrange(names.journal, count=entries)
        pipeline.xrevrange(names.dead, count=letters)
        needed = len(pipeline)
        pipeline.time()
        for section in INFO_SECTIONS:
            pipeline.info(section)
        started_s = time.perf_counter()
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        took_ms = (time.perf_counter() - started_s) * 1000
        for reply in replies[:needed]:
            if isinstance(reply, Exception):
                raise reply
        ids, agents, journal, dead = replies[HEAD_REPLIES:needed]
        parts = readable(decode_lines, (fields.get(LINES, b"[]") for _, fields in reversed(journal)))
        return Overview(
            head_of(replies[:HEAD_REPLIES]),
            [text(id_) for id_ in ids],
            sorted(readable(decode_agent, agents.values()), key=lambda agent: agent.name),
            [line for part in parts for line in part],
            readable(decode_dead, (fields.get(BODY, b"") for _, fields in dead)),
            _server_clock(replies[needed]),
            {name: value for info in replies[needed + 1 :] if isinstance(info, dict) for name, value in info.items()},
            took_ms,
        )

    async def details(
        self, tasks: Sequence[str], running: Sequence[str], agents: Sequence[str], rows: int, wanted: Wanted
    ) -> Details:
        """The second trip.

        Args:
            tasks: whose records to read.
            running: tasks whose agents may have printed something.
            agents: whose beats and orders to read.
            rows: at most so many orders of each agent.
            wanted: what else.
        """
        names = self._names
        pipeline = self._redis.pipeline(transaction=False)
        # A command for many keys costs a fraction of as many commands. Of none there is no such command.
        if tasks:
            pipeline.mget([names.task(task) for task in tasks])
        if agents:
            pipeline.mget([names.beat(agent) for agent in agents])
        for task in running:
            pipeline.xrevrange(names.output(task), count=1)
        for agent in agents:
            pipeline.pttl(names.beat(agent))
            pipeline.xpending_range(names.orders(agent), ORDERS_GROUP, "-", "+", rows)
            pipeline.xrange(names.orders(agent), count=rows)
        for stream in (names.inbox, names.reports):
            pipeline.xrange(stream, count=1)
        ask_for_extras(pipeline, names, wanted)
        replies = iter(await pipeline.execute(raise_on_error=False))
        bodies = _listed(next(replies)) if tasks else []
        beaten = iter(_listed(next(replies)) if agents else [])
        printed_at = {task: _entry_at(next(replies)) for task in running}
        beats: dict[str, Beat] = {}
        beat_left_ms: dict[str, int] = {}
        orders: list[OrderRow] = []
        for agent in agents:
            beat, left_ms = _beat(next(beaten, None)), next(replies)
            if beat is not None:
                beats[agent] = beat
                beat_left_ms[agent] = left_ms if isinstance(left_ms, int) else 0
            orders += _orders(agent, next(replies), next(replies))
        records = readable(decode_record, (body for body in bodies if isinstance(body, bytes)))
        return Details(
            {record.spec.id: record for record in records},
            beats,
            beat_left_ms,
            orders,
            {task: at for task, at in printed_at.items() if at},
            _entry_at(next(replies)),
            _entry_at(next(replies)),
            extras_of(list(replies), wanted),
        )

    async def records(self, tasks: Sequence[str]) -> dict[str, ReadRecord]:
        """Records by id, as far as there are any."""
        bodies: Any = await self._redis.mget([self._names.task(task) for task in tasks])
        found = readable(decode_record, (body for body in bodies if body is not None))
        return {record.spec.id: record for record in found}

    async def lines_since(self, at: int, entries: int) -> tuple[list[Line], bool]:
        """See `agentcom.broker.watching.lines_since`."""
        return await lines_since(self._redis, self._names, at, entries)


def _listed(reply: Any) -> list[Any]:
    """A reply that is a list; none of an error."""
    return reply if isinstance(reply, list) else []


def _server_clock(reply: Any) -> int:
    """Of a TIME reply, in Unix ms; 0 of an error."""
    return reply[0] * 1000 + reply[1] // 1000 if isinstance(reply, tuple) else 0


def _entry_at(reply: Any) -> int:
    """When the only entry of a reply was written, in Unix ms by the server's clock; 0 if there is none."""
    return int(text(reply[0][0]).partition("-")[0]) if isinstance(reply, list) and reply else 0


def _beat(body: Any) -> Beat | None:
    beat = decode_beat(body) if isinstance(body, bytes) else None
    return beat if isinstance(beat, Beat) else None


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
