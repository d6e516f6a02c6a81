"""One leads, another takes over, and no commit is lost, doubled or made by two."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from agentcom.model.codec import encode
from agentcom.model.task import TaskSpec
from agentcom.scheduler.core import Core
from agentcom.scheduler.events import Reported, Requested
from tests.patience import PATIENCE_S
from tests.scheduler.harness import Agent, Pool, Scheduler, at_work, eventually, leading, make_id, start

pytestmark = pytest.mark.process


async def test_a_task_goes_in_and_comes_out_completed(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group):
        group.start_soon(Agent(pool, "oak").run)
        tasks = await pool.submit(30)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)


async def test_a_leader_that_stops_resigns_and_another_leads_at_once(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(lease_s=12.0)
    async with at_work() as group, leading(pool, group) as first:
        second = await start(pool, group)
        tasks = await pool.submit(5)
        await eventually(lambda: pool.redis.zcard(pool.names.open))
        await first.stop()
        with anyio.fail_after(pool.policy.lease_s / 2):
            await second.leads.wait()
        group.start_soon(Agent(pool, "oak").run)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)
        assert (first.terms, second.terms) == (1, 1)


@pytest.mark.pitfall_1
async def test_a_leader_frozen_for_longer_than_its_lease_writes_nothing_more_and_stands_by(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops after it decided and before it commits: the moment in which two could assign the same task."""
    async with at_work() as group, leading(pool, group) as first:
        thaw = freeze_before_next_commit(first)
        oak = Agent(pool, "oak", slots=3)
        group.start_soon(oak.run)
        tasks = await pool.submit(3)
        second = await start(pool, group)
        with anyio.fail_after(PATIENCE_S):
            await second.leads.wait()
        await eventually(lambda: pool.all_completed(tasks))
        thaw.set()
        await eventually(lambda: _async("deposed" in caplog.text))
        assert (await pool.client.head()).leader == second.service._owner
        more = await pool.submit(3)
        await eventually(lambda: pool.all_completed(more))
        await pool.judge([*tasks, *more])
        assert len(oak.got) == len({order.token for order in oak.got}) == 6
        assert first.terms == 1


def freeze_before_next_commit(scheduler: Scheduler) -> anyio.Event:
    thaw, commit = anyio.Event(), scheduler.store.commit

    async def frozen(call: Any) -> Any:
        await thaw.wait()
        return await commit(call)

    scheduler.store.commit = frozen
    return thaw


async def _async(value: Any) -> Any:
    return value


@pytest.mark.pitfall_1
async def test_a_commit_whose_reply_was_lost_is_applied_once(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(lease_s=60.0, beat_s=30.0)
    async with at_work() as group, leading(pool, group) as leader:
        replies: list[str] = []
        commit, calls = leader.store.commit, 0

        async def losing(call: Any) -> Any:
            nonlocal calls
            calls += 1
            replies.append(await commit(call))
            if calls % 2:
                raise RedisConnectionError("the reply was lost")
            return replies[-1]

        leader.store.commit = losing
        oak = Agent(pool, "oak")
        group.start_soon(oak.run)
        tasks = await pool.submit(20)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)
        assert set(replies) == {"done", "repeated"}
        assert len(oak.got) == 20
        assert leader.terms == 1, "nothing of this is a reason to load again"


@pytest.mark.pitfall_4
async def test_after_a_long_outage_in_a_commit_everything_is_loaded_again(pool: Pool) -> None:
    """Nobody could beat meanwhile, so nobody's silence counts: a new term begins."""
    async with at_work() as group, leading(pool, group) as leader:
        group.start_soon(Agent(pool, "oak").run)
        commit, away_until = leader.store.commit, anyio.current_time() + pool.policy.beat_s * 1.5

        async def away(call: Any) -> Any:
            if anyio.current_time() < away_until:
                raise RedisConnectionError("away")
            return await commit(call)

        leader.store.commit = away
        tasks = await pool.submit(5)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)
        assert leader.terms == 2


@pytest.mark.pitfall_1
async def test_a_fail_over_that_lost_commits_is_noticed_and_everything_loaded_again(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work() as group, leading(pool, group) as leader:
        first = await pool.submit(3)
        await eventually(lambda: pool.redis.zcard(pool.names.open))
        await pool.redis.hset(pool.names.head, mapping={"seq": 0, "id": "lost"})
        second = await pool.submit(3)
        group.start_soon(Agent(pool, "oak").run)
        await eventually(lambda: pool.all_completed([*first, *second]))
        assert "refused: moved" in caplog.text
        assert leader.terms == 2
        await pool.judge([*first, *second])


async def test_a_pool_that_was_emptied_under_its_leader_goes_on_as_a_new_one(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group) as leader:
        await pool.submit(3)
        await eventually(lambda: pool.redis.zcard(pool.names.open))
        await pool.redis.delete(*[key async for key in pool.redis.scan_iter(match=pool.names.every)])
        await eventually(lambda: _async(leader.terms > 1))
        group.start_soon(Agent(pool, "oak").run)
        tasks = await pool.submit(3)
        await eventually(lambda: pool.all_completed(tasks))


@pytest.mark.pitfall_10
async def test_loading_may_take_longer_than_the_lease(pool: Pool) -> None:
    """Else two schedulers would take the lead from each other for ever, and neither would come to its first commit."""
    async with at_work() as group:
        slow = Scheduler(pool)
        load = slow.store.open_records

        async def slowly() -> Any:
            for _ in range(8):
                await anyio.sleep(pool.policy.lease_s / 5)
                yield {}, []
            async for chunk in load():
                yield chunk

        slow.store.open_records = slowly
        group.start_soon(slow.run)
        await anyio.sleep(0.1)
        other = await start(pool, group)
        with anyio.fail_after(PATIENCE_S):
            await slow.leads.wait()
        assert other.terms == 0


@pytest.mark.pitfall_10
async def test_a_defect_that_one_message_brings_to_light_does_not_stop_the_pool(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    applied = Core.apply

    def apply(core: Any, event: Any, now: int) -> None:
        if isinstance(event, Requested) and b"poison" in encode(event.request):
            raise KeyError("a bug of ours")
        if isinstance(event, Reported) and event.report.agent == "poison":
            raise ZeroDivisionError
        applied(core, event, now)

    monkeypatch.setattr(Core, "apply", apply)
    async with at_work() as group, leading(pool, group) as leader:
        group.start_soon(Agent(pool, "oak").run)
        before = await pool.submit(3)
        await Agent(pool, "poison").hello()
        (poison,) = await pool.submit(1, title="poison")
        entries = await pool.request([TaskSpec(id=make_id(), text="poison, too")])
        after = await pool.submit(3)
        await eventually(lambda: pool.all_completed([*before, *after]))
        assert "the scheduler failed on it: KeyError" in (await pool.refusal(entries[0])).reason
        assert any("ZeroDivisionError" in detail for detail in await pool.said("reports"))
        assert await pool.state_of(poison) == ""
        assert leader.terms == 4, "once more for each message that could not be applied"
        assert "a bug of ours" in caplog.text
        await pool.judge([*before, *after])
