"""A pool with nothing to do costs next to nothing."""

import anyio
import pytest

from agentcom.scheduler.rhythm import Duties
from agentcom.settings import Policy
from tests.scheduler.harness import Agent, Pool, at_work, eventually, leading, start

SECONDS = 4


@pytest.mark.process
@pytest.mark.pitfall_2
@pytest.mark.parametrize("own_pool", [Policy()], indirect=True)
async def test_an_idle_leader_and_its_standby_ask_less_than_three_times_a_second(own_pool: Pool) -> None:
    """Also while work waits that nobody can do."""
    pool = own_pool
    async with at_work() as group, leading(pool, group):
        await Agent(pool, "oak").hello()
        await pool.submit(5, requires="python >= 3")
        await eventually(lambda: pool.redis.zcard(pool.names.open))
        await start(pool, group)
        await anyio.sleep(0.3)
        commands = await commands_in(pool, SECONDS)
        assert commands <= 3 * SECONDS, f"{commands} commands in {SECONDS} s"


async def commands_in(pool: Pool, seconds: float) -> int:
    """Commands that the server performed, those within scripts included."""
    before = (await pool.redis.info("stats"))["total_commands_processed"]
    await anyio.sleep(seconds)
    return int((await pool.redis.info("stats"))["total_commands_processed"] - before - 1)


@pytest.mark.pitfall_10
def test_a_read_waits_until_the_next_duty_and_is_never_without_end() -> None:
    duties = Duties(Policy(lease_s=9.0, beat_s=30.0, sweep_s=5.0), now=0)
    assert duties.sweep_due(0)
    assert not duties.sweep_due(1)
    assert not duties.renewal_due(2_999)
    assert not duties.beats_due(14_999)
    assert duties.block_ms(0, None) == 3_000
    assert duties.block_ms(2_900, None) == 100
    assert duties.block_ms(0, wake_at=50) == 50
    assert duties.block_ms(0, wake_at=60_000) == 3_000
    assert duties.block_ms(10, wake_at=5) == 1, "0 would wait for ever"
    assert duties.block_ms(99_999, None) == 1
    assert duties.renewal_due(3_000)
    assert duties.beats_due(15_000)
    assert Duties(Policy(lease_s=3_600.0, sweep_s=3_600.0, beat_s=3_600.0), 0).block_ms(0, None) <= 5_000
