"""A pool at work in this process, whose server counts what is asked of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

import agentcom
from agentcom.broker.connection import connected
from agentcom.broker.keys import Keys
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import Policy
from agentcom.sidecar.runners.python import Handler
from tests.patience import PATIENCE_S

_numbers = itertools.count()


class Counted:
    """What went through a pool's streams, and what its server was asked to do."""

    def __init__(self, redis: Any, pool: str) -> None:
        self._redis = redis
        self.names = Keys(pool)

    async def messages(self) -> Counter[str]:
        """Entries that were ever added to the streams between submitter, scheduler and agent."""
        names = self.names
        streams = {"inbox": names.inbox, "orders": names.orders("oak"), "reports": names.reports}
        found: Counter[str] = Counter()
        for what, key in streams.items():
            found[what] = (await self._redis.xinfo_stream(key))["entries-added"] if await self._redis.exists(key) else 0
        return found

    async def commands(self) -> Counter[str]:
        """How often each command was performed since `forget`, those within scripts included."""
        told = await self._redis.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): one["calls"] for name, one in told.items()})

    async def forget(self) -> None:
        """Count from here on, and note every command that takes longer than 10 ms."""
        await self._redis.config_set("slowlog-log-slower-than", 10_000)
        await self._redis.slowlog_reset()
        await self._redis.config_resetstat()

    async def slow(self) -> list[str]:
        """Commands that took the server longer than 10 ms."""
        return [entry["command"].decode(errors="replace")[:100] for entry in await self._redis.slowlog_get(20)]


@asynccontextmanager
async def at_work(
    url: str, handler: Handler, *, slots: int = 1, policy: Policy | None = None, window: int = 0
) -> AsyncIterator[tuple[agentcom.Client, Counted]]:
    """A pool of its own with a scheduler and the agent oak, both in this process."""
    pool = f"pf-{next(_numbers)}"
    settings = policy or Policy()
    oak = agentcom.Agent(
        "oak", skills={"python": 3}, slots=slots, context_tokens=window, url=url, pool=pool, policy=settings
    )
    oak.handler(handler)
    async with connected(url) as looking, connected(url) as connections, anyio.create_task_group() as group:
        group.start_soon(SchedulerService(connections, pool, settings).run)
        group.start_soon(oak.run)
        async with agentcom.Client(url, pool) as client:
            with anyio.fail_after(PATIENCE_S):
                while not await client.agents():
                    await anyio.sleep(0.05)
            yield client, Counted(looking.commands, pool)
        group.cancel_scope.cancel()
