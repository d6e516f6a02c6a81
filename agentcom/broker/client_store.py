"""What submitters and onlookers do with Redis: they write requests to the inbox, and read everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from msgspec import Struct

from agentcom.broker import scripts
from agentcom.broker.connection import Connections
from agentcom.broker.keys import BODY, LINES, Keys, sign
from agentcom.broker.streams import number, readable, text
from agentcom.errors import Refused
from agentcom.model.agent import AgentRecord
from agentcom.model.codec import (
    MAX_REQUEST_BYTES,
    decode_agent,
    decode_beat,
    decode_costs,
    decode_dead,
    decode_lines,
    decode_record,
    decode_refusals,
    encode,
)
from agentcom.model.costs import TOTAL, Costs, day_and_agent, is_field
from agentcom.model.messages import AnyRequest, Beat, DeadLetter, Line, Refusal, Submit
from agentcom.model.task import ReadRecord
from agentcom.settings import Policy

SCAN_COUNT = 1_000


class Printed(Struct, frozen=True):
    """A piece of a task's output as kept: entry id, attempt, Unix time in ms, and the text's bytes."""

    entry: str
    attempt: int
    at: int
    body: bytes


class PoolHead(Struct, frozen=True):
    """The pool at a glance: who leads, how much waits to be read, how many tasks are open and were ever taken on, which
    signs it shows."""

    leader: str
    epoch: int
    seq: int
    inbox: int
    reports: int
    open: int
    dead: int
    signs: dict[str, str]
    admitted: int = 0


HEAD_REPLIES = 6


def ask_for_head(pipeline: Any, names: Keys) -> None:
    """Queue the `HEAD_REPLIES` commands whose replies `head_of` reads."""
    pipeline.get(names.leader)
    pipeline.hgetall(names.head)
    pipeline.xlen(names.inbox)
    pipeline.xlen(names.reports)
    pipeline.zcard(names.open)
    pipeline.xlen(names.dead)


def head_of(replies: Sequence[Any]) -> PoolHead:
    """The pool at a glance, of the replies to `ask_for_head`."""
    leader, fields, inbox, reports, open_, dead = replies
    told = {text(field): text(value) for field, value in fields.items()}
    mark = sign("")
    signs = {field.removeprefix(mark): value for field, value in told.items() if field.startswith(mark)}
    # Whoever looks on is shown what can be read; what cannot is for `agentcom fsck`.
    epoch, seq, admitted = (number(fields.get(field)) for field in (b"epoch", b"seq", b"admitted"))
    return PoolHead(text(leader or b""), epoch, seq, inbox, reports, open_, dead, signs, admitted)


class ClientStore:
    """Requests in, everything else out."""

    def __init__(self, connections: Connections, pool: str) -> None:
        self._redis = connections.commands
        self._blocking = connections.blocking
        self._names = Keys(pool)

    async def request(self, requests: Sequence[AnyRequest], *, more: int = 0, begun: bool = False) -> list[str]:
        """Put requests into the inbox, all or none; their entry ids. Once this returns, they are as durable as the
        server is.

        Args:
            requests: what to send.
            more: how many others will follow that belong to these, and for which there has to be room, too.
            begun: others that belong to these were taken already.

        Raises:
            Refused: too many requests wait unread, or too large ones, or one of these is. Room is kept for what is no
                submission.
        """
        reserve = begun or not any(isinstance(request, Submit) for request in requests)
        bodies = [encode(request) for request in requests]
        largest = max(map(len, bodies), default=0)
        if largest > MAX_REQUEST_BYTES:
            raise Refused(f"a request of {largest:,} bytes, over {MAX_REQUEST_BYTES:,}", "Send less text at once")
        default = Policy()
        options = [default.max_inbox, "reserve" if reserve else "", more, default.max_open_bytes]
        reply: Any = await scripts.SEND(self._redis, [self._names.inbox, self._names.head], [*options, *bodies])
        if reply and isinstance(reply[0], int):
            raise _inbox_full(reply, len(requests) + more)
        return [text(entry) for entry in reply]

    async def refusals(self, entry: str) -> list[Refusal] | None:
        """What of a request was refused; None if nothing was, or nobody has read it yet."""
        body = await self._redis.get(self._names.refused(entry))
        return None if body is None else decode_refusals(body)

    async def taken_into_account(self, entry: str) -> bool:
        """Whether the scheduler has read this inbox entry."""
        found: Any = await self._redis.xrange(self._names.inbox, entry, entry, count=1)
        return not found

    async def records(self, ids: Sequence[str]) -> dict[str, ReadRecord]:
        """Task records by id, as far as there are any."""
        found: dict[str, ReadRecord] = {}
        for first in range(0, len(ids), SCAN_COUNT):
            part = ids[first : first + SCAN_COUNT]
            bodies = await self._redis.mget([self._names.task(id_) for id_ in part])
            for id_, body in zip(part, bodies, strict=True):
                for record in readable(decode_record, [body] if body is not None else []):
                    found[id_] = record
        return found

    async def open_ids(self, limit: int) -> list[str]:
        """Ids of open tasks in the order of admission, at most `limit`."""
        ids: Any = await self._redis.zrange(self._names.open, 0, limit - 1)
        return [text(id_) for id_ in ids]

    async def all_ids(self) -> AsyncIterator[str]:
        """Ids of all tasks that have a record, in no order; for people who look, never for deciding."""
        prefix = self._names.task("")
        async for key in self._redis.scan_iter(match=self._names.tasks_pattern, count=SCAN_COUNT):
            yield text(key)[len(prefix) :]

    async def tasks_of_keys(self, keys: Sequence[str]) -> dict[str, str]:
        """Ids of the tasks that have these idempotency keys, as far as there are any."""
        found: dict[str, str] = {}
        for first in range(0, len(keys), SCAN_COUNT):
            part = list(keys[first : first + SCAN_COUNT])
            values: Any = await self._redis.hmget(self._names.keys, part)
            found |= {key: text(value).partition("@")[0] for key, value in zip(part, values, strict=True) if value}
        return found

    async def costs(self, since: str) -> dict[str, Costs]:
        """What work cost since this day, such as 2026-11-27, by field, but for what cannot be read."""
        fields = [text(field) for field in await self._redis.hkeys(self._names.costs)]
        wanted = [field for field in fields if is_field(field) and since <= day_and_agent(field)[0] != TOTAL]
        found: dict[str, Costs] = {}
        for first in range(0, len(wanted), SCAN_COUNT):
            part = wanted[first : first + SCAN_COUNT]
            values: Any = await self._redis.hmget(self._names.costs, part)
            for field, body in zip(part, values, strict=True):
                for costs in readable(decode_costs, [body] if body is not None else []):
                    found[field] = costs
        return found

    async def agents(self) -> list[AgentRecord]:
        """All agent records that can be read, by name."""
        bodies = (await self._redis.hgetall(self._names.agents)).values()
        return sorted(readable(decode_agent, bodies), key=lambda agent: agent.name)

    async def beats(self, agents: Sequence[str]) -> dict[str, Beat]:
        """The last beats of these agents."""
        bodies: Any = await self._redis.mget([self._names.beat(agent) for agent in agents]) if agents else []
        decoded = (decode_beat(body) for body in bodies if body is not None)
        return {beat.agent: beat for beat in decoded if isinstance(beat, Beat)}

    async def head(self) -> PoolHead:
        """The pool at a glance."""
        pipeline = self._redis.pipeline(transaction=False)
        ask_for_head(pipeline, self._names)
        return head_of(await pipeline.execute())

    async def dead(self, limit: int) -> list[DeadLetter]:
        """Dead letters, the newest first."""
        entries: Any = await self._redis.xrevrange(self._names.dead, count=limit)
        return readable(decode_dead, (fields.get(BODY, b"") for _, fields in entries))

    async def journal_end(self) -> str:
        """Where the journal ends now; reading from there gives what comes later."""
        entries: Any = await self._redis.xrevrange(self._names.journal, count=1)
        return text(entries[0][0]) if entries else "0-0"

    async def journal_tail(self, entries: int) -> list[tuple[str, list[Line]]]:
        """The last so many entries of the journal, oldest first, with their ids."""
        found: Any = await self._redis.xrevrange(self._names.journal, count=entries)
        return [(text(id_), _lines(fields)) for id_, fields in reversed(found)]

    async def journal(self, since: str, block_ms: int, count: int = 500) -> list[tuple[str, list[Line]]]:
        """Journal entries after `since`; waits for one for at most `block_ms`, not at all if that is 0."""
        reply: Any = await self._blocking.xread({self._names.journal: since}, count=count, block=block_ms or None)
        return [(text(id_), _lines(fields)) for _, entries in reply or () for id_, fields in entries]

    async def output(self, task: str, since: str, block_ms: int) -> list[Printed]:
        """What a task printed after the entry `since`; waits for at most `block_ms`, not at all if that is 0."""
        reply: Any = await self._blocking.xread({self._names.output(task): since}, count=500, block=block_ms or None)
        return [
            Printed(text(id_), number(fields.get(b"a")), number(fields.get(b"at")), fields.get(b"t", b""))
            for _, entries in reply or ()
            for id_, fields in entries
        ]


def _inbox_full(reply: Sequence[int], wanted: int) -> Refused:
    what = "this request does" if wanted == 1 else f"these {wanted:,} requests do"
    of_what = "requests" if len(reply) == 2 else "bytes of requests"
    waiting, most = reply[-2:]
    return Refused(
        f"the inbox is full: {waiting:,} {of_what} wait there unread, of at most {most:,}, so {what} not fit",
        "See with `agentcom monitor` whether a scheduler runs and takes work on, then send again",
    )


def _lines(fields: dict[bytes, bytes]) -> list[Line]:
    return next(iter(readable(decode_lines, [fields.get(LINES, b"[]")])), [])
