"""The sidecar is killed with SIGKILL, in real processes: nothing it had reached is lost, nothing runs on unseen."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentcom.broker.embedded import EmbeddedServer
from agentcom.broker.keys import ORDERS_GROUP
from agentcom.model.codec import encode
from agentcom.model.messages import Finished, Goodbye, Hello
from agentcom.sidecar.journal import Journal
from tests.sidecar.harness import Desk, assign, stop, until
from tests.sidecar.program import Program, lines, lines_of

pytestmark = [pytest.mark.process, pytest.mark.pitfall_3]


async def test_an_outcome_reached_while_redis_was_away_survives_the_sidecars_death(
    own_server: EmbeddedServer, program: Program, desk: Desk, folder: Path, tmp_path: Path
):
    """Two of them: the first is on its way when the second comes up."""
    argv = ("sh", "-c", f"echo $$ >> {tmp_path}/pids; sleep $(cat); echo over >> {tmp_path}/over")
    program.start(*argv)
    incarnation = (await desk.hello()).incarnation
    orders = [assign(incarnation, "0.6"), assign(incarnation, "1.1")]
    for order in orders:
        await desk.order(order)
    await lines(tmp_path / "pids", 2)
    own_server.kill()
    await lines(tmp_path / "over", 2)

    async def noted() -> bool:
        return len(list((folder / "journal" / "outbox").glob("*.json"))) == 2

    await until(noted)
    program.kill()
    own_server.start()
    program.start(*argv)
    for order in orders:
        report = await desk.outcome(order)
        assert (report.outcome.result, report.incarnation) == ("completed", incarnation)
    await desk.hello(2)
    assert (await desk.left(), await desk.pending()) == (0, [])
    assert await lines(tmp_path / "over", 2) == ["over", "over"]


async def test_an_order_that_was_delivered_and_not_started_is_handed_back(program: Program, desk: Desk, folder: Path):
    """It is delivered by hand to an earlier start, which died before it did anything with it."""
    await desk.redis.xgroup_create(desk.orders, ORDERS_GROUP, id="0", mkstream=True)
    order = assign("sc-0000000000001-1-abcd")
    Journal(folder / "journal").began(order.incarnation)
    await desk.order(order)
    await desk.redis.xreadgroup(ORDERS_GROUP, order.incarnation, {desk.orders: ">"})
    program.start("true")
    assert (await desk.outcome(order)).outcome.result == "handed_back"
    assert (await desk.left(), await desk.pending()) == (0, [])


FILES = {
    "completed": ({"exit": "ended 0", "result.json": '{"summary": "all of it"}'}, "completed", "all of it"),
    "failed": ({"exit": "ended 3"}, "failed", ""),
    "killed with its keeper": ({"exit.new": "running 1"}, "lost", ""),
}


@pytest.mark.pitfall_1
@pytest.mark.parametrize(("files", "result", "summary"), FILES.values(), ids=FILES.keys())
async def test_an_order_of_which_a_fail_over_lost_the_end_is_answered_by_what_its_files_say(
    program: Program, desk: Desk, folder: Path, files: dict[str, str], result: str, summary: str
):
    """Its end was said and settled, so nothing is noted of it any more; then Redis fell back to before that."""
    await desk.redis.xgroup_create(desk.orders, ORDERS_GROUP, id="0", mkstream=True)
    order = assign("sc-0000000000001-1-abcd")
    Journal(folder / "journal").began(order.incarnation)
    attempt = folder / "attempts" / f"{order.task}.{order.token}"
    attempt.mkdir(parents=True)
    for name, text in files.items():
        (attempt / name).write_text(text)
    await desk.order(order)
    await desk.redis.xreadgroup(ORDERS_GROUP, order.incarnation, {desk.orders: ">"})
    program.start("true")
    outcome = (await desk.outcome(order)).outcome
    assert (outcome.result, outcome.summary) == (result, summary)
    assert (await desk.left(), await desk.pending()) == (0, [])


async def test_a_function_that_may_have_begun_is_reported_lost(program: Program, desk: Desk):
    program.start()
    order = assign((await desk.hello()).incarnation)
    await desk.order(order)
    await until(desk.pending)
    program.kill()
    program.start()
    assert (await desk.outcome(order)).outcome.result == "lost"


async def test_what_the_scheduler_took_back_from_a_dead_sidecar_is_left_to_it(program: Program, desk: Desk):
    program.start()
    order = assign((await desk.hello()).incarnation)
    await desk.order(order)
    [row] = await until(desk.pending)
    program.kill()
    await desk.claim_away(row["message_id"])
    program.start()
    await desk.hello(2)
    assert await desk.finished(order.token) == []
    assert [row["consumer"] for row in await desk.pending()] == [b"scheduler"]


async def test_orders_and_stops_that_came_while_it_was_dead_are_answered(program: Program, desk: Desk):
    program.start("sleep", "60")
    incarnation = (await desk.hello()).incarnation
    program.kill()
    order, stopped = assign(incarnation), assign(incarnation)
    await desk.order(order)
    await desk.order(stop(stopped))
    await desk.redis.xadd(desk.orders, {"m": b"garbage"})
    program.start("sleep", "60")
    assert (await desk.outcome(order)).outcome.result == "handed_back"
    assert (await desk.outcome(stopped)).outcome.result == "lost"

    async def empty() -> bool:
        return not await desk.left()

    await until(empty)


async def test_a_journal_that_was_damaged_keeps_no_sidecar_from_starting(program: Program, desk: Desk, folder: Path):
    for place in ("runs", "outbox"):
        (folder / "journal" / place).mkdir(parents=True)
        (folder / "journal" / place / "000000000001.json").write_bytes(b"\0" * 100)
    program.start("true")
    hello = await desk.hello()
    order = assign(hello.incarnation)
    await desk.order(order)
    assert (await desk.outcome(order)).outcome.result == "completed"
    assert len(list((folder / "journal").glob("*/*.corrupt"))) == 2
    assert hello.test.problems == ()
    assert hello.test.damage == f"{folder}/journal/outbox/000000000001.corrupt and 1 more"


@pytest.mark.pitfall_1
async def test_killed_again_and_again_it_answers_for_each_order_once(program: Program, desk: Desk, tmp_path: Path):
    """An end may be said twice, never two different ones; and what was completed really ran to its end."""
    argv = ("sh", "-c", f"cat >> {tmp_path}/began; sleep 0.05; echo $AGENTCOM_TASK_ID >> {tmp_path}/over")
    orders: list[Any] = []
    for turn in range(5):
        program.start(*argv)
        incarnation = (await desk.hello(turn + 1)).incarnation
        orders += [assign(incarnation, f"{turn}\n") for _ in range(2)]
        for order in orders[-2:]:
            await desk.redis.xadd(desk.orders, {"m": encode(order)})
        await anyio.sleep(0.06 * turn)
        program.kill()
    program.start(*argv)
    await desk.hello(6)
    for order in orders:
        reports = await until(partial(desk.finished, order.token))
        assert len(reports) <= 2
        assert all(report == reports[0] for report in reports)
        assert reports[0].outcome.result in ("completed", "lost", "handed_back")
    completed = {one.task for one in await desk.reports() if isinstance(one, Finished) and not one.outcome.reason}
    assert completed <= set(lines_of(tmp_path / "over"))
    assert (await desk.left(), await desk.pending()) == (0, [])
    assert await program.stop() == 0
    said = await desk.reports()
    assert any(isinstance(one, Goodbye) for one in said)
    assert len({one.incarnation for one in said if isinstance(one, Hello)}) == 6
