"""A sidecar is killed while its agent works: the next one goes on with it, and says truly how it ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from agentcom.broker.keys import ORDERS_GROUP
from agentcom.model.codec import encode
from agentcom.model.messages import Assign, Finished
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity, identify
from agentcom.sidecar.journal import Journal, RunNote
from tests.sidecar.bench import gone, written
from tests.sidecar.harness import Desk, assign, stop, until
from tests.sidecar.program import Program, lines, lines_of, runs_of

pytestmark = [pytest.mark.process, pytest.mark.pitfall_3]

DONE = Outcome("completed", summary="noted before the crash")
OTHER = ("sh", "-c", "echo this is the next start's command, which adopts and does not start anew; exit 9")


async def note_of(folder: Path, *, with_process: bool = True) -> RunNote:
    """What the journal says of the one run, as soon as there is one."""

    async def noted() -> RunNote | None:
        runs = [one for one in runs_of(folder) if one.process is not None or not with_process]
        return runs[0] if runs else None

    note: RunNote = await until(noted)
    return note


async def begun(program: Program, desk: Desk, folder: Path, script: str, **order: Any) -> tuple[Assign, RunNote]:
    """A sidecar that works on one order, and is killed."""
    program.start("sh", "-c", script)
    ordered = assign((await desk.hello()).incarnation, **order)
    await desk.order(ordered)
    note = await note_of(folder)
    return ordered, note


def end_what_runs(note: RunNote, number: int = 9) -> None:
    """End an attempt with its keeper, behind the back of any sidecar."""
    assert note.process is not None
    os.killpg(note.process.pid, number)
    assert gone(note.process.pid)


async def settled(desk: Desk, folder: Path) -> None:
    async def all_settled() -> bool:
        return (await desk.left(), await desk.pending(), runs_of(folder)) == (0, [], [])

    await until(all_settled)


async def renewed(desk: Desk, incarnation: str) -> None:
    """The one order is this sidecar's, and its lease is renewed."""
    before_ms = 0

    async def fresher() -> bool:
        nonlocal before_ms
        [row] = await desk.pending()
        assert row["consumer"].decode() == incarnation
        idle_ms = row["time_since_delivered"]
        was_ms, before_ms = before_ms, idle_ms
        return bool(idle_ms < was_ms)

    await until(fresher)


@pytest.mark.pitfall_1
async def test_the_work_of_a_killed_sidecar_goes_on_and_is_done_once(
    program: Program, desk: Desk, folder: Path, tmp_path: Path
):
    working = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    script = f"echo $$ >> {tmp_path}/began; echo hello; {working}; echo done >> {tmp_path}/effects; exit 0"
    order, note = await begun(program, desk, folder, script)
    await lines(tmp_path / "began")
    program.kill()
    await anyio.sleep(0.2)
    assert note.process is not None
    assert identify(note.process.pid) == note.process
    program.start(*OTHER)
    newer = (await desk.hello(2)).incarnation

    async def named() -> bool:
        beat = await desk.beat()
        return beat is not None and beat.incarnation == newer and beat.running == {order.token: order.task}

    async def accepted() -> bool:
        """There is output, so it lives."""
        return bool(await desk.accepted(order.token))

    await until(named)
    await renewed(desk, newer)
    await until(accepted)
    assert lines_of(tmp_path / "effects") == []
    (tmp_path / "go").touch()
    report = await desk.outcome(order)
    assert (report.outcome.result, report.outcome.exit_code) == ("completed", 0)
    assert (report.token, report.incarnation) == (order.token, newer)
    assert (len(lines_of(tmp_path / "began")), lines_of(tmp_path / "effects")) == (1, ["done"])
    await settled(desk, folder)


async def test_it_goes_on_over_any_number_of_starts(program: Program, desk: Desk, folder: Path, tmp_path: Path):
    script = f"sleep 4; echo done >> {tmp_path}/effects"
    order, _ = await begun(program, desk, folder, script)
    for turn in range(3):
        program.kill()
        program.start(*OTHER)
        await anyio.sleep(0.35 * turn)  # somewhere in its start, in its adopting, and after it
    report = await desk.outcome(order)
    assert report.outcome.result == "completed"
    assert lines_of(tmp_path / "effects") == ["done"]
    await settled(desk, folder)


ENDS = {
    "well": ("exit 0", "completed", "", 0),
    "with a result": ("""echo '{"summary": "all of it"}' > $AGENTCOM_RESULT_FILE""", "completed", "", 0),
    "badly": ("echo broken; exit 3", "failed", "exit_code", 3),
    "like a signal, but not by one": ("exit 137", "failed", "exit_code", 137),
    "by a signal": ("kill -9 $$", "failed", "exit_code", -9),
}


