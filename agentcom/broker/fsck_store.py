"""What `agentcom fsck` reads from Redis: all of a pool, in bounded pieces; and some of it again, each piece as it is at
one moment, so that what is on its way from one key to another is not taken for missing. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, TypeVar

from redis.exceptions import RedisError

from agentcom.broker.connection import Connections
from agentcom.broker.keys import BODY, ORDERS_GROUP, SWEEPER, Keys, kind_of
from agentcom.broker.streams import UNREADABLE, is_number, is_position, position, readable, text
from agentcom.clock import steady_clock
from agentcom.fsck.facts import (
    AgentFacts,
    Discrepancy,
    Facts,
    KeyFacts,
    OrderFacts,
    StreamFacts,
    TaskFacts,
)
from agentcom.model.codec import (
    decode_agent,
    decode_carried,
    decode_costs,
    decode_dead,
    decode_order,
    decode_report,
    decode_spec,
    id_of,
)
from agentcom.model.costs import is_field
from agentcom.model.messages import Assign, Finished, Hello, Stop
from agentcom.settings import Policy

KEYS_PER_TRIP = 200
"""Records of one trip; each may be as large as the longest text that a pool takes."""

AGENTS_PER_TRIP = 50
ORDERS_MAX = 10_000
REPORTS_PER_TRIP = 500
INDEX_PER_TRIP = 5_000
TOLD_AGAIN = 100
"""Discrepancies that are looked at again at one moment."""

T = TypeVar("T")


class FsckStore:
    """Reads a pool whole.

    Args:
        connections: to its Redis.
        pool: its name.
        policy: of the pool, as its schedulers have it.
    """

    def __init__(self, connections: Connections, pool: str, policy: Policy) -> None:
        self._redis = connections.commands
        self._names = Keys(pool)
        self._policy = policy
        self._clock = steady_clock()

    # ----------------------------------------------------------------- whole

    async def everything(self) -> Facts:
        """All of the pool, read piece by piece while it goes on: what is odd has to be looked at again."""
        facts = self._facts()
        names = await self._scan()
        tasks = [name[5:] for name in names if name.startswith("task:")]
        agents = [name[7:] for name in names if name.startswith("orders:")]
        facts.outputs = [name[7:] for name in names if name.startswith("output:")]
        await self._read_index(facts)
        facts.bindings = await self._bindings()
        facts.costs = await self._costs()
        await self._read_dead(facts)
        await self._look(facts, (), (), ["head"])
        for part in _parts(dict.fromkeys([*agents, *facts.agents]), AGENTS_PER_TRIP):
            await self._look(facts, (), part, (), anew=False)
        for part in _parts([name for name in names if not name.startswith(("task:", "orders:"))], KEYS_PER_TRIP):
            await self._look(facts, (), (), part, anew=False)
        for part in _parts(dict.fromkeys([*tasks, *facts.open]), KEYS_PER_TRIP):
            await self._look(facts, part, (), (), anew=False)
        for part in _parts(_mentioned(facts), KEYS_PER_TRIP):
            await self._look(facts, part, (), (), anew=False)
        return facts

    def _facts(self) -> Facts:
        since_at = self._clock() - int(self._policy.key_retention_s * 1000)
        return Facts(keys_since_at=since_at, max_keys=self._policy.max_keys)

    async def _scan(self) -> list[str]:
        names: dict[str, None] = {}
        async for key in self._redis.scan_iter(match=self._names.every, count=1_000):
            names[self._names.name_of(key.decode("utf-8", "surrogateescape"))] = None
        return list(names)

    async def _read_index(self, facts: Facts) -> None:
        if text(await self._redis.type(self._names.open)) != "zset":
            return
        start = 0
        while True:
            rows: Any = await self._redis.zrange(self._names.open, start, start + INDEX_PER_TRIP - 1, withscores=True)
            facts.open |= {_exact(task): int(place) for task, place in rows}
            if len(rows) < INDEX_PER_TRIP:
                return
            # What left the index meanwhile moved the rest forward: the pieces overlap, so that nothing is jumped over.
            start += INDEX_PER_TRIP - INDEX_PER_TRIP // 5

    async def _bindings(self) -> dict[str, str]:
        if text(await self._redis.type(self._names.keys)) != "hash":
            return {}
        found: dict[str, str] = {}
        async for key, value in self._redis.hscan_iter(self._names.keys, count=1_000):
            found[_exact(key)] = text(value)
        return found

    async def _costs(self) -> dict[str, bool]:
        if text(await self._redis.type(self._names.costs)) != "hash":
            return {}
        found: dict[str, bool] = {}
        async for field, body in self._redis.hscan_iter(self._names.costs, count=1_000):
            found[_exact(field)] = is_field(_exact(field)) and bool(readable(decode_costs, [body]))
        return found

    async def _read_dead(self, facts: Facts) -> None:
        if text(await self._redis.type(self._names.dead)) != "stream":
            return
        start = "-"
        while True:
            entries: Any = await self._redis.xrange(self._names.dead, start, "+", count=1_000)
            letters = readable(decode_dead, (fields.get(BODY, b"") for _, fields in entries))
            facts.dead += [letter.task for letter in letters]
            facts.damaged_letters += len(entries) - len(letters)
            if len(entries) < 1_000:
                return
            start = f"({text(entries[-1][0])}"

    # ----------------------------------------------------------------- again

    async def again(self, found: Sequence[Discrepancy]) -> Facts:
        """What these are about, each piece of them as it is at one moment, and all reports that wait unread."""
        facts = self._facts()
        await self._read_reports(facts)
        if any(one.kind in ("damaged_binding", "key_not_bound") for one in found):
            facts.bindings = await self._bindings()
        if any(one.kind == "damaged_costs" for one in found):
            facts.costs = await self._costs()
        for part in _parts(found, TOLD_AGAIN):
            tasks = dict.fromkeys(task for one in part for task in one.tasks)
            agents = dict.fromkeys(agent for one in part for agent in one.agents)
            keys = dict.fromkeys(key for one in part for key in one.keys)
            await self._look(facts, list(tasks), list(agents), list(keys))
        return facts

    async def _read_reports(self, facts: Facts) -> None:
        """Who said hello and which ends were reported, of what the scheduler has not read yet."""
        if text(await self._redis.type(self._names.reports)) != "stream":
            return
        tokens: set[str] = set()
        agents: set[str] = set()
        start = "-"
        while True:
            entries: Any = await self._redis.xrange(self._names.reports, start, "+", count=REPORTS_PER_TRIP)
            for _, fields in entries:
                report = decode_report(fields.get(BODY, b""))
                if isinstance(report, Finished):
                    tokens.add(report.token)
                elif isinstance(report, Hello):
                    agents.add(report.agent)
            if len(entries) < REPORTS_PER_TRIP:
                break
            start = f"({text(entries[-1][0])}"
        facts.reported, facts.greeted = frozenset(tokens), frozenset(agents)

    # ------------------------------------------------------------ one moment

    async def _look(
        self,
        facts: Facts,
        tasks: Sequence[str],
        agents: Sequence[str],
        keys: Sequence[str],
        *,
        anew: bool = True,
    ) -> None:
        """Add what these are at this moment, and with them, `anew`, all agents' records and the head."""
        names = self._names
        pipeline = self._redis.pipeline(transaction=True)
        if anew:
            pipeline.hgetall(names.agents)
            pipeline.hmget(names.head, list(HEAD_FIELDS))
        for task in tasks:
            key = _raw(names.task(task))
            pipeline.type(key)
            pipeline.pttl(key)
            pipeline.get(key)
            pipeline.zscore(names.open, _raw(task))
        for agent in agents:
            self._ask_for_orders(pipeline, agent)
        for name in keys:
            key = _raw(names.named(name))
            pipeline.type(key)
            pipeline.pttl(key)
            pipeline.xinfo_stream(key)
        replies: Iterator[Any] = iter(await pipeline.execute(raise_on_error=False))
        if anew:
            _add_head(facts, next(replies), next(replies))
        for task in tasks:
            _add_task(facts, task, [next(replies) for _ in range(4)])
        for agent in agents:
            facts.orders[agent] = _stream_facts([next(replies) for _ in range(6)])
        for name in keys:
            facts.keys[name] = _key_facts(name, [next(replies) for _ in range(3)])

    def _ask_for_orders(self, pipeline: Any, agent: str) -> None:
        key = _raw(self._names.orders(agent))
        pipeline.type(key)
        pipeline.xinfo_stream(key)
        pipeline.xinfo_groups(key)
        pipeline.xrange(key, count=ORDERS_MAX)
        pipeline.xpending_range(key, ORDERS_GROUP, "-", "+", ORDERS_MAX)
        pipeline.exists(_raw(self._names.beat(agent)))


