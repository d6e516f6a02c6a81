"""Whatever stands in the inbox or the reports: it is refused with a reason, taken into account, and stops nothing."""

from typing import Any

import anyio
import pytest
from msgspec import Raw, json

from agentcom.model.codec import encode
from agentcom.model.messages import Cancel, Submit
from agentcom.model.task import TaskSpec
from tests.patience import PATIENCE_S
from tests.scheduler.harness import Agent, Pool, at_work, eventually, leading, make_id, start

pytestmark = pytest.mark.process

GARBAGE: dict[str, dict[Any, Any]] = {
    "no field m": {"other": "x"},
    "empty": {"m": ""},
    "binary": {"m": bytes(range(256)), b"\xff\x00": b"\x00"},
    "not JSON": {"m": "submit please"},
    "not an object": {"m": "[1, 2, 3]"},
    "no type": {"m": "{}"},
    "unknown type": {"m": '{"type":"explode"}'},
    "type of wrong type": {"m": '{"type":7}'},
    "future version": {"m": '{"v":2,"type":"submit","tasks":[],"new_field":1}'},
    "future version of a report": {"m": '{"v":2,"type":"finished"}'},
    "version of wrong type": {"m": '{"v":"two","type":"cancel","task":"x"}'},
    "wrong types": {"m": '{"type":"submit","tasks":"all"}'},
    "wrong types in a report": {"m": '{"type":"hello","agent":1,"incarnation":2,"card":3}'},
    "missing fields": {"m": '{"type":"cancel"}'},
    "unknown field": {"m": '{"type":"cancel","task":"x","tsak":"y"}'},
    "no tasks": {"m": '{"type":"submit","tasks":[]}'},
    "too many tasks": {"m": encode(Submit(tasks=[Raw(b"{}")] * 101))},
    "deeply nested": {"m": '{"type":"submit","tasks":[' + "[" * 100_000},
    "a megabyte of garbage": {"m": b"\x80" * 1_000_000},
    "a megabyte of JSON": {"m": json.encode({"type": "finished", "agent": "x" * 1_000_000})},
    "a megabyte of text": {"m": encode(Submit(tasks=[Raw(encode(TaskSpec(id=make_id(), text="x" * 1_000_000)))]))},
    "a surrogate": {"m": rb'{"type":"cancel","task":"\ud800"}'},
    "a huge number": {"m": '{"type":"hello","agent":"a","incarnation":"i","card":{"slots":1e400}}'},
}


async def test_garbage_in_the_inbox_is_refused_to_its_sender_and_in_the_journal(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group) as leader:
        entries = {kind: (await pool.redis.xadd(pool.names.inbox, fields)).decode() for kind, fields in GARBAGE.items()}
        tasks = await pool.submit(1)
        await eventually(lambda: pool.redis.zcard(pool.names.open))
        for kind, entry in entries.items():
            refusals = await pool.client.refusals(entry)
            assert refusals, f"{kind} was not refused"
            assert 0 < len(refusals[0].reason) < 1_000, kind
        journalled = {line.entry for line in await pool.lines() if line.what == "refused"}
        assert set(entries.values()) <= journalled
        assert await pool.redis.xlen(pool.names.inbox) == 0
        version = await pool.refusal(entries["future version"])
        assert "protocol version 2 is not understood" in version.reason
        group.start_soon(Agent(pool, "oak").run)
        await eventually(lambda: pool.all_completed(tasks))
        assert leader.terms == 1


async def test_garbage_in_the_reports_is_refused_in_the_journal(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group) as leader:
        entries = {
            kind: (await pool.redis.xadd(pool.names.reports, fields)).decode() for kind, fields in GARBAGE.items()
        }
        group.start_soon(Agent(pool, "oak").run)
        tasks = await pool.submit(1)
        await eventually(lambda: pool.all_completed(tasks))
        journalled = {line.entry: line.detail for line in await pool.lines() if line.what == "refused"}
        assert {kind for kind, entry in entries.items() if not journalled.get(entry)} == set()
        assert await pool.redis.xlen(pool.names.reports) == 0
        assert leader.terms == 1