@pytest.mark.parametrize(("ending", "result", "reason", "code"), ENDS.values(), ids=ENDS.keys())
async def test_what_ended_while_no_sidecar_watched_is_reported_as_it_ended(
    program: Program, desk: Desk, folder: Path, tmp_path: Path, ending: str, result: str, reason: str, code: int
):
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; {ending}"
    order, note = await begun(program, desk, folder, script)
    program.kill()
    (tmp_path / "go").touch()
    assert note.process is not None
    assert gone(note.process.pid)
    program.start(*OTHER)
    outcome = (await desk.outcome(order)).outcome
    assert (outcome.result, outcome.reason, outcome.exit_code) == (result, reason, code)
    assert outcome.summary == ("all of it" if "summary" in ending else "")
    await settled(desk, folder)


async def test_what_was_killed_while_no_sidecar_watched_is_lost(program: Program, desk: Desk, folder: Path):
    order, note = await begun(program, desk, folder, "echo hello; sleep 60")
    program.kill()
    end_what_runs(note)
    program.start(*OTHER)
    outcome = (await desk.outcome(order)).outcome
    assert (outcome.result, outcome.detail) == ("lost", "its process ended while no sidecar watched")
    await settled(desk, folder)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


async def test_a_stranger_with_its_pid_is_not_taken_for_it_and_not_ended(
    program: Program, desk: Desk, folder: Path, stranger: subprocess.Popen[bytes]
):
    order, note = await begun(program, desk, folder, "sleep 60")
    program.kill()
    end_what_runs(note)
    assert note.process is not None
    Journal(folder / "journal").started(replace(note, process=ProcessIdentity(stranger.pid, note.process.started)))
    program.start(*OTHER)
    assert (await desk.outcome(order)).outcome.result == "lost"
    assert stranger.poll() is None


@pytest.mark.pitfall_1
async def test_what_was_reclaimed_meanwhile_is_ended_and_nothing_is_said(
    program: Program, desk: Desk, folder: Path, tmp_path: Path
):
    order, _ = await begun(program, desk, folder, f"echo $$ > {tmp_path}/pid; sleep 60")
    await written(tmp_path / "pid")
    [row] = await until(desk.pending)
    program.kill()
    await desk.claim_away(row["message_id"])
    program.start(*OTHER)
    await desk.hello(2)
    assert gone(int((tmp_path / "pid").read_text()))
    assert await desk.finished(order.token) == []
    assert [row["consumer"] for row in await desk.pending()] == [b"scheduler"]
    assert runs_of(folder) == []


async def test_what_was_reclaimed_meanwhile_but_had_completed_is_reported_late_and_not_settled(
    program: Program, desk: Desk, folder: Path, tmp_path: Path
):
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"
    order, note = await begun(program, desk, folder, script)
    [row] = await until(desk.pending)
    program.kill()
    (tmp_path / "go").touch()
    assert note.process is not None
    assert gone(note.process.pid)
    await desk.claim_away(row["message_id"])
    program.start(*OTHER)
    assert (await desk.outcome(order)).outcome.result == "completed"
    assert [row["consumer"] for row in await desk.pending()] == [b"scheduler"]


@pytest.mark.pitfall_1
async def test_an_outcome_in_the_outbox_wins(program: Program, desk: Desk, folder: Path):
    order, note = await begun(program, desk, folder, "sleep 60")
    program.kill()
    end_what_runs(note)
    said = Finished(agent="oak", incarnation="sc-1", task=order.task, token=order.token, outcome=DONE)
    Journal(folder / "journal").queued([note.entry], [encode(said)])
    program.start(*OTHER)
    assert (await desk.outcome(order)).outcome == DONE
    await settled(desk, folder)
    await anyio.sleep(0.3)
    assert len(await desk.finished(order.token)) == 1


async def test_killed_between_the_note_and_the_start_it_hands_back_what_never_began(
    program: Program, desk: Desk, folder: Path
):
    """The order is delivered to an earlier start by hand, which noted it and did no more."""
    await desk.redis.xgroup_create(desk.orders, "sidecar", id="0", mkstream=True)
    order = assign("sc-0000000000001-1-abcd")
    entry = await desk.order(order)
    await desk.redis.xreadgroup("sidecar", order.incarnation, {desk.orders: ">"})
    journal = Journal(folder / "journal")
    journal.began(order.incarnation)
    journal.started(RunNote(entry, order, int(time.time() * 1000)))
    program.start(*OTHER)
    outcome = (await desk.outcome(order)).outcome
    assert (outcome.result, outcome.reason) == ("handed_back", "handed_back")
    await settled(desk, folder)


@pytest.mark.parametrize("damage", ["no process", "unreadable"])
async def test_killed_before_its_process_was_noted_it_finds_it_by_its_mark(
    program: Program, desk: Desk, folder: Path, tmp_path: Path, damage: str
):
    """So it does if the note was damaged: the order says whose files to look for."""
    working = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    script = f"echo $$ >> {tmp_path}/began; {working}; echo done >> {tmp_path}/effects; exit 7"
    order, note = await begun(program, desk, folder, script)
    await lines(tmp_path / "began")
    program.kill()
    if damage == "no process":
        Journal(folder / "journal").started(replace(note, process=None))
    else:
        (folder / "journal" / "runs" / f"{note.entry}.json").write_bytes(b"\0\0\0")
    program.start(*OTHER)
    assert (await note_of(folder)).process == note.process
    (tmp_path / "go").touch()
    outcome = (await desk.outcome(order)).outcome
    assert (outcome.result, outcome.exit_code) == ("failed", 7)
    assert (len(lines_of(tmp_path / "began")), lines_of(tmp_path / "effects")) == (1, ["done"])


