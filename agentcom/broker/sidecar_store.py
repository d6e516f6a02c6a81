"""What a sidecar does with Redis: it reads, renews and settles its own orders, and writes reports, beat, output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from agentcom.broker import scripts
from agentcom.broker.connection import Connections
from agentcom.broker.keys import BODY, ORDERS_GROUP, Keys
from agentcom.broker.streams import Entry, ensure_group, entries_of, text
from agentcom.model.codec import encode
from agentcom.model.messages import Beat, beat_kept_ms
from agentcom.settings import Policy

PENDING_PAGE = 1_000


class Output(Struct, frozen=True):
    """A piece of what an agent printed, of one attempt."""

    task: str
    attempt: int
    at: int
    body: bytes


class SidecarStore:
    """One agent's side of the store. `incarnation` is the consumer: a restarted sidecar is another one."""

    def __init__(self, connections: Connections, pool: str, agent: str, incarnation: str, policy: Policy) -> None:
        self._redis = connections.commands
        self._blocking = connections.blocking
        self._names = Keys(pool)
        self._orders = self._names.orders(agent)
        self._beat = self._names.beat(agent)
        self._incarnation = incarnation
        self._policy = policy

    async def open(self) -> None:
        """Make sure that there is something to read from."""
        await ensure_group(self._redis, self._orders)

    async def read(self, count: int, block_ms: int) -> list[Entry]:
        """New orders; waits for one for at most `block_ms`. What is returned is pending with this incarnation."""
        reply = await self._blocking.xreadgroup(
            ORDERS_GROUP, self._incarnation, {self._orders: ">"}, count=count, block=block_ms or None
        )
        return entries_of(reply).get(self._orders, [])

    async def take_over(self) -> list[Entry]:
        """Claim what older incarnations of this agent hold, and return all that is pending with this one.

        What the scheduler has claimed is left to it: it has already decided, or is about to.
        """
        older = await self._older_incarnations()
        if older:
            await scripts.TAKE_OVER(self._redis, [self._orders], [ORDERS_GROUP, self._incarnation, *older])
        return await self.entries(await self.pending())

    async def pending(self) -> list[str]:
        """Ids of all orders pending with this incarnation: also those whose delivery's reply was lost on the way."""
        ids: list[str] = []
        start = "-"
        while True:
            rows: Any = await self._redis.xpending_range(
                self._orders, ORDERS_GROUP, start, "+", PENDING_PAGE, consumername=self._incarnation
            )
            ids += (text(row["message_id"]) for row in rows)
            if len(rows) < PENDING_PAGE:
                return ids
            start = f"({ids[-1]}"

    async def entries(self, ids: Sequence[str]) -> list[Entry]:
        """These orders; one that was deleted from the stream has an empty body."""
        pipeline = self._redis.pipeline(transaction=False)
        for id_ in ids:
            pipeline.xrange(self._orders, id_, id_, count=1)
        replies: Any = await pipeline.execute()
        return [Entry(id_, rows[0][1].get(BODY, b"") if rows else b"") for id_, rows in zip(ids, replies, strict=True)]

    async def _older_incarnations(self) -> list[str]:
        consumers: Any = await self._redis.xinfo_consumers(self._orders, ORDERS_GROUP)
        names = (text(consumer["name"]) for consumer in consumers)
        return sorted(name for name in names if name.startswith("sc-") and name < self._incarnation)

    async def renew(self, entries: Sequence[str]) -> list[str]:
        """Renew the leases of these orders. Returns those that this incarnation does not own any more."""
        if not entries:
            return []
        lost: Any = await scripts.RENEW(self._redis, [self._orders], [ORDERS_GROUP, self._incarnation, *entries])
        return [text(entry) for entry in lost]

    async def finish(self, settled: Sequence[str], reports: Sequence[bytes]) -> None:
        """Send reports and settle the orders that they are about, in one step.

        Raises:
            ResponseError: they settle none, and as many reports wait unread as may.
        """
        if not settled:
            await scripts.REPORT(self._redis, [self._names.reports], [self._policy.max_inbox, *reports])
            return
        arguments = [ORDERS_GROUP, len(settled), *settled, *reports]
        await scripts.FINISH(self._redis, [self._names.reports, self._orders], arguments)

    async def beat(self, beat: Beat, interval_s: float) -> str:
        """Say that this sidecar lives, and what it does; a newer one of its name that said so not long ago, if there is
        one: then nothing was written."""
        return await self._write_beat(beat, interval_s, self._ttl_ms(interval_s))

    async def leave(self, beat: Beat, interval_s: float) -> None:
        """Let the beat end with this sidecar, so that one that is started elsewhere does not take it for alive."""
        await self._write_beat(beat, interval_s, 1)

    async def _write_beat(self, beat: Beat, interval_s: float, ttl_ms: int) -> str:
        fresh_ms = int(interval_s * 1000 * self._policy.stale_beats)
        arguments = [encode(beat), ttl_ms, self._incarnation, self._ttl_ms(interval_s) - fresh_ms]
        reply: Any = await scripts.BEAT(self._redis, [self._beat], arguments)
        said = text(reply) if isinstance(reply, bytes | str) else ""
        return "" if said == "OK" else said

    def _ttl_ms(self, interval_s: float) -> int:
        return beat_kept_ms(int(interval_s * 1000), self._policy.stale_beats)

    async def output(self, pieces: Sequence[Output]) -> None:
        """Add to the kept tails of tasks' outputs. Added and given its end of life in one step: none stays for ever."""
        pipeline = self._redis.pipeline(transaction=True)
        for piece in pieces:
            key = self._names.output(piece.task)
            fields: Any = {"a": piece.attempt, "at": piece.at, "t": piece.body}
            pipeline.xadd(key, fields, maxlen=self._policy.output_entries, approximate=True)
        for task in {piece.task for piece in pieces}:
            pipeline.expire(self._names.output(task), int(self._policy.retention_s))
        await pipeline.execute()
