"""Redis or the scheduler is killed in the middle of a load: nothing acknowledged is lost, and nothing done twice."""

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from agentcom.broker.embedded import EmbeddedServer
from tests.patience import PATIENCE_S
from tests.scheduler.harness import Agent, Pool, at_work, eventually, leading, patiently, start

pytestmark = [pytest.mark.process, pytest.mark.pitfall_1]

ROOT = Path(__file__).parents[2]


async def submit_a_lot(pool: Pool, acknowledged: list[str], count: int) -> None:
    """One at a time; only what was acknowledged is asked for later."""
    while len(acknowledged) < count:
        acknowledged += await patiently(pool.submit)
        await anyio.sleep(0.002)


async def test_redis_is_killed_and_restarted_in_the_middle_of_a_load(
    own_server: EmbeddedServer, own_pool: Pool
) -> None:
    pool, acknowledged = own_pool, list[str]()
    async with at_work() as group, leading(pool, group):
        for name in ("oak", "elm"):
            group.start_soon(Agent(pool, name, slots=5).run)
        group.start_soon(submit_a_lot, pool, acknowledged, 300)
        for kill_at in (50, 150):
            await eventually(lambda at=kill_at: _reached(acknowledged, at))  # type: ignore[misc]
            own_server.kill()
            await anyio.to_thread.run_sync(own_server.start)
        await eventually(lambda: _reached(acknowledged, 300), 20)
        await eventually(lambda: _all_completed(pool, acknowledged), 20)
        await pool.judge(acknowledged)


async def _reached(acknowledged: list[str], count: int) -> bool:
    return len(acknowledged) >= count


async def _all_completed(pool: Pool, tasks: list[str]) -> bool:
    return bool(await patiently(lambda: pool.all_completed(tasks)))


@asynccontextmanager
async def leader_process(pool: Pool) -> AsyncIterator[Process]:
    """A scheduler process that leads."""
    command = [sys.executable, "-m", "tests.scheduler.leader", pool.url, pool.name]
    async with await anyio.open_process(command, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert (await process.stdout.receive()).startswith(b"leading")
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def test_a_killed_scheduler_is_replaced_after_its_lease(pool: Pool) -> None:
    acknowledged: list[str] = []
    async with at_work() as group, leader_process(pool) as leader:
        for name in ("oak", "elm"):
            group.start_soon(Agent(pool, name, slots=5).run)
        group.start_soon(submit_a_lot, pool, acknowledged, 300)
        second = await start(pool, group)
        await eventually(lambda: _reached(acknowledged, 100), 20)
        assert second.terms == 0
        leader.send_signal(signal.SIGKILL)
        with anyio.fail_after(pool.policy.lease_s * 2):
            await second.leads.wait()
        await eventually(lambda: _reached(acknowledged, 300), 20)
        await eventually(lambda: _all_completed(pool, acknowledged), 20)
        await pool.judge(acknowledged)
        assert second.terms == 1


async def test_a_stopped_scheduler_that_goes_on_later_stands_by(pool: Pool) -> None:
    async with at_work() as group, leader_process(pool) as leader:
        group.start_soon(Agent(pool, "oak").run)
        tasks = await pool.submit(5)
        await eventually(lambda: pool.all_completed(tasks))
        leader.send_signal(signal.SIGSTOP)
        tasks += await pool.submit(5)
        second = await start(pool, group)
        with anyio.fail_after(pool.policy.lease_s * 2):
            await second.leads.wait()
        leader.send_signal(signal.SIGCONT)
        tasks += await pool.submit(5)
        await eventually(lambda: pool.all_completed(tasks))
        await anyio.sleep(0.5)
        assert (await pool.client.head()).leader == second.service._owner
        assert second.terms == 1
        await pool.judge(tasks)


async def test_a_scheduler_that_is_refused_by_redis_ends_at_once(own_server: EmbeddedServer, own_pool: Pool) -> None:
    await own_pool.redis.execute_command("ACL", "SETUSER", "s", "on", ">p", "~*", "+@all", "-evalsha")
    command = [
        sys.executable, "-m", "tests.scheduler.leader", f"{own_server.url}?username=s&password=p", own_pool.name,
    ]  # fmt: skip
    with anyio.fail_after(PATIENCE_S):
        result = await anyio.run_process(command, cwd=ROOT, check=False)
    assert result.returncode == 1
    assert b"CredentialsRefused" in result.stderr


async def test_whoever_stands_by_leads_as_soon_as_the_lease_has_ended(make_pool: Callable[..., Pool]) -> None:
    """It does not only look now and then: with such leases it would look every five seconds."""
    pool = make_pool(lease_s=60.0)
    await pool.redis.set(pool.names.leader, "somebody who died", px=400)
    async with at_work() as group:
        second = await start(pool, group)
        with anyio.fail_after(3.0):
            await second.leads.wait()
