"""Somebody writes the last possible id into a stream by hand, after which nothing could be added to it for ever."""

from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import ResponseError

from agentcom.model.commit import LAST_ID
from agentcom.scheduler import rhythm
from tests.scheduler.harness import Agent, Pool, at_work, eventually, leading

pytestmark = [pytest.mark.process, pytest.mark.pitfall_10]

UseUp = Callable[[Pool, str], Awaitable[object]]


async def _with_an_entry(pool: Pool, key: str) -> None:
    await pool.redis.xadd(key, {"m": "garbage"}, id=LAST_ID)


async def _with_an_entry_that_is_gone(pool: Pool, key: str) -> None:
    await pool.redis.xadd(key, {"m": "garbage"}, id=LAST_ID)
    await pool.redis.xdel(key, LAST_ID)


async def _without_an_entry(pool: Pool, key: str) -> None:
    await pool.redis.xadd(key, {"m": "garbage"})
    await pool.redis.execute_command("XSETID", key, LAST_ID)


WAYS: dict[str, UseUp] = {
    "by an entry": _with_an_entry,
    "by an entry that was deleted again": _with_an_entry_that_is_gone,
    "by XSETID": _without_an_entry,
}


async def _goes_on(pool: Pool) -> None:
    for key in (pool.names.inbox, pool.names.reports):
        await eventually(lambda: _takes_more(pool, key))  # noqa: B023
    tasks = await pool.submit(3)
    await eventually(lambda: pool.all_completed(tasks))
    await pool.judge(tasks)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", ["inbox", "reports"])
async def test_the_leader_makes_the_stream_anew_and_goes_on(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, stream: str, way: str
) -> None:
    monkeypatch.setattr(rhythm, "STREAMS_MS", 100)
    key = getattr(pool.names, stream)
    async with at_work() as group, leading(pool, group) as leader:
        group.start_soon(Agent(pool, "oak").run)
        await _goes_on(pool)
        await WAYS[way](pool, key)
        await _goes_on(pool)
        assert leader.terms == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", ["inbox", "reports"])
async def test_a_new_leader_makes_the_stream_anew_too_and_no_request_before_it_is_lost(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, stream: str, way: str
) -> None:
    monkeypatch.setattr(rhythm, "STREAMS_MS", 100)
    key = getattr(pool.names, stream)
    async with at_work() as group:
        async with leading(pool, group) as first:
            await first.stop()
        before = await pool.submit(2)
        await WAYS[way](pool, key)
        async with leading(pool, group) as second:
            group.start_soon(Agent(pool, "oak").run)
            await eventually(lambda: pool.all_completed(before))
            await _goes_on(pool)
            assert second.terms == 1


async def test_a_pool_that_an_older_leader_left_used_up_goes_on(pool: Pool) -> None:
    """One that took the entry into account, and could only leave it there."""
    async with at_work() as group:
        async with leading(pool, group) as first:
            await first.stop()
        await _with_an_entry(pool, pool.names.inbox)
        await pool.redis.hset(pool.names.head, "inbox_at", LAST_ID)
        async with leading(pool, group):
            group.start_soon(Agent(pool, "oak").run)
            await _goes_on(pool)


async def test_a_stream_that_was_made_anew_under_the_leader_is_read_from_its_beginning(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rhythm, "STREAMS_MS", 100)
    async with at_work() as group, leading(pool, group) as leader:
        await pool.redis.xadd(pool.names.inbox, {"m": "garbage"}, id=f"{2**62}-0")
        assert (await pool.refusal(f"{2**62}-0")).reason
        await pool.redis.delete(pool.names.inbox)
        group.start_soon(Agent(pool, "oak").run)
        await _goes_on(pool)
        assert leader.terms == 2


async def _takes_more(pool: Pool, key: str) -> bool:
    try:
        await pool.redis.xadd(key, {"m": "garbage"})
    except ResponseError:
        return False
    return True