HEAD_FIELDS: dict[str, Callable[[bytes], bool]] = {
    "inbox_at": is_position,
    "reports_at": is_position,
    "epoch": is_number,
    "seq": is_number,
    "admitted": is_number,
}
"""Fields of the head, and whether one can be read."""


def _add_head(facts: Facts, agents: Any, fields: Any) -> None:
    if isinstance(agents, dict):
        facts.agents = {_exact(name): _agent_facts(_exact(name), body) for name, body in agents.items()}
    if isinstance(fields, list):
        facts.inbox_at, facts.reports_at = (position(field) for field in fields[:2])
        facts.damaged_head = tuple(
            name
            for (name, is_whole), field in zip(HEAD_FIELDS.items(), fields, strict=True)
            if field is not None and not is_whole(field)
        )


def _add_task(facts: Facts, task: str, replies: Sequence[Any]) -> None:
    kind, ttl_ms, body, place = replies
    facts.tasks[task] = _task_facts(task, text(kind), ttl_ms, body)
    if isinstance(place, float):
        facts.open[task] = int(place)
    else:
        facts.open.pop(task, None)


def _task_facts(task: str, kind: str, ttl_ms: int, body: Any) -> TaskFacts:
    if not isinstance(body, bytes):
        return TaskFacts(kind, ttl_ms)
    try:
        record = decode_carried(body)
    except UNREADABLE:
        return TaskFacts(kind, ttl_ms)
    if id_of(record.spec) != task:
        return TaskFacts(kind, ttl_ms)
    last = record.attempts[-1] if record.attempts else None
    spec = decode_spec(record.spec)
    return TaskFacts(
        kind,
        ttl_ms,
        readable=True,
        foreign=isinstance(spec, str),
        state=record.state,
        seq=record.seq,
        token=last.token if last else "",
        agent=last.agent if last else "",
        waiting_for=record.waiting_for,
        key="" if isinstance(spec, str) else spec.key,
        submitted_at=record.submitted_at,
    )


