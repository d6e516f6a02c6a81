"""The same operations on the model and on a real server, with replies that can be compared.

Entry ids are made of the server's time, so they are replaced by the order in which they came up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from redis.exceptions import RedisError

from agentcom.broker import scripts
from agentcom.broker.keys import ORDERS_GROUP, Keys
from tests.simulation.redis_model import RedisModel

NAMES = Keys("same")
AGENTS = ("a", "b")
STREAMS = (NAMES.inbox, NAMES.reports, NAMES.journal, NAMES.dead, *(NAMES.orders(agent) for agent in AGENTS))
ORDERS = STREAMS[4:]
TASKS = tuple(NAMES.task(f"t{n}") for n in range(4))
CONSUMERS = ("sc-1", "sc-2", "sc-3", "scheduler")
OWNERS = ("one", "two")
FAR = 1_000_000_000
"""An idle time, in ms, that no entry has."""

UNTOLD = frozenset(
    {
        "time_since_delivered", "idle", "inactive", "radix-tree-keys", "radix-tree-nodes", "entries-added",
        "first-entry", "max-deleted-entry-id", "recorded-first-entry-id",
    }
)  # fmt: skip
"""What a reply says that nobody reads."""

_ID = re.compile(rb"^\d+-\d+$")

Operation = tuple[str, tuple[Any, ...], dict[str, Any]]


class Entry:
    """An argument: the id of the entry that came up as number `place` in this stream, whatever it is on this side."""

    def __init__(self, stream: str, place: int, before: str = "") -> None:
        self.stream = stream
        self.place = place
        self.before = before

    def __repr__(self) -> str:
        return f"{self.before}{self.stream}#{self.place}"


class Modelled:
    """The model as a client that answers at once."""

    def __init__(self, model: RedisModel) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        async def command(*args: Any, **named: Any) -> Any:
            return getattr(self.model, name)(*args, **named)

        return command


class Side:
    """One of the two: performs operations, and knows the ids that came up."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._known: dict[str, list[bytes]] = {stream: [] for stream in STREAMS}

    async def perform(self, operation: Operation) -> Any:
        """The reply, or what kind of error it was."""
        name, args, named = operation
        reply: Any
        try:
            if name.isupper():
                keys, arguments = args
                reply = await getattr(scripts, name)(self.client, list(keys), [self._here(one) for one in arguments])
            else:
                reply = await getattr(self.client, name)(*map(self._here, args), **named)
        except RedisError as error:
            reply = type(error).__name__
        await self._look()
        return self._anywhere(reply, next((arg for arg in _flat(args) if arg in STREAMS), ""))

    async def _look(self) -> None:
        """Take down which ids came up."""
        for stream, known in self._known.items():
            if await self._type(stream) == "stream":
                start = f"({known[-1].decode()}" if known else "-"
                known += [id_ for id_, _ in await self.client.xrange(stream, start, "+")]

    async def _type(self, key: str) -> str:
        if isinstance(self.client, Modelled):
            return self.client.model.type_of(key)
        kind: bytes = await self.client.type(key)
        return kind.decode()

    def _here(self, argument: Any) -> Any:
        if isinstance(argument, Entry):
            known = self._known[argument.stream]
            id_ = known[argument.place % len(known)].decode() if known else "5-0"
            return argument.before + id_
        if isinstance(argument, list):
            return [self._here(one) for one in argument]
        if isinstance(argument, dict):
            return {key: self._here(value) for key, value in argument.items()}
        return argument

    def _anywhere(self, reply: Any, stream: str) -> Any:
        if isinstance(reply, bytes):
            known = self._known.get(stream, [])
            return f"#{known.index(reply)}" if _ID.match(reply) and reply in known else reply
        if isinstance(reply, dict):
            told = ((_text(key), value) for key, value in reply.items())
            return {key: self._anywhere(value, stream) for key, value in told if key not in UNTOLD}
        if isinstance(reply, list | tuple):
            if len(reply) == 2 and isinstance(reply[0], bytes) and reply[0].decode("utf-8", "replace") in STREAMS:
                return [reply[0], self._anywhere(reply[1], reply[0].decode())]
            return [self._anywhere(one, stream) for one in reply]
        return reply

    async def everything(self) -> dict[str, Any]:
        """All that is stored, with what groups and lives have."""
        found: dict[str, Any] = {}
        model = isinstance(self.client, Modelled)
        keys = self.client.model.names() if model else [key.decode() for key in await self.client.keys("*")]
        for key in sorted(keys):
            found[key] = await self._content(key, await self._type(key))
            found[f"{key} ends"] = await self.client.pttl(key) >= 0
        return found

    async def _content(self, key: str, kind: str) -> Any:
        if kind == "string":
            return await self.client.get(key)
        if kind == "hash":
            content: dict[bytes, bytes] = await self.client.hgetall(key)
            return {name: self._anywhere(value, "") for name, value in content.items()}
        if kind == "zset":
            return await self.client.zrange(key, 0, -1)
        info = await self.client.xinfo_stream(key)
        told: list[Any] = [await self.client.xrange(key), info["last-generated-id"]]
        if info["groups"]:
            told.append(await self.client.xpending(key, ORDERS_GROUP))
            told.append(await self.client.xpending_range(key, ORDERS_GROUP, "-", "+", 100))
            consumers = await self.client.xinfo_consumers(key, ORDERS_GROUP)
            # When a consumer that has nothing pending is there, differs between versions of the server.
            told.append(sorted([one["name"], one["pending"]] for one in consumers if one["pending"]))
        return self._anywhere(told, key)


