"""A live agent keeps what it has. A dead one's orders are all rescued, whether it had read them or not."""

from collections.abc import Callable

import anyio
import msgspec
import pytest

from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.model.messages import Beat
from agentcom.scheduler.sweep import Sweep
from tests.scheduler.harness import Agent, Pool, at_work, eventually, leading, start

pytestmark = pytest.mark.process


async def given(agent: Agent, count: int) -> bool:
    return len(agent.got) == count


@pytest.mark.pitfall_10
async def test_an_agent_that_beats_and_renews_is_never_reclaimed_from(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group):
        slow = Agent(pool, "oak", slots=3, works=False)
        group.start_soon(slow.run)
        tasks = await pool.submit(3)
        await eventually(lambda: given(slow, 3))
        await anyio.sleep(pool.policy.beat_s * pool.policy.stale_beats * 3)
        assert await pool.states(tasks) == {"assigned": 3}
        assert await pool.said("reclaim") == []
        for entry, order in zip(slow.entries, slow.got, strict=True):
            await slow.finish(entry, order)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)


@pytest.mark.pitfall_1
async def test_the_orders_of_an_agent_that_went_silent_are_done_by_another(pool: Pool) -> None:
    """Delivered or not: the silent agent had read two of its five orders."""
    async with at_work() as group, leading(pool, group):
        silent = Agent(pool, "oak", slots=5, works=False)
        await silent.hello()
        tasks = await pool.submit(5)
        await eventually(lambda: _ordered(pool, "oak", 5))
        await silent._store.read(2, 1)
        group.start_soon(Agent(pool, "elm").run)
        await eventually(lambda: pool.all_completed(tasks))
        assert await pool.redis.xlen(pool.names.orders("oak")) == 0
        assert (await pool.redis.xpending(pool.names.orders("oak"), "sidecar"))["pending"] == 0
        links = [line.after for line in await pool.lines() if line.what == "agent" and line.agent == "oak"]
        assert links[:2] == ["online", "stale"]
        await pool.judge(tasks)


async def _ordered(pool: Pool, agent: str, count: int) -> bool:
    return bool(await pool.redis.xlen(pool.names.orders(agent)) == count)


@pytest.mark.pitfall_1
async def test_what_the_rescued_agent_reports_late_changes_nothing(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group):
        silent = Agent(pool, "oak", slots=1, works=False)
        group.start_soon(silent.run)
        (task,) = await pool.submit(1)
        await eventually(lambda: given(silent, 1))
        silent.beats = False
        elm = Agent(pool, "elm")
        group.start_soon(elm.run)
        await eventually(lambda: pool.all_completed([task]))
        await silent.finish(silent.entries[0], silent.got[0])
        await eventually(lambda: pool.said("report"))
        await pool.judge([task])
        record = (await pool.client.records([task]))[task]
        assert [attempt.agent for attempt in record.attempts] == ["oak", "elm"]


@pytest.mark.pitfall_10
async def test_more_orders_than_a_page_are_all_rescued(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(lease_s=10.0, beat_s=1.0)
    async with at_work() as group, leading(pool, group):
        silent = Agent(pool, "oak", slots=450, works=False)
        await silent.hello()
        tasks = await pool.submit(450)
        await eventually(lambda: _ordered(pool, "oak", 450))
        await silent._store.read(430, 1)
        group.start_soon(Agent(pool, "elm", slots=450).run)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)


@pytest.mark.pitfall_1
async def test_what_a_leader_claimed_before_it_died_is_rescued_although_the_agent_is_back(pool: Pool) -> None:
    """The claim moved the order to the scheduler's own pending list, where the agent that came back doesn't look."""
    async with at_work() as group:
        async with leading(pool, group) as first:
            oak = Agent(pool, "oak", slots=1, works=False)
            await oak.hello()
            (task,) = await pool.submit(1)
            await eventually(lambda: _ordered(pool, "oak", 1))
            await first.stop()
        store = SchedulerStore(pool.connections, pool.name, pool.policy)
        assert len(await Sweep(store, pool.policy, pytest.fail).look(["oak"])) == 1
        oak.works = True
        group.start_soon(oak.run)
        await start(pool, group)
        await eventually(lambda: pool.all_completed([task]))
        assert await pool.redis.xlen(pool.names.orders("oak")) == 0
        await pool.judge([task])


@pytest.mark.pitfall_10
async def test_an_agent_whose_orders_were_deleted_loses_them_and_they_are_done_by_another(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group):
        silent = Agent(pool, "oak", slots=2, works=False)
        await silent.hello()
        tasks = await pool.submit(2)
        await eventually(lambda: _ordered(pool, "oak", 2))
        await pool.redis.delete(pool.names.orders("oak"))
        group.start_soon(Agent(pool, "elm").run)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)


@pytest.mark.pitfall_10
async def test_the_last_beat_of_a_dead_agent_does_not_bring_it_back_with_a_new_leader(pool: Pool) -> None:
    """Its beat outlives it for a while. A new leader must not take what it finds for a sign of life."""
    async with at_work() as group:
        async with leading(pool, group) as first:
            dead = Agent(pool, "oak", works=False)
            await dead.hello()
            await dead._store.beat(_beat(dead), pool.policy.beat_s)
            await eventually(lambda: _link(pool, "oak", "offline"))
            await first.stop()
        async with leading(pool, group):
            assert await pool.redis.exists(pool.names.beat("oak"))
            (task,) = await pool.submit(1)
            await anyio.sleep(pool.policy.beat_s * 3)
            assert await pool.state_of(task) == "queued"
            assert await _link(pool, "oak", "offline")
            await dead._store.beat(msgspec.structs.replace(_beat(dead), count=2), pool.policy.beat_s)
            await eventually(lambda: _link(pool, "oak", "online"))


def _beat(agent: Agent) -> Beat:
    return Beat(agent=agent.name, incarnation=agent.incarnation, count=1, at=1, state="idle")


async def _link(pool: Pool, name: str, link: str) -> bool:
    return any(agent.name == name and agent.link == link for agent in await pool.client.agents())