async def test_its_time_limit_goes_on(program: Program, desk: Desk, folder: Path, tmp_path: Path):
    script = f"echo $$ > {tmp_path}/pid; sleep 60"
    order, note = await begun(program, desk, folder, script, timeout_s=3_600.0)
    program.kill()
    Journal(folder / "journal").started(replace(note, since_at=note.since_at - 3_600_000))
    program.start(*OTHER)
    outcome = (await desk.outcome(order)).outcome
    assert (outcome.result, outcome.reason) == ("failed", "timeout")
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("how", ["canceled", "handed back"])
async def test_what_was_adopted_can_be_ended_with_all_that_it_started(
    program: Program, desk: Desk, folder: Path, tmp_path: Path, how: str
):
    order, _ = await begun(program, desk, folder, f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    await written(tmp_path / "pid")
    program.kill()
    program.start(*OTHER)
    await desk.hello(2)
    if how == "canceled":
        await desk.order(stop(order))
    else:
        assert await program.stop() == 0
    outcome = (await desk.outcome(order)).outcome
    assert outcome.result == ("canceled" if how == "canceled" else "handed_back")
    assert gone(int((tmp_path / "pid").read_text()), 0)


STUBBORN = "trap 'echo asked >> $0/asked' TERM; echo $$ > $0/pid; while :; do sleep 0.05; done"


@pytest.mark.pitfall_4
@pytest.mark.parametrize("noted", [True, False])
async def test_a_stop_holds_also_if_the_sidecar_is_killed_before_the_agent_has_ended(
    program: Program, desk: Desk, folder: Path, tmp_path: Path, noted: bool
):
    order, note = await begun(program, desk, folder, STUBBORN.replace("$0", str(tmp_path)))
    await written(tmp_path / "pid")
    await desk.order(stop(order))
    await lines(tmp_path / "asked")
    program.kill()
    pid = int((tmp_path / "pid").read_text())
    assert identify(pid) is not None, "it was killed within the grace"
    if not noted:
        Journal(folder / "journal").started(replace(note, process=None))
    program.start(*OTHER)
    assert (await desk.outcome(order)).outcome.result == "canceled"
    assert gone(pid, 0)
    await settled(desk, folder)


@pytest.mark.pitfall_4
async def test_a_stop_that_came_while_no_sidecar_watched_ends_what_is_adopted(
    program: Program, desk: Desk, folder: Path, tmp_path: Path
):
    order, _ = await begun(program, desk, folder, STUBBORN.replace("$0", str(tmp_path)))
    await written(tmp_path / "pid")
    program.kill()
    await desk.order(stop(order))
    program.start(*OTHER)
    assert (await desk.outcome(order)).outcome.result == "canceled"
    assert gone(int((tmp_path / "pid").read_text()), 0)
    await settled(desk, folder)


async def test_what_an_adopted_agent_completes_while_it_is_being_ended_counts(
    program: Program, desk: Desk, folder: Path, tmp_path: Path
):
    end = """end() { echo '{"summary": "all of it"}' > $AGENTCOM_RESULT_FILE; exit 0; }; trap end TERM"""
    script = f"{end}; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    order, _ = await begun(program, desk, folder, script)
    await written(tmp_path / "pid")
    program.kill()
    program.start(*OTHER)
    await desk.hello(2)
    assert await program.stop() == 0
    outcome = (await desk.outcome(order)).outcome
    assert (outcome.result, outcome.summary) == ("completed", "all of it")


@pytest.mark.pitfall_1
async def test_what_is_adopted_goes_on_also_if_it_was_ordered_by_two_entries(
    program: Program, desk: Desk, folder: Path, tmp_path: Path
):
    script = f"echo $$ >> {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    order, _ = await begun(program, desk, folder, script)
    await lines(tmp_path / "began")
    program.kill()
    await desk.order(order)
    await desk.redis.xreadgroup(ORDERS_GROUP, order.incarnation, {desk.orders: ">"})
    program.start(*OTHER)
    await desk.hello(2)
    (tmp_path / "go").touch()
    assert (await desk.outcome(order)).outcome.result == "completed"
    assert len(lines_of(tmp_path / "began")) == 1
    await settled(desk, folder)


async def test_its_output_goes_on_where_the_last_beat_was(program: Program, desk: Desk, folder: Path, tmp_path: Path):
    script = f"for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; touch {tmp_path}/told; sleep 2; echo the end"
    order, _ = await begun(program, desk, folder, script)

    async def noted_so_far() -> bool:
        return (tmp_path / "told").exists() and (await note_of(folder)).offset == len("line 1\n") * 5

    await until(noted_so_far)
    program.kill()
    program.start(*OTHER)
    await desk.outcome(order)
    wanted = b"".join(b"line %d\n" % number for number in range(1, 6)) + b"the end\n"

    async def whole() -> bool:
        return await desk.output(order.task) == wanted

    await until(whole)
