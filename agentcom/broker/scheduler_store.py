"""What the scheduler does with Redis: lead, load, read, commit, sweep."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

from msgspec import Struct
from redis.exceptions import ResponseError

from agentcom.broker import scripts
from agentcom.broker.commit import CommitCall, CommitReply, Fence, encode_commit
from agentcom.broker.connection import Connections
from agentcom.broker.keys import BODY, ORDERS_GROUP, REQUEUED, SWEEPER, Keys, sign
from agentcom.broker.streams import (
    UNREADABLE,
    Entry,
    ensure_group,
    entries_of,
    is_number,
    number,
    position,
    readable,
    text,
)
from agentcom.model.agent import AgentRecord
from agentcom.model.codec import decode_agent, decode_beat, decode_carried, decode_costs, id_of
from agentcom.model.commit import LAST_ID, Commit
from agentcom.model.costs import Costs, is_field
from agentcom.model.messages import Beat
from agentcom.model.task import CarriedRecord
from agentcom.settings import Policy

LOAD_CHUNK = 2_000
BEAT_CHUNK = 1_000


class Head(Struct):
    """Where the pool stands: number of the last commit, how far inbox and reports were taken into account, its signs,
    when work went round since the last completion, and how many tasks were ever taken on."""

    seq: int = 0
    inbox_at: str = "0-0"
    reports_at: str = "0-0"
    signs: frozenset[str] = frozenset()
    requeued: tuple[int, ...] = ()
    admitted: int = 0

    def passed(self) -> None:
        """It was committed: a stream that was read up to the last possible id began anew with that."""
        self.inbox_at = "0-0" if self.inbox_at == LAST_ID else self.inbox_at
        self.reports_at = "0-0" if self.reports_at == LAST_ID else self.reports_at


class SchedulerStore:
    """The scheduler's side of the store. `random_hex` makes the ids of commits."""

    def __init__(
        self,
        connections: Connections,
        pool: str,
        policy: Policy,
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._random_hex = random_hex
        self._redis = connections.commands
        self._blocking = connections.blocking
        self._names = Keys(pool)
        self._policy = policy

    # -------------------------------------------------------------- leading

    async def lead(self, owner: str) -> Fence | None:
        """Become the leader if nobody is."""
        keys = [self._names.head, self._names.leader]
        policy = self._policy
        bounds = [policy.max_inbox, policy.max_open_bytes]
        epoch = await scripts.LEAD(self._redis, keys, [owner, self._lease_ms, *bounds])
        return None if epoch is None else Fence(owner, int(epoch), 0)

    async def vacant_in_s(self) -> float:
        """When the lease of whoever leads ends, unless it is renewed."""
        return max(0, await self._redis.pttl(self._names.leader)) / 1000

    async def renew_lead(self, owner: str) -> bool:
        """Stay the leader for another term; false if another is."""
        return bool(await scripts.RENEW_LEAD(self._redis, [self._names.leader], [owner, self._lease_ms]))

    async def resign(self, owner: str) -> None:
        """Stop leading at once, so that another need not wait for the lease to end."""
        await scripts.RENEW_LEAD(self._redis, [self._names.leader], [owner, "0"])

    async def leader(self) -> str:
        """Who leads; empty if nobody does."""
        return text(await self._redis.get(self._names.leader) or b"")

    @property
    def _lease_ms(self) -> int:
        return int(self._policy.lease_s * 1000)

    # -------------------------------------------------------------- loading

    async def head(self) -> Head:
        """Where the pool stands. A stream that was made anew since then is read from its beginning, and so is one of
        which it cannot be read how far it was read: what was taken into account is not in it any more."""
        fields: Any = await self._redis.hgetall(self._names.head)
        named = (text(field) for field in fields)
        head = Head(
            seq=number(fields.get(b"seq")),
            inbox_at=position(fields.get(b"inbox_at")),
            reports_at=position(fields.get(b"reports_at")),
            signs=frozenset(name.removeprefix(sign("")) for name in named if name.startswith(sign(""))),
            requeued=tuple(int(at) for at in fields.get(REQUEUED.encode(), b"").split() if is_number(at)),
            admitted=number(fields.get(b"admitted")),
        )
        head.inbox_at = await self._position(self._names.inbox, head.inbox_at)
        head.reports_at = await self._position(self._names.reports, head.reports_at)
        return head

    async def goes_on(self, head: Head) -> bool:
        """Whether both streams go on from where they were read. What was read of a stream whose ids are used up becomes
        all that can be read of it."""
        inbox_at = await self._position(self._names.inbox, head.inbox_at)
        reports_at = await self._position(self._names.reports, head.reports_at)
        if inbox_at not in (head.inbox_at, LAST_ID) or reports_at not in (head.reports_at, LAST_ID):
            return False
        head.inbox_at, head.reports_at = inbox_at, reports_at
        return True

    async def _position(self, stream: str, position: str) -> str:
        """Where to read on in a stream of which so much was read: at its beginning if it was made anew since; at the
        last possible id, with which the next commit makes it anew, if all was read and nothing can be added."""
        try:
            info: Any = await self._redis.xinfo_stream(stream)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            return "0-0"
        last = text(info["last-generated-id"])
        if last != LAST_ID:
            return "0-0" if _stream_id(last) < _stream_id(position) else position
        if not info["length"]:
            return LAST_ID
        if position == LAST_ID:
            return "0-0"
        return LAST_ID if _stream_id(text(info["last-entry"][0])) <= _stream_id(position) else position

    async def agents(self) -> list[AgentRecord]:
        """All agent records that can be read; one that cannot be is left out, as its next hello replaces it."""
        found: list[AgentRecord] = []
        for body in (await self._redis.hgetall(self._names.agents)).values():
            try:
                found.append(decode_agent(body))
            except UNREADABLE:
                continue
        return found

    async def keys(self) -> dict[str, str]:
        """The idempotency keys, but for any whose value is not "task id@Unix time in ms"."""
        found: Any = await self._redis.hgetall(self._names.keys)
        return {text(key): text(value) for key, value in found.items() if is_number(value.rpartition(b"@")[2])}

    async def costs(self) -> dict[str, Costs]:
        """What work cost, by field, but for what cannot be read."""
        found: dict[str, Costs] = {}
        for field, body in (await self._redis.hgetall(self._names.costs)).items():
            if is_field(text(field)):
                for costs in readable(decode_costs, [body]):
                    found[text(field)] = costs
        return found

    async def open_records(self) -> AsyncIterator[tuple[dict[str, CarriedRecord], list[str]]]:
        """Open tasks in the order of admission, chunk by chunk, each with ids of records that cannot be read."""
        start = 0
        while True:
            ids: Any = await self._redis.zrange(self._names.open, start, start + LOAD_CHUNK - 1)
            if not ids:
                return
            start += len(ids)
            tasks = [text(id_) for id_ in ids]
            found, _ = await self.records(tasks)
            yield found, [task for task in tasks if task not in found]

    async def records(self, ids: Sequence[str]) -> tuple[dict[str, CarriedRecord], list[str]]:
        """Records by id, as far as Redis has them, and ids of those that cannot be read."""
        bodies = await self._redis.mget([self._names.task(id_) for id_ in ids]) if ids else []
        found: dict[str, CarriedRecord] = {}
        unreadable: list[str] = []
        for id_, body in zip(ids, bodies, strict=True):
            if body is None:
                continue
            try:
                record = decode_carried(body)
            except UNREADABLE:
                unreadable.append(id_)
                continue
            if id_of(record.spec) == id_:
                found[id_] = record
            else:
                unreadable.append(id_)  # somebody put another task's record there
        return found, unreadable

    async def are_there(self, ids: Sequence[str]) -> list[str]:
        """Of these tasks, those whose key exists, whatever it holds."""
        pipeline = self._redis.pipeline(transaction=False)
        for id_ in ids:
            pipeline.exists(self._names.task(id_))
        replies: Any = await pipeline.execute()
        return [id_ for id_, exists in zip(ids, replies, strict=True) if exists]

    # -------------------------------------------------------------- reading

    async def read(self, head: Head, count: int, block_ms: int, *, inbox: bool) -> dict[str, list[Entry]]:
        """New entries of reports and, if wanted, of the inbox; waits for one for at most `block_ms`.

        There is no consumer group: only the leader reads, and how far it came is part of its commits. So nothing can
        be delivered to a reader that died, and reading twice is harmless.
        """
        streams: dict[Any, Any] = {self._names.reports: head.reports_at}
        if inbox:
            streams[self._names.inbox] = head.inbox_at
        reply = await self._blocking.xread(streams, count=count, block=block_ms or None)
        return entries_of(reply)

    @property
    def inbox(self) -> str:
        """The inbox's key."""
        return self._names.inbox

    @property
    def reports(self) -> str:
        """The key of the reports."""
        return self._names.reports

    async def beats(self, agents: Sequence[str]) -> list[Beat]:
        """The last beats of these agents, of those that have one. One that says to be another agent's is not one."""
        found: list[Beat] = []
        for first in range(0, len(agents), BEAT_CHUNK):
            part = agents[first : first + BEAT_CHUNK]
            bodies: Any = await self._redis.mget([self._names.beat(agent) for agent in part])
            for agent, body in zip(part, bodies, strict=True):
                beat = decode_beat(body) if body is not None else None
                if isinstance(beat, Beat) and beat.agent == agent:
                    found.append(beat)
        return found

    # ----------------------------------------------------------- committing

    def encode(self, commit: Commit, fence: Fence) -> CommitCall:
        """Make the call of a commit, with an id of its own by which a second sending is recognised."""
        return encode_commit(commit, fence, self._random_hex(8), self._names, self._policy)

    async def commit(self, call: CommitCall) -> CommitReply:
        """Perform a commit, whole or not at all. Sending the same call again is harmless."""
        reply: CommitReply = text(await scripts.COMMIT(self._redis, call.keys, call.arguments))  # type: ignore[assignment]
        return reply

    # ------------------------------------------------------------- sweeping

    async def take_undelivered(self, agent: str, count: int) -> list[Entry]:
        """Orders that a silent agent never read, now pending with the sweeper."""
        stream = self._names.orders(agent)
        await ensure_group(self._redis, stream)
        reply = await self._redis.xreadgroup(ORDERS_GROUP, SWEEPER, {stream: ">"}, count=count)
        return entries_of(reply).get(stream, [])

    async def claim_stuck(self, agent: str, idle_ms: int, cursor: str, count: int) -> tuple[list[Entry], str]:
        """Orders pending for longer than `idle_ms`, claimed by the sweeper, and the cursor to go on from.

        XCLAIM drops an order from the pending list that was deleted from the stream; such a one is not returned.
        """
        stream = self._names.orders(agent)
        rows: Any = await self._redis.xpending_range(stream, ORDERS_GROUP, cursor, "+", count, idle=idle_ms)
        ids = [text(row["message_id"]) for row in rows]
        following = f"({ids[-1]}" if len(ids) == count else "-"
        return await self._claim(stream, ids, idle_ms), following

    async def already_claimed(self, agents: Sequence[str], count: int) -> dict[str, list[Entry]]:
        """Orders that the sweeper holds already, at most `count` of each agent.

        It holds some only if its leader ended between claiming and committing.
        """
        found: dict[str, list[Entry]] = {}
        for first in range(0, len(agents), BEAT_CHUNK):
            part = agents[first : first + BEAT_CHUNK]
            pipeline = self._redis.pipeline(transaction=False)
            for agent in part:
                stream = self._names.orders(agent)
                pipeline.xpending_range(stream, ORDERS_GROUP, "-", "+", count, consumername=SWEEPER)
            replies: Any = await pipeline.execute(raise_on_error=False)
            for agent, rows in zip(part, replies, strict=True):
                if isinstance(rows, list) and rows:
                    ids = [text(row["message_id"]) for row in rows]
                    found[agent] = await self._claim(self._names.orders(agent), ids, 0)
        return found

    async def _claim(self, stream: str, ids: list[str], idle_ms: int) -> list[Entry]:
        if not ids:
            return []
        reply: Any = await self._redis.xclaim(stream, ORDERS_GROUP, SWEEPER, idle_ms, cast(Any, ids))
        return [Entry(text(id_), (fields or {}).get(BODY, b"")) for id_, fields in reply if id_ is not None]

    async def holds_orders(self, agent: str) -> bool:
        """Whether any order of this agent is pending, with whomever."""
        summary: Any = await self._redis.xpending(self._names.orders(agent), ORDERS_GROUP)
        return bool(summary["pending"])


def _stream_id(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
