"""A pool that works is not accused of anything, however often and at whatever moment it is looked at."""

from collections.abc import Callable

import anyio
import msgspec
import pytest

from agentcom.broker import fsck_store
from agentcom.broker.fsck_store import FsckStore
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.cli.fsck import inspect
from agentcom.model.agent import Card
from agentcom.model.codec import encode
from agentcom.model.messages import Cancel, Hello
from tests.fsck.scene import Scene
from tests.patience import PATIENCE_S
from tests.scheduler.harness import QUICK, Agent, Pool, at_work, eventually, leading, start

pytestmark = [pytest.mark.process, pytest.mark.pitfall_4]

BUSY = msgspec.structs.replace(QUICK, beat_s=2.0, lease_s=2.0)


async def test_a_busy_pool_is_found_in_order_twenty_times(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(BUSY)
    tasks: list[str] = []

    async def keep_busy() -> None:
        while True:
            some = await pool.submit(40)
            some += await pool.submit(5, after=(some[0],))
            await pool.client.request([Cancel(task=some[7]), Cancel(task=some[41])])
            tasks.extend(some)
            await eventually(lambda: _fewer_than(pool, 60), 30)

    async with at_work() as group, leading(pool, group):
        for name in ("oak", "elm", "ash"):
            group.start_soon(Agent(pool, name, slots=3).run)
        group.start_soon(keep_busy)
        store = FsckStore(pool.connections, pool.name, pool.policy)
        for _ in range(20):
            look = await inspect(store, patience_s=2.0)
            assert look.found == []
        assert len(tasks) > 60
        group.cancel_scope.cancel()


async def _fewer_than(pool: Pool, count: int) -> bool:
    return await pool.redis.zcard(pool.names.open) + await pool.redis.xlen(pool.names.inbox) < count


async def test_a_pool_whose_leader_and_agents_come_and_go_is_found_in_order(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(BUSY)
    store = FsckStore(pool.connections, pool.name, pool.policy)
    tasks = await pool.submit(150)
    async with at_work() as group:
        for turn in range(3):
            scheduler = await start(pool, group)
            with anyio.fail_after(PATIENCE_S):
                await scheduler.leads.wait()
            group.start_soon(Agent(pool, f"oak{turn}", slots=3).run)
            for _ in range(2):
                assert (await inspect(store, patience_s=2.0)).found == []
            await scheduler.stop()
            assert (await inspect(store, patience_s=2.0)).found == []
        async with leading(pool, group):
            await eventually(lambda: pool.all_completed(tasks), 60)
            assert (await inspect(store, patience_s=2.0)).found == []
        await pool.judge(tasks)


async def test_a_pool_that_was_never_used_is_in_order(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(BUSY)
    look = await inspect(FsckStore(pool.connections, pool.name, pool.policy))
    assert (look.found, look.remarks) == ([], [])


async def test_what_was_reported_and_not_read_yet_is_not_missing(scene: Scene) -> None:
    """An order that is settled, of an attempt that is still listed; a stream of orders of an agent that said hello."""
    async with at_work() as group, leading(scene.pool, group) as leader:
        await scene.set()
        await leader.stop()
    await scene._work_off_once()
    store = SidecarStore(scene.pool.connections, scene.pool.name, "elm", "sc-1", scene.pool.policy)
    await store.open()
    await store.finish([], [encode(Hello(agent="elm", incarnation="sc-1", card=Card()))])
    assert await scene.redis.xlen(scene.names.reports) == 4
    assert (await scene.look()).found == []
    await scene.redis.xtrim(scene.names.reports, maxlen=0)
    assert await scene.kinds() == {"order_missing", "orders_of_nobody"}


async def test_pools_that_are_larger_than_a_trip_are_read_whole(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("INDEX_PER_TRIP", 5), ("REPORTS_PER_TRIP", 2), ("KEYS_PER_TRIP", 2), ("AGENTS_PER_TRIP", 1)):
        monkeypatch.setattr(fsck_store, name, size)
    monkeypatch.setattr(fsck_store, "TOLD_AGAIN", 2)
    async with at_work() as group, leading(scene.pool, group) as leader:
        await scene.set()
        await scene._submit(*(f"more-{n}" for n in range(20)))
        await eventually(lambda: scene._is("more-19", "queued"))
        await leader.stop()
    await scene._work_off_once()
    assert (await scene.look()).found == []
    tasks = await scene.redis.zrange(scene.names.open, 0, -1)
    await scene.redis.zrem(scene.names.open, *tasks[10:])
    assert len((await scene.look()).found) == len(tasks) - 10