def _agent_facts(name: str, body: bytes) -> AgentFacts:
    try:
        record = decode_agent(body)
    except UNREADABLE:
        return AgentFacts()
    return AgentFacts(record.name == name, record.incarnation, record.running, record.reserved)


def _stream_facts(replies: Sequence[Any]) -> StreamFacts:
    kind, info, groups, entries, pending, beat = replies
    if isinstance(info, RedisError) or isinstance(entries, RedisError):
        return StreamFacts(text(kind))
    group = next((one for one in groups if text(one["name"]) == ORDERS_GROUP), None)
    rows = pending if isinstance(pending, list) else []
    return StreamFacts(
        text(kind),
        last=text(info["last-generated-id"]),
        delivered=text(group["last-delivered-id"]) if group is not None else "0-0",
        orders={text(entry): _order_facts((fields or {}).get(BODY, b"")) for entry, fields in entries},
        pending={text(row["message_id"]): _holder(text(row["consumer"])) for row in rows},
        alive=bool(beat),
        whole=len(entries) < ORDERS_MAX and len(rows) < ORDERS_MAX,
    )


def _holder(consumer: str) -> str:
    return "" if consumer == SWEEPER else consumer


def _order_facts(body: bytes) -> OrderFacts:
    order = decode_order(body)
    if isinstance(order, str):
        return OrderFacts("")
    kind: Literal["assign", "stop", "ask"] = (
        "assign" if isinstance(order, Assign) else "stop" if isinstance(order, Stop) else "ask"
    )
    return OrderFacts(kind, order.task, order.token)


def _key_facts(name: str, replies: Sequence[Any]) -> KeyFacts:
    kind, ttl_ms, info = replies
    kept = kind_of(name)
    last = "0-0" if isinstance(info, RedisError) else text(info["last-generated-id"])
    if kept is None:
        return KeyFacts(text(kind), "", ttl_ms)
    passes, stays = kept.bound == "passes", kept.bound in ("empty at rest", "capped", "one")
    return KeyFacts(text(kind), kept.type, ttl_ms, passes=passes, stays=stays, last=last)


def _mentioned(facts: Facts) -> list[str]:
    """Tasks that something names, and that were not read yet."""
    bound = (value.rpartition("@")[0] for value in facts.bindings.values())
    running = (task for agent in facts.agents.values() for task in (*agent.running.values(), *agent.reserved))
    waited_for = [other for found in facts.tasks.values() for other in found.waiting_for]
    mentioned = dict.fromkeys((*bound, *running, *waited_for, *facts.dead, *facts.outputs))
    return [task for task in mentioned if task and task not in facts.tasks and len(task) < 200]


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _exact(value: bytes) -> str:
    """As text that `_raw` makes the same bytes of again, also where it is none."""
    return value.decode("utf-8", "surrogateescape")


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
