"""Mistake 6: a store that melts under load. A hundred tasks in rapid succession, timed and counted on a real server."""

from __future__ import annotations

import statistics
import time
from collections import Counter

import anyio
import pytest

import agentcom
from agentcom.broker.embedded import EmbeddedServer
from tests.patience import PATIENCE_S
from tests.pitfalls.harness import Counted, at_work

pytestmark = [pytest.mark.process, pytest.mark.anyio, pytest.mark.pitfall_6]

TASKS = 100
OPERATIONS = 3
"""A task is created, assigned and completed."""

OPERATION_MS = 100
SCANS = {
    "keys", "scan", "sscan", "hscan", "zscan", "hgetall", "hkeys", "hvals", "smembers", "sort", "zrange", "zrevrange",
    "zrangebyscore", "lrange", "xinfo",
}  # fmt: skip
"""Commands that look at all of something. None may be among those that a task takes."""

RHYTHM = 20
"""Commands that are performed in so short a time whether there is work or not, of each kind at most."""


async def nothing(_task: agentcom.Task) -> None:
    return None


async def through(client: agentcom.Client, count: int) -> list[agentcom.ReadRecord]:
    """Take so many tasks through the pool, submitted one by one and without waiting for each other; their records."""
    handles = [await client.submit("do nothing") for _ in range(count)]
    with anyio.fail_after(PATIENCE_S):
        for handle in handles:
            assert (await handle.wait()).result == "completed"
    records = await client.store.records([handle.id for handle in handles])
    return list(records.values())


async def asked_for(client: agentcom.Client, counted: Counted) -> Counter[str]:
    """What the server was asked to do while a hundred tasks went through."""
    await counted.forget()
    await through(client, TASKS)
    return await counted.commands()


async def test_creating_assigning_and_completing_a_task_takes_less_than_100_ms_each(server: EmbeddedServer) -> None:
    async with at_work(server.url, nothing, slots=TASKS) as (client, _):
        await through(client, 5)
        started = time.perf_counter()
        records = await through(client, TASKS)
        passed_ms = (time.perf_counter() - started) * 1_000
    assert len(records) == TASKS
    assert passed_ms / (TASKS * OPERATIONS) < OPERATION_MS
    waited_ms = [record.attempts[0].assigned_at - record.submitted_at for record in records]
    worked_ms = [record.ended_at - record.attempts[0].assigned_at for record in records]
    assert statistics.median(waited_ms) < OPERATION_MS
    assert statistics.median(worked_ms) < OPERATION_MS


async def test_no_task_makes_the_server_look_at_all_of_anything(server: EmbeddedServer) -> None:
    async with at_work(server.url, nothing, slots=TASKS) as (client, counted):
        await through(client, 5)
        asked = await asked_for(client, counted)
        slow = await counted.slow()
    scans = {name: calls for name, calls in asked.items() if name.split("|")[0] in SCANS and calls > RHYTHM}
    assert scans == {}
    assert not {"keys", "sort", "hkeys", "hvals", "smembers"} & asked.keys()
    assert asked["set"] + asked["setex"] >= TASKS, "it was counted at all"
    assert slow == []


async def test_a_task_costs_as_many_commands_among_a_thousand_that_ended_as_among_none(server: EmbeddedServer) -> None:
    async with at_work(server.url, nothing, slots=TASKS) as (client, counted):
        await through(client, 5)
        first = await asked_for(client, counted)
        for handle in await client.submit_many([{"text": "do nothing"}] * 1_000):
            await handle.wait(PATIENCE_S)
        later = await asked_for(client, counted)
    assert later.total() < first.total() * 1.5, (first.total(), later.total())