async def test_garbage_from_before_the_first_leader_is_refused_too(pool: Pool) -> None:
    for fields in GARBAGE.values():
        await pool.redis.xadd(pool.names.inbox, fields)
        await pool.redis.xadd(pool.names.reports, fields)
    async with at_work() as group, leading(pool, group) as leader:
        await eventually(lambda: _empty(pool))
        assert leader.terms == 1


async def _empty(pool: Pool) -> bool:
    return not await pool.redis.xlen(pool.names.inbox) and not await pool.redis.xlen(pool.names.reports)


@pytest.mark.pitfall_10
@pytest.mark.parametrize("where", ["head", "inbox", "reports", "open", "agents", "keys", "journal", "dead"])
async def test_a_key_of_the_wrong_type_is_said_and_waited_for_until_somebody_mends_it(
    pool: Pool, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    key = getattr(pool.names, where)
    await pool.redis.set(key, "put here by hand")
    async with at_work() as group:
        await start(pool, group)
        if where != "dead":
            await eventually(lambda: _said(caplog, "WRONGTYPE"))
        await anyio.sleep(0.2)
        await pool.redis.delete(key)
        group.start_soon(Agent(pool, "oak").run)
        tasks = await pool.submit(3)
        await eventually(lambda: pool.all_completed(tasks))
        await pool.judge(tasks)
    assert len(caplog.records) < 100, "it does not ask as fast as it can"


async def _said(caplog: pytest.LogCaptureFixture, what: str) -> bool:
    return what in caplog.text


@pytest.mark.pitfall_10
@pytest.mark.parametrize("field", ["epoch", "seq", "admitted", "inbox_at", "reports_at"])
@pytest.mark.parametrize("garbage", ["", "x", "\u00b2", "-1", "9" * 40, "1-2-3"])
async def test_a_head_that_cannot_be_read_keeps_nobody_from_leading(pool: Pool, field: str, garbage: str) -> None:
    async with at_work() as group:
        group.start_soon(Agent(pool, "oak").run)
        async with leading(pool, group) as first:
            tasks = await pool.submit(2)
            await eventually(lambda: pool.all_completed(tasks))
            await first.stop()
        tasks += await pool.submit(2)
        await pool.redis.hset(pool.names.head, field, garbage)
        async with leading(pool, group) as second:
            await eventually(lambda: pool.all_completed(tasks))
            await pool.judge(tasks)
            await second.stop()
    fields = await pool.redis.hgetall(pool.names.head)
    assert fields[field.encode()] != garbage.encode() or field == "admitted"


@pytest.mark.pitfall_10
async def test_a_number_of_commits_that_was_garbled_under_a_leader_costs_a_reload(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group):
        group.start_soon(Agent(pool, "oak").run)
        for garbage in ("x", "7"):
            await pool.redis.hset(pool.names.head, "seq", garbage)
            tasks = await pool.submit(2)
            await eventually(lambda tasks=tasks: pool.all_completed(tasks))
        await pool.judge(tasks)


@pytest.mark.pitfall_3
async def test_a_leader_that_died_and_whose_lease_lost_its_end_is_followed_all_the_same(pool: Pool) -> None:
    await pool.redis.set(pool.names.leader, "somebody who is dead")
    async with at_work() as group, leading(pool, group):
        assert await pool.redis.pttl(pool.names.leader) > 0


# ------------------------------------------------------- the same id again


@pytest.mark.pitfall_1
async def test_a_submission_sent_again_to_a_later_leader_is_not_taken_on_again(pool: Pool) -> None:
    spec = TaskSpec(id=make_id(), text="do it")
    async with at_work() as group:
        group.start_soon(Agent(pool, "oak").run)
        async with leading(pool, group) as first:
            await pool.request([spec])
            await eventually(lambda: pool.all_completed([spec.id]))
            await first.stop()
        async with leading(pool, group) as second:
            (same,) = await pool.request([spec])
            (other,) = await pool.request([TaskSpec(id=spec.id, text="do something else")])
            assert "another task has this id" in (await pool.refusal(other)).reason
            assert await pool.client.refusals(same) is None
            assert second.terms == 1
        await pool.judge([spec.id])


@pytest.mark.pitfall_10
async def test_an_id_that_a_fast_clock_made_and_that_exists_costs_one_reload_and_no_livelock(pool: Pool) -> None:
    """The leader thinks that it must know an id that is younger than its term. The commit finds out, and it looks."""
    async with at_work() as group:
        group.start_soon(Agent(pool, "oak").run)
        async with leading(pool, group) as first:
            before = [TaskSpec(id=make_id(), text=f"{n}") for n in range(3)]
            await pool.request(before)
            await eventually(lambda: pool.all_completed([spec.id for spec in before]))
            await first.stop()
        second = await start(pool, group)
        second.service._clock = lambda clock=second.service._clock: clock() - 5_000  # type: ignore[misc]
        with anyio.fail_after(PATIENCE_S):
            await second.leads.wait()
        second.service._clock = lambda clock=second.service._clock: clock() + 5_000  # type: ignore[misc]
        await pool.request(before)
        after = await pool.submit(3)
        await eventually(lambda: pool.all_completed(after))
        assert second.terms == 2
        await pool.judge([*[spec.id for spec in before], *after])


@pytest.mark.pitfall_10
@pytest.mark.parametrize("damage", ["garbage", "another type"])
async def test_an_id_whose_record_cannot_be_read_is_refused_and_stops_nothing(pool: Pool, damage: str) -> None:
    async with at_work() as group, leading(pool, group):
        group.start_soon(Agent(pool, "oak").run)
        spec = TaskSpec(id=make_id(), text="do it")
        if damage == "garbage":
            await pool.redis.set(pool.names.task(spec.id), "garbage")
        else:
            await pool.redis.hset(pool.names.task(spec.id), "a", "b")
        (entry,) = await pool.request([spec])
        (cancel,) = await pool.client.request([Cancel(task=spec.id)])
        tasks = await pool.submit(3)
        await eventually(lambda: pool.all_completed(tasks))
        assert "cannot be read" in (await pool.refusal(entry)).reason
        assert (await pool.refusal(cancel)).reason
        await pool.judge(tasks)


async def test_open_tasks_that_cannot_be_loaded_are_said_and_the_others_go_on(pool: Pool) -> None:
    async with at_work() as group:
        async with leading(pool, group) as first:
            good, gone, bad, foreign = await pool.submit(4)
            await eventually(lambda: _open(pool, 4))
            await first.stop()
        await pool.redis.delete(pool.names.task(gone))
        await pool.redis.set(pool.names.task(bad), "garbage")
        body = await pool.redis.get(pool.names.task(foreign))
        await pool.redis.set(pool.names.task(foreign), body.replace(b'"text":', b'"new_in_the_next_version":1,"text":'))
        async with leading(pool, group):
            group.start_soon(Agent(pool, "oak").run)
            await eventually(lambda: pool.all_completed([good]))
            dropped = {line.task for line in await pool.lines() if line.trigger == "load"}
            assert dropped == {gone, bad, foreign}
            # What a newer version wrote waits for a leader that can read it.
            assert await pool.redis.zrange(pool.names.open, 0, -1) == [foreign.encode()]


async def _open(pool: Pool, count: int) -> bool:
    return bool(await pool.redis.zcard(pool.names.open) == count)


async def test_an_entry_with_the_last_possible_id_does_not_end_the_leader(pool: Pool) -> None:
    async with at_work() as group, leading(pool, group) as leader:
        last = f"{2**64 - 1}-{2**64 - 1}"
        await pool.redis.xadd(pool.names.inbox, {"m": "garbage"}, id=last)
        assert (await pool.refusal(last)).reason
        assert leader.terms == 1
