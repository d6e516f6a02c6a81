"""The sidecar on a real Redis, with its scheduler's part played by hand: what becomes of orders."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import anyio
import pytest
from msgspec import Raw, structs

from agentcom.broker.embedded import EmbeddedServer
from agentcom.broker.keys import ORDERS_GROUP
from agentcom.errors import ConfigurationError
from agentcom.model.codec import encode
from agentcom.model.messages import Accepted, Finished, Hello, Stop
from agentcom.model.task import Outcome
from agentcom.processes import identify
from agentcom.settings import Policy
from agentcom.sidecar.card import beat_interval_s
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.python import Task
from agentcom.sidecar.service import SPARE_READ
from tests.patience import PATIENCE_S
from tests.sidecar.harness import POLICY, assign, command, python, results, stop, until, working

pytestmark = pytest.mark.process


async def at_once(task: Task) -> str:
    return f"did {task.text}"


async def for_ever(task: Task) -> None:
    await anyio.sleep_forever()


async def slowly(task: Task) -> None:
    await anyio.sleep(0.5)


async def test_a_task_is_done_and_reported_and_its_order_settled_in_one_step(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        order = await sidecar.order("this")
        report = await sidecar.desk.outcome(order)
        assert (await sidecar.desk.left(), await sidecar.desk.pending()) == (0, [])
        assert report.outcome == Outcome("completed", summary="did this")
        assert (report.agent, report.incarnation, report.task) == ("oak", sidecar.incarnation, order.task)
        assert await sidecar.desk.accepted(order.token) == []


async def test_acceptance_is_reported_only_of_what_takes_a_while(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(slowly)) as sidecar:
        order = await sidecar.order()
        await sidecar.desk.outcome(order)
        kinds = [type(one) for one in await sidecar.desk.reports()]
        assert kinds == [Hello, Accepted, Finished]


@pytest.mark.pitfall_7
async def test_a_silent_command_is_not_reported_accepted(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sh", "-c", "cat; sleep 0.8")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        silent, speaking = await sidecar.order(""), await sidecar.order("I am here")
        await sidecar.desk.outcome(silent)
        await sidecar.desk.outcome(speaking)
        assert await sidecar.desk.accepted(silent.token) == []
        assert len(await sidecar.desk.accepted(speaking.token)) == 1


async def test_its_card_says_how_often_it_beats(server: EmbeddedServer, pool, tmp_path):
    policy = structs.replace(POLICY, beat_offset_s=10.0)
    async with working(server.url, pool, tmp_path, python(at_once), policy=policy) as sidecar:
        assert (await sidecar.desk.hello()).card.beat_s == beat_interval_s("oak", policy)


def test_agents_beat_at_different_moments():
    policy = Policy(beat_s=30, beat_offset_s=10)
    intervals = {beat_interval_s(f"agent-{number}", policy) for number in range(100)}
    assert len(intervals) > 80
    assert all(30 <= interval < 40 for interval in intervals)


async def test_many_tasks_are_each_done_once(server: EmbeddedServer, pool, tmp_path):
    done: list[str] = []

    async def work(task: Task) -> None:
        done.append(task.id)

    async with working(server.url, pool, tmp_path, python(work), slots=300) as sidecar:
        orders = [assign(sidecar.incarnation, str(number)) for number in range(300)]
        pipeline = sidecar.desk.redis.pipeline(transaction=False)
        for order in orders:
            pipeline.xadd(sidecar.desk.orders, {"m": encode(order)})
        await pipeline.execute()

        async def all_done() -> bool:
            return len(results(await sidecar.desk.reports())) >= 300

        await until(all_done)
        assert sorted(done) == sorted(order.task for order in orders)
        assert sorted(one.token for one in await sidecar.desk.reports() if isinstance(one, Finished)) == sorted(
            order.token for order in orders
        )
        assert await sidecar.desk.left() == 0


# ---------------------------------------------------------- what is not started


async def test_an_order_for_an_earlier_start_is_handed_back(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        order = assign("sc-0")
        await sidecar.desk.order(order)
        assert (await sidecar.desk.outcome(order)).outcome.result == "handed_back"
        assert await sidecar.desk.left() == 0


async def test_orders_beyond_the_slots_are_handed_back(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(for_ever), slots=1) as sidecar:
        await sidecar.order()
        others = [await sidecar.order() for _ in range(SPARE_READ * 2)]
        for other in others:
            assert (await sidecar.desk.outcome(other)).outcome.result == "handed_back"


GARBAGE = {
    "empty": b"",
    "no JSON": b"hello",
    "no object": b"[1]",
    "unknown type": b'{"type":"dance","incarnation":"x","task":"t","token":"1.x"}',
    "wrong types": b'{"type":"assign","incarnation":5}',
    "future version": b'{"v":99,"type":"assign","new":"world"}',
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 50_000,
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
async def test_an_order_that_cannot_be_read_is_settled_and_the_next_is_done(
    server: EmbeddedServer, pool, tmp_path, body: bytes
):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        await sidecar.desk.order(body)
        await sidecar.desk.redis.xadd(sidecar.desk.orders, {"other": "field"})
        order = await sidecar.order()
        await sidecar.desk.outcome(order)
        assert (await sidecar.desk.left(), await sidecar.desk.pending()) == (0, [])


UNREADABLE: dict[str, dict[str, Any]] = {
    "a spec of a newer version": {"spec": Raw(b'{"text":"x","from_the_future":1}')},
    "no spec": {"spec": Raw(b"null")},
    "another task's spec": {"spec": Raw(b'{"text":"x","id":"01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"}')},
    "a path as its id": {"task": "../../x", "spec": Raw(b'{"text":"x","id":"../../x"}')},
    "a path as its token": {"token": "1/../../x"},
}


@pytest.mark.parametrize("others", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("kind", ["python", "command"])
async def test_a_task_that_cannot_be_read_fails_and_the_others_go_on(
    server: EmbeddedServer, pool, tmp_path, kind: str, others: dict[str, Any]
):
    runner = python(at_once) if kind == "python" else command(tmp_path / "agent", "sleep", "0.1")
    async with working(server.url, pool, tmp_path / "agent", runner) as sidecar:
        good = await sidecar.order()
        bad = await sidecar.order(**others)
        outcome = (await sidecar.desk.outcome(bad)).outcome
        assert (outcome.result, outcome.reason) == ("failed", "wake_failed")
        assert outcome.detail.startswith("this sidecar cannot read the task")
        assert (await sidecar.desk.outcome(good)).outcome.result == "completed"
        assert not (tmp_path / "x").exists()


class Faulty:
    """A runner with a defect."""

    in_process = True

    async def run(self, job: Job) -> Outcome:
        await anyio.sleep(0.3)
        if job.spec.text == "bad":
            raise RuntimeError("a defect")
        await anyio.sleep(0.3)
        return Outcome("completed")

    async def tidy(self, now_s: float, retention_s: float, keep: Collection[str]) -> None:
        pass

    async def self_test(self) -> str:
        return ""


async def test_a_defect_of_a_runner_fails_its_attempt_alone(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, Faulty()) as sidecar:
        good, bad = await sidecar.order("good"), await sidecar.order("bad")
        outcome = (await sidecar.desk.outcome(bad)).outcome
        assert (outcome.reason, outcome.detail) == ("wake_failed", "RuntimeError: a defect")
        assert (await sidecar.desk.outcome(good)).outcome.result == "completed"


@pytest.mark.pitfall_3
async def test_a_journal_that_cannot_be_written_refuses_work_with_a_reason(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path / "elsewhere", "true")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        runs = tmp_path / "journal" / "runs"
        runs.rmdir()
        runs.write_text("a file where a folder should be")
        first, second = await sidecar.order(), await sidecar.order()
        for order in (first, second):
            outcome = (await sidecar.desk.outcome(order)).outcome
            assert (outcome.result, outcome.reason) == ("handed_back", "unfit")
            assert outcome.detail
        runs.unlink()
        runs.mkdir()

        async def works_again() -> bool:
            return (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"

        await until(works_again)


# ---------------------------------------------------------------------- stop


async def test_stop_ends_the_run_though_all_slots_are_taken(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sleep", "60")
    async with working(server.url, pool, tmp_path, runner, slots=1) as sidecar:
        order = await sidecar.order()
        await until(sidecar.desk.pending)
        started = time.monotonic()
        await sidecar.desk.order(stop(order, "not wanted"))
        outcome = (await sidecar.desk.outcome(order)).outcome
        assert (outcome.result, outcome.reason, outcome.detail) == ("canceled", "canceled", "not wanted")
        assert time.monotonic() - started < 30
        assert await sidecar.desk.left() == 0


async def test_stop_of_what_is_not_here_is_answered(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        order = await sidecar.order()
        await sidecar.desk.outcome(order)
        unknown = Stop(incarnation="sc-0", task=order.task, token="7.unknown")
        await sidecar.desk.order(unknown)
        assert (await sidecar.desk.outcome(unknown)).outcome.result == "lost"
        assert await sidecar.desk.left() == 0


async def test_what_is_stopped_before_it_was_started_is_not_started(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sh", "-c", f"touch {tmp_path}/started")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        order = assign(sidecar.incarnation)
        pipeline = sidecar.desk.redis.pipeline(transaction=True)
        for message in (order, stop(order)):
            pipeline.xadd(sidecar.desk.orders, {"m": encode(message)})
        await pipeline.execute()
        assert (await sidecar.desk.outcome(order)).outcome.result == "canceled"
        assert not (tmp_path / "started").exists()
        assert not (tmp_path / "attempts").exists()
        assert not list((tmp_path / "journal" / "runs").iterdir())


async def test_a_task_over_its_time_limit_is_ended(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sh", "-c", "trap '' TERM; sleep 60 & sleep 60")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        order = await sidecar.order(timeout_s=0.2)
        outcome = (await sidecar.desk.outcome(order)).outcome
        assert (outcome.result, outcome.reason, outcome.detail) == ("failed", "timeout", "not done within 0.2 s")


# --------------------------------------------------------------------- leases


async def test_what_runs_is_renewed(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(for_ever)) as sidecar:
        await sidecar.order()
        await anyio.sleep(POLICY.beat_s * 4)
        [row] = await sidecar.desk.pending()
        assert row["time_since_delivered"] < POLICY.beat_s * 2_000
        assert row["consumer"].decode() == sidecar.incarnation
        assert row["times_delivered"] == 1


@pytest.mark.pitfall_1
async def test_an_order_that_was_claimed_away_is_let_go_without_a_word(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        order = await sidecar.order()
        [row] = await until(sidecar.desk.pending)
        await anyio.sleep(0.2)
        await sidecar.desk.claim_away(row["message_id"])

        async def let_go() -> bool:
            beat = await sidecar.desk.beat()
            return beat is not None and not beat.running and identify(int((tmp_path / "pid").read_text())) is None

        await until(let_go)
        assert await sidecar.desk.finished(order.token) == []
        [row] = await sidecar.desk.pending()
        assert row["consumer"] == b"scheduler"
        assert not list((tmp_path / "journal" / "runs").iterdir())


async def test_an_order_of_which_the_delivery_was_lost_is_found_again(server: EmbeddedServer, pool, tmp_path):
    """It is delivered to this consumer by somebody else's read, which is what a lost reply looks like."""
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        order = assign(sidecar.incarnation)
        pipeline = sidecar.desk.redis.pipeline(transaction=True)
        pipeline.xadd(sidecar.desk.orders, {"m": encode(order)})
        pipeline.xreadgroup(ORDERS_GROUP, sidecar.incarnation, {sidecar.desk.orders: ">"})
        await pipeline.execute()
        await anyio.sleep(POLICY.beat_s * 1.5)
        await sidecar.order("wakes the reading")
        assert (await sidecar.desk.outcome(order)).outcome.result == "completed"