def _flat(args: Any) -> Sequence[str]:
    if isinstance(args, str):
        return [args]
    if isinstance(args, list | tuple | dict):
        return [text for one in args for text in _flat(one)]
    return []


def _text(key: Any) -> Any:
    return key.decode() if isinstance(key, bytes) else key


# ------------------------------------------------------------------ operations


def draw(random: Random) -> Operation:
    """Some operation that the stores make, as likely as not to meet what an earlier one left."""
    return random.choice(MAKERS)(random)


def _entry(random: Random, stream: str, before: str = "") -> Entry:
    return Entry(stream, random.randrange(8), before)


def _commit(random: Random) -> Operation:
    """A call of commit.lua that builds on the right epoch and number often enough."""
    keys = [NAMES.head, NAMES.leader]
    fresh = random.sample(TASKS, random.choice((0, 0, 0, 1)))
    keys += fresh
    arguments: list[Any] = [
        random.choice((1, 1, 1, 2)), random.randrange(3), f"id{random.randrange(6)}", random.choice(OWNERS), 60_000,
        len(fresh),
    ]  # fmt: skip
    for _ in range(random.randrange(6)):
        name, key, *rest = _command(random)
        if key not in keys:
            keys.append(key)
        arguments += [len(rest), name, keys.index(key) + 1, *rest]
    return "COMMIT", (keys, arguments), {}


def _command(random: Random) -> list[Any]:
    task, orders, agent = random.choice(TASKS), random.choice(ORDERS), random.choice(AGENTS)
    stream = random.choice((NAMES.inbox, NAMES.reports))
    return random.choice(
        (
            ["SET", task, "a record", "EX", 100],
            ["SET", task, "another record"],
            ["EXPIRE", task, 100],
            ["XADD", orders, "*", "m", "an order"],
            ["XADD", NAMES.journal, "MAXLEN", "~", 50, "*", "l", "lines"],
            ["ZADD", NAMES.open, random.randrange(9), task],
            ["ZREM", NAMES.open, task],
            ["HSET", NAMES.agents, agent, "a card"],
            ["HDEL", NAMES.agents, agent],
            ["DEL", orders],
            ["XACK", orders, ORDERS_GROUP, _entry(random, orders), _entry(random, orders)],
            ["XDEL", orders, _entry(random, orders)],
            ["XTRIM", stream, "MINID", _entry(random, stream)],
            ["HSET", NAMES.head, "inbox_at", "7-7"],
            ["HSET", random.choice((NAMES.agents, task)), "x", "y"],
        )
    )


