"""What a new leader finds, also where somebody or something damaged it."""

from typing import Any

import pytest

from agentcom.broker.scheduler_store import LOAD_CHUNK
from agentcom.model.codec import encode
from tests.broker.conformance.pool import Pool, agent, record

DAMAGED: list[Any] = [b"", b"garbage", b"[1]", b'{"spec":' + b"[" * 50_000, b"\xff\xfe"]


async def load(pool: Pool) -> tuple[list[str], list[str]]:
    """Ids of what could be read and what could not."""
    fit: list[str] = []
    unfit: list[str] = []
    async for records, missing in pool.store.open_records():
        fit += records
        unfit += missing
    return fit, unfit


async def test_an_empty_pool_is_at_its_beginning(pool: Pool) -> None:
    head = await pool.store.head()
    assert (head.seq, head.inbox_at, head.reports_at) == (0, "0-0", "0-0")
    assert await load(pool) == ([], [])
    assert await pool.store.agents() == []
    assert await pool.store.keys() == {}


@pytest.mark.pitfall_10
async def test_when_work_went_round_is_kept_until_a_task_completes(pool: Pool) -> None:
    fence = await pool.lead()
    for requeued, kept in (((5, 70), (5, 70)), (None, (5, 70)), ((), ())):
        await pool.commit(fence, requeued=requeued, lines=[])
        assert (await pool.store.head()).requeued == kept
    await pool.redis.hset(pool.names.head, "requeued", "7 x -1 \xb2 " + "9" * 4_400)
    assert (await pool.store.head()).requeued == (7,)


async def test_open_tasks_come_in_the_order_of_admission_over_many_chunks(pool: Pool) -> None:
    count = LOAD_CHUNK + 10
    fence = await pool.lead()
    tasks = [f"t{n}" for n in range(count)]
    opened = [(task, count - n) for n, task in enumerate(tasks)]
    await pool.commit(fence, records={task: record(task) for task in tasks}, opened=opened)
    assert await load(pool) == (tasks[::-1], [])


async def test_records_that_are_missing_or_damaged_are_told_apart_from_the_others(pool: Pool) -> None:
    fence = await pool.lead()
    tasks = [f"t{n}" for n in range(len(DAMAGED) + 3)]
    await pool.commit(
        fence, records={task: record(task) for task in tasks}, opened=[(task, n) for n, task in enumerate(tasks)]
    )
    for task, body in zip(tasks, DAMAGED, strict=False):
        await pool.redis.set(pool.names.task(task), body)
    gone, other_type, good = tasks[-3:]
    await pool.redis.delete(pool.names.task(gone), pool.names.task(other_type))
    await pool.redis.xadd(pool.names.task(other_type), {"x": "y"})
    assert await load(pool) == ([good], tasks[:-1])


async def test_looked_up_records_are_told_apart_too(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.commit(fence, records={"good": record("good")})
    await pool.redis.set(pool.names.task("bad"), "garbage")
    await pool.redis.xadd(pool.names.task("odd"), {"x": "y"})
    found, unreadable = await pool.store.records(["good", "bad", "gone", "odd"])
    assert (list(found), unreadable) == (["good"], ["bad"])
    assert await pool.store.records([]) == ({}, [])
    assert await pool.store.are_there(["good", "gone", "odd"]) == ["good", "odd"]


async def test_agents_and_keys_that_cannot_be_read_are_left_out(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.commit(fence, agents={"oak": agent("oak")}, keys={"k": "t1@5", "odd@key": "t2@6"})
    await pool.redis.hset(pool.names.agents, mapping={"elm": "garbage", "fir": encode({"name": "fir"})})
    await pool.redis.hset(pool.names.keys, mapping={"a": "garbage", "b": "t@", "c": "t@x", "d": "t@²"})
    assert await pool.store.agents() == [agent("oak")]
    assert await pool.store.keys() == {"k": "t1@5", "odd@key": "t2@6"}


@pytest.mark.pitfall_1
async def test_a_stream_that_was_made_anew_is_read_from_its_beginning(pool: Pool) -> None:
    fence = await pool.lead()
    old = (await pool.redis.xadd(pool.names.inbox, {"m": "x"}, id="9999999999999-1")).decode()
    report = (await pool.redis.xadd(pool.names.reports, {"m": "x"})).decode()
    await pool.commit(fence, inbox_at=old, reports_at=report)
    head = await pool.store.head()
    assert (head.inbox_at, head.reports_at) == (old, report), "an emptied stream is the same stream"
    await pool.redis.delete(pool.names.inbox)
    assert (await pool.store.head()).inbox_at == "0-0"
    new = (await pool.redis.xadd(pool.names.inbox, {"m": "y"})).decode()
    head = await pool.store.head()
    assert (head.inbox_at, head.reports_at) == ("0-0", report)
    assert [entry.id for entry in (await pool.store.read(head, 9, 1, inbox=True))[pool.store.inbox]] == [new]


async def test_without_room_only_reports_are_read(pool: Pool) -> None:
    await pool.redis.xadd(pool.names.inbox, {"m": "request"})
    head = await pool.store.head()
    assert await pool.store.read(head, 9, 1, inbox=False) == {}
    await pool.redis.xadd(pool.names.reports, {"m": "report"})
    batches = await pool.store.read(head, 9, 1, inbox=False)
    assert [entry.body for entry in batches[pool.store.reports]] == [b"report"]
    assert set(await pool.store.read(head, 9, 1, inbox=True)) == {pool.store.reports, pool.store.inbox}


async def test_entries_without_a_body_have_an_empty_one(pool: Pool) -> None:
    await pool.redis.xadd(pool.names.inbox, {"other": "x"})
    await pool.redis.xadd(pool.names.inbox, {b"\xff": b"\x00\xff", "m": b"\x00\xff"})
    batches = await pool.store.read(await pool.store.head(), 9, 1, inbox=True)
    assert [entry.body for entry in batches[pool.store.inbox]] == [b"", b"\x00\xff"]