@pytest.mark.pitfall_4
async def test_a_beat_says_what_runs(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(for_ever)) as sidecar:
        order = await sidecar.order()

        async def running() -> object:
            beat = await sidecar.desk.beat()
            return beat if beat is not None and beat.running else None

        beat: Any = await until(running)
        assert beat.running == {order.token: order.task}
        assert (beat.agent, beat.incarnation, beat.state, beat.unsent) == ("oak", sidecar.incarnation, "working", 0)
        ttl_ms = await sidecar.desk.redis.pttl(sidecar.desk.keys.beat("oak"))
        assert 0 < ttl_ms < 60_000


# ---------------------------------------------------------------------- output


async def test_what_an_agent_prints_can_be_read_while_it_runs(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sh", "-c", "echo one; sleep 1; echo two")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        order = await sidecar.order()
        assert await until(lambda: sidecar.desk.output(order.task)) == b"one\n"
        assert await sidecar.desk.finished(order.token) == []
        await sidecar.desk.outcome(order)

        async def whole() -> bool:
            return await sidecar.desk.output(order.task) == b"one\ntwo\n"

        await until(whole)
        assert await sidecar.desk.redis.ttl(sidecar.desk.keys.output(order.task)) > 0


async def test_of_much_output_the_end_is_kept(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo the end")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        order = await sidecar.order()
        await sidecar.desk.outcome(order)

        async def ended() -> bool:
            return (await sidecar.desk.output(order.task)).endswith(b"the end\n")

        await until(ended)
        assert len(await sidecar.desk.output(order.task)) <= POLICY.output_bytes * 2


# -------------------------------------------------------------------- idleness


async def test_an_idle_sidecar_costs_next_to_nothing(own_server: EmbeddedServer, pool, tmp_path):
    async with working(own_server.url, pool, tmp_path, python(at_once), policy=Policy()) as sidecar:
        await anyio.sleep(0.5)

        async def commands() -> int:
            return int((await sidecar.desk.redis.info("stats"))["total_commands_processed"])

        before, cpu_before = await commands(), time.process_time()
        await anyio.sleep(2.5)
        assert time.process_time() - cpu_before < 0.1
        assert await commands() - before - 1 < 2 * 2.5


@pytest.mark.pitfall_3
async def test_a_sidecar_that_is_superseded_stops_and_says_so(server: EmbeddedServer, pool, tmp_path):
    async def be_superseded() -> None:
        async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
            await sidecar.desk.order(assign("sc-9999999999999-1-ffff"))
            with anyio.fail_after(PATIENCE_S):
                await sidecar.ended.wait()

    with pytest.raises(ConfigurationError, match="newer sidecar"):
        await be_superseded()


@pytest.mark.pitfall_1
async def test_what_a_start_with_another_folder_held_may_have_begun_so_it_is_lost(
    server: EmbeddedServer, pool, tmp_path
):
    runner = command(tmp_path / "b", "sh", "-c", "cat")
    async with working(server.url, pool, tmp_path / "a", python(for_ever)) as first:
        order = await first.order()
        await until(first.desk.pending)
        async with working(server.url, pool, tmp_path / "b", runner) as second:
            assert (await second.desk.outcome(order)).outcome.result == "lost"