def _on_orders(random: Random) -> Operation:
    key, consumer = random.choice(ORDERS), random.choice(CONSUMERS)
    idle, count = random.choice((0, 0, FAR)), random.choice((1, 2, 100))
    start = random.choice(("-", _entry(random, key, "(")))
    return random.choice(
        (
            ("xreadgroup", (ORDERS_GROUP, consumer, {key: ">"}), {"count": count}),
            ("xpending", (key, ORDERS_GROUP), {}),
            ("xpending_range", (key, ORDERS_GROUP, start, "+", count), {"idle": idle}),
            ("xpending_range", (key, ORDERS_GROUP, "-", "+", count), {"consumername": consumer}),
            ("xclaim", (key, ORDERS_GROUP, consumer, idle, [_entry(random, key), _entry(random, key)]), {}),
            ("xrange", (key, _entry(random, key), "+"), {"count": 1}),
            ("xinfo_stream", (key,), {}),
            ("xlen", (key,), {}),
        )
    )


def _script(random: Random) -> Operation:
    key, consumer, owner = random.choice(ORDERS), random.choice(CONSUMERS[:3]), random.choice(OWNERS)
    entries = [_entry(random, key) for _ in range(random.randrange(3))]
    calls: list[tuple[str, list[str], list[Any]]] = [
        ("LEAD", [NAMES.head, NAMES.leader], [owner, 60_000, 5, 10**9]),
        ("RENEW_LEAD", [NAMES.leader], [owner, random.choice(("0", "60000"))]),
        ("FINISH", [NAMES.reports, key], [ORDERS_GROUP, len(entries), *entries, "a report"]),
        ("REPORT", [NAMES.reports], [6, "a report", "another"]),
        ("SEND", [NAMES.inbox, NAMES.head], [5, random.choice(("", "reserve")), random.randrange(3), 10**9, "r", "s"]),
        ("RENEW", [key], [ORDERS_GROUP, consumer, *entries]),
        (
            "BEAT",
            [NAMES.beat("a")],
            [f'{{"incarnation":"{consumer}"}}', random.choice((20_000, 60_000)), consumer, 40_000],
        ),
        ("TAKE_OVER", [key], [ORDERS_GROUP, consumer, *(name for name in CONSUMERS[:3] if name < consumer)]),
        ("ENSURE_GROUP", [key], [ORDERS_GROUP]),
        ("ENSURE_GROUP", [key], [ORDERS_GROUP]),
    ]
    name, keys, arguments = random.choice(calls)
    return name, (keys, arguments), {}


def _plain(random: Random) -> Operation:
    stream, task = random.choice((NAMES.inbox, NAMES.reports, *ORDERS)), random.choice(TASKS)
    return random.choice(
        (
            ("xadd", (stream, {b"m": b"a message"}), {}),
            ("xread", ({NAMES.reports: "0-0", NAMES.inbox: _entry(random, NAMES.inbox)},), {"count": 3}),
            ("xrevrange", (NAMES.journal,), {"count": 2}),
            ("mget", (list(TASKS),), {}),
            ("get", (NAMES.leader,), {}),
            ("exists", (task,), {}),
            ("hgetall", (NAMES.head,), {}),
            ("hmget", (NAMES.head, ["epoch", "seq", "nothing"]), {}),
            ("zrange", (NAMES.open, 0, random.choice((-1, 1))), {}),
            ("zcard", (NAMES.open,), {}),
            ("expire", (task, 100), {}),
        )
    )


MAKERS = (_commit, _commit, _on_orders, _on_orders, _script, _script, _plain)
