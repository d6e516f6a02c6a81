"""Too much open work leaves the inbox unread, and says so."""

from collections.abc import Callable

import anyio
import msgspec
import pytest

from agentcom.broker.streams import Entry
from agentcom.model.codec import encode
from agentcom.model.messages import Submit
from agentcom.model.task import TaskSpec
from agentcom.scheduler import service as service_module
from agentcom.scheduler.rhythm import FIRST_READ, READ_BYTES, Appetite
from tests.scheduler.harness import Agent, Pool, at_work, eventually, leading, make_id

pytestmark = [pytest.mark.process, pytest.mark.pitfall_6]


async def test_past_the_bound_the_inbox_is_left_unread_and_read_again_later(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(max_open_tasks=10, batch=5)
    async with at_work() as group, leading(pool, group):
        tasks = await pool.submit(40)
        await eventually(lambda: pool.said("backpressure"))
        await anyio.sleep(0.3)
        open_tasks = await pool.redis.zcard(pool.names.open)
        assert 10 <= open_tasks <= 10 + FIRST_READ
        assert await pool.redis.xlen(pool.names.inbox) == 40 - open_tasks
        (said,) = await pool.said("backpressure")
        assert "the inbox is left unread" in said
        group.start_soon(Agent(pool, "oak").run)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)
        await eventually(lambda: _ends_with_reading_again(pool))
        assert len(await pool.said("backpressure")) <= 2 * 40 / 5


async def _ends_with_reading_again(pool: Pool) -> bool:
    return "is read again" in (await pool.said("backpressure"))[-1]


async def test_the_text_of_open_tasks_is_bounded_within_a_batch_too(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "TASKS_PER_COMMIT", 50)
    pool = make_pool(max_open_bytes=100_000, lease_s=10.0, beat_s=5.0)
    specs = [TaskSpec(id=make_id(), text="x" * 2_000) for _ in range(500)]
    await pool.client.request(
        [Submit(tasks=[msgspec.Raw(encode(spec)) for spec in specs[at : at + 50]]) for at in range(0, 500, 50)]
    )
    async with at_work() as group, leading(pool, group):
        await eventually(lambda: pool.said("backpressure"))
        await anyio.sleep(0.2)
        assert await pool.redis.zcard(pool.names.open) == 50
        group.start_soon(Agent(pool, "oak", slots=100).run)
        await eventually(lambda: pool.all_completed([spec.id for spec in specs]))


def entries(count: int, size: int) -> dict[str, list[Entry]]:
    return {"inbox": [Entry("1-1", b"x" * size)] * count}


def test_large_entries_are_read_few_at_a_time_and_small_ones_many() -> None:
    appetite = Appetite(500)
    reads = []
    for _ in range(6):
        reads.append(appetite.entries)
        appetite.fed(entries(appetite.entries, 1_000))
    assert reads == [FIRST_READ, 32, 64, 128, 256, 500]
    while appetite.entries > 3:
        appetite.fed(entries(appetite.entries, READ_BYTES // 3))
    assert appetite.entries == 3
    appetite.fed(entries(3, READ_BYTES * 10))
    assert appetite.entries == 1
    appetite.fed({})
    assert appetite.entries == 1
    assert Appetite(1).entries == 1
