"""Every key has an owner and a bound: a key that is in no table, or lacks what the table says, fails."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentcom.model.agent import Card
from agentcom.model.messages import Cancel
from agentcom.model.task import TaskSpec
from agentcom.sidecar.runners.python import PythonRunner, Task
from agentcom.sidecar.service import SidecarService
from tests.scheduler.harness import Pool, at_work, eventually, leading, make_id

pytestmark = [pytest.mark.process, pytest.mark.pitfall_6]

Check = Callable[[Pool, str], Awaitable[bool]]


async def _expires(pool: Pool, key: str) -> bool:
    return bool(0 < await pool.redis.pttl(key) <= max(pool.policy.retention_s, 3_600) * 1000)


async def _is_open_or_expires(pool: Pool, key: str) -> bool:
    task = key.rpartition(":")[2]
    return await pool.redis.zscore(pool.names.open, task) is not None or await _expires(pool, key)


async def _holds_only_what_is_not_done(pool: Pool, key: str) -> bool:
    """Once a pool is at rest there is nothing in it."""
    return bool(await pool.redis.xlen(key) == 0)


async def _of_a_known_agent(pool: Pool, key: str) -> bool:
    known = await pool.redis.hexists(pool.names.agents, key.rpartition(":")[2])
    return bool(known) and await _holds_only_what_is_not_done(pool, key)


def _at_most(length: str, bound: str) -> Check:
    async def check(pool: Pool, key: str) -> bool:
        most = getattr(pool.policy, bound) * 1.5 + 100  # whole nodes of a stream are trimmed
        return bool(await getattr(pool.redis, length)(key) <= most)

    return check


async def _is_one_of_its_kind(pool: Pool, key: str) -> bool:
    return bool(await pool.redis.hlen(key) <= 10)


BOUNDS: dict[str, tuple[str, Check]] = {
    "inbox": ("stream", _holds_only_what_is_not_done),
    "reports": ("stream", _holds_only_what_is_not_done),
    r"orders:[\w.-]+": ("stream", _of_a_known_agent),
    "journal": ("stream", _at_most("xlen", "journal_entries")),
    "dead": ("stream", _at_most("xlen", "dead_entries")),
    "keys": ("hash", _at_most("hlen", "max_keys")),
    "open": ("zset", _at_most("zcard", "max_open_tasks")),
    "agents": ("hash", _at_most("hlen", "max_open_tasks")),
    "head": ("hash", _is_one_of_its_kind),
    "leader": ("string", _expires),
    r"beat:[\w.-]+": ("string", _expires),
    r"task:[\w-]+": ("string", _is_open_or_expires),
    r"output:[\w-]+": ("stream", _expires),
    r"refused:\d+-\d+": ("string", _expires),
}


async def unbounded(pool: Pool) -> list[str]:
    """Keys of the pool that have no owner or no bound."""
    found: list[str] = []
    prefix = pool.names.inbox.removesuffix("inbox")
    async for raw in pool.redis.scan_iter(match=pool.names.every):
        key = raw.decode()
        rule = next((rule for name, rule in BOUNDS.items() if re.fullmatch(name, key.removeprefix(prefix))), None)
        kind = (await pool.redis.type(key)).decode()
        if kind != "none" and (rule is None or rule[0] != kind or not await rule[1](pool, key)):
            found.append(key.removeprefix(prefix))
    return sorted(found)


async def work(task: Task) -> str:
    task.log("working")
    if "fail" in task.text:
        raise ValueError("as told")
    return "done"


def sidecar_of(pool: Pool, folder: Path) -> SidecarService:
    card = Card(slots=5, beat_s=pool.policy.beat_s)
    return SidecarService(pool.connections, pool.name, "oak", card, PythonRunner(work), folder, pool.policy)


async def live_a_life(pool: Pool) -> None:
    """Something of everything: completed, failed until dead, canceled, refused, garbage, dependants, keys."""
    good = [TaskSpec(id=make_id(), text="do it", key=f"k{n}") for n in range(5)]
    bad = TaskSpec(id=make_id(), text="fail", max_attempts=2)
    later = TaskSpec(id=make_id(), text="afterwards", after=(good[0].id,))
    nobody = TaskSpec(id=make_id(), text="for nobody", agent="nobody")
    refused = TaskSpec(id=make_id(), text="x", after=(make_id(),))
    await pool.request([*good, bad, later, nobody, refused])
    for stream in (pool.names.inbox, pool.names.reports):
        await pool.redis.xadd(stream, {"m": "garbage"})
    await eventually(lambda: pool.all_completed([spec.id for spec in (*good, later)]))
    await eventually(lambda: pool.redis.xlen(pool.names.dead))
    await pool.client.request([Cancel(task=nobody.id)])
    await eventually(lambda: _at_rest(pool))


async def _at_rest(pool: Pool) -> bool:
    streams = (pool.names.inbox, pool.names.reports, pool.names.orders("oak"))
    lengths = [await pool.redis.xlen(stream) for stream in streams]
    return not any(lengths) and not await pool.redis.zcard(pool.names.open)


async def test_a_pool_that_has_lived_has_no_key_without_owner_and_bound(pool: Pool, tmp_path: Path) -> None:
    async with at_work() as group, leading(pool, group):
        group.start_soon(sidecar_of(pool, tmp_path).run)
        await live_a_life(pool)
        every_kind = {name.split(":")[0] for name in BOUNDS} - {"open"}
        await eventually(lambda: _has(pool, every_kind))
        assert await unbounded(pool) == []


async def test_when_everything_is_past_its_retention_only_the_pool_itself_is_left(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = make_pool(retention_s=1.0)
    async with at_work() as group, leading(pool, group):
        sidecar = sidecar_of(pool, tmp_path)
        async with at_work() as life:
            life.start_soon(sidecar.run)
            await live_a_life(pool)
            sidecar.stop()
            await eventually(lambda: pool.said("goodbye"))
            # These are kept for longer than this test lasts, but not for ever: see above.
            passing = [key async for key in pool.redis.scan_iter(match=pool.names.every) if b":refused:" in key]
            await pool.redis.delete(pool.names.beat("oak"), *passing)
        await eventually(lambda: _has(pool, {"inbox", "reports", "journal", "dead", "keys", "head", "leader"}))


async def _has(pool: Pool, kinds: set[str]) -> bool:
    return kinds == {key.decode().split(":")[2] async for key in pool.redis.scan_iter(match=pool.names.every)}


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("unheard-of", lambda redis, key: redis.set(key, "x", ex=10)),
        ("journal", lambda redis, key: redis.set(key, "x", ex=10)),
        ("inbox", lambda redis, key: redis.xadd(key, {"m": "x"})),
        ("task:t1", lambda redis, key: redis.set(key, "x")),
        ("output:t1", lambda redis, key: redis.xadd(key, {"t": "x"})),
        ("orders:nobody", lambda redis, key: redis.xgroup_create(key, "sidecar", "0", mkstream=True)),
        ("dead", lambda redis, key: _fill(redis, key, 200)),
    ],
)
async def test_this_test_can_fail(
    make_pool: Callable[..., Pool], key: str, make: Callable[[Any, str], Awaitable[Any]]
) -> None:
    pool = make_pool(dead_entries=10)
    await make(pool.redis, pool.names.inbox.removesuffix("inbox") + key)
    assert await unbounded(pool) == [key]


async def _fill(redis: Any, key: str, count: int) -> None:
    for _ in range(count):
        await redis.xadd(key, {"m": "x"})
