"""What the demonstration accepts as well ended, what it tells of the kill, and how it looks."""

import io
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

from agentcom.demo.screen import View, change_line, live, summary
from agentcom.demo.story import Change, Ending, Kill, Suite, differences, of_the_kill
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.messages import Line
from agentcom.model.task import Attempt, Outcome, ReadRecord, Result, TaskRecord, TaskSpec

KILL = Kill("oak", 10_000)


def attempt(generation: int, agent: str, result: Result, reason: str = "", summary: str = "") -> Attempt:
    return Attempt(
        generation, f"{generation}.a", agent, "sc-1", 2_000, outcome=Outcome(result, reason, summary=summary)
    )


def record(id_: str, *attempts: Attempt, **changed: Any) -> ReadRecord:
    made: dict[str, Any] = {"state": "completed", "submitted_at": 1_000, "changed_at": 5_000, "ended_at": 5_000}
    spec = TaskSpec(id=id_, text="do it")
    return TaskRecord(spec=spec, seq=1, attempts=attempts, generation=len(attempts), **(made | changed))


GOOD = Ending(
    records={
        "format": record("t1", attempt(1, "birch", "completed", summary="Formatted.")),
        "rounding": record("t2", attempt(1, "oak", "failed", "exit_code"), attempt(2, "cedar", "completed")),
        "invariants": record("t3", attempt(1, "oak", "lost", "lost"), attempt(2, "cedar", "completed")),
    },
    changes={slug: Change(1, 2, 30, 4) for slug in ("format", "rounding", "invariants")},
    kill=KILL,
    before=Suite(passed=16, failed=9),
    after=Suite(passed=134, failed=0),
)


def with_record(slug: str, changed: ReadRecord) -> Ending:
    return Ending({**GOOD.records, slug: changed}, GOOD.changes, GOOD.kill, GOOD.before, GOOD.after)


def test_an_ending_in_which_all_went_as_planned_differs_in_nothing() -> None:
    assert differences(GOOD) == []


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (
            with_record("format", record("t1", state="failed", reason="lost", detail="gone")),
            "format is failed (lost: gone), not completed",
        ),
        (with_record("format", record("t1", state="queued")), "format is queued, not completed"),
        (
            with_record("rounding", record("t2", attempt(1, "oak", "completed"))),
            "the attempts at rounding ended completed, not failed, completed",
        ),
        (
            with_record("invariants", record("t3", attempt(1, "oak", "completed"))),
            "invariants was not reclaimed from oak",
        ),
        (
            with_record("invariants", record("t3", attempt(1, "oak", "lost"), attempt(2, "oak", "completed"))),
            "invariants was not completed by another agent than oak",
        ),
        (
            Ending(GOOD.records, GOOD.changes, None, GOOD.before, GOOD.after),
            "nobody was killed: invariants was never seen half-way",
        ),
        (
            Ending(GOOD.records, {**GOOD.changes, "format": Change(2, 1, 1, 1)}, KILL, GOOD.before, GOOD.after),
            "format has 2 commits on main, not 1",
        ),
        (
            Ending(GOOD.records, {"format": GOOD.changes["format"]}, KILL, GOOD.before, GOOD.after),
            "rounding has 0 commits on main, not 1",
        ),
        (
            Ending(GOOD.records, GOOD.changes, KILL, GOOD.before, Suite(133, 1)),
            "the project's tests do not pass now: 1 failed, 133 passed",
        ),
        (
            Ending(GOOD.records, GOOD.changes, KILL, GOOD.before, Suite(0, 0)),
            "the project's tests do not pass now: all 0 passed",
        ),
        (
            Ending(GOOD.records, GOOD.changes, KILL, Suite(16, 0), GOOD.after),
            "the project's tests passed before anything was done",
        ),
    ],
)
def test_each_difference_is_named(ending: Ending, expected: str) -> None:
    assert expected in differences(ending)


def test_of_the_kill_only_the_agent_and_what_was_reclaimed_from_it_is_told() -> None:
    lines = [
        Line(9_000, "task", "match", "queued", "assigned", "t3", 1, "oak"),
        Line(10_500, "task", "finished", "working", "completed", "t1", 1, "birch"),
        Line(13_000, "agent", "silence", "online", "stale", agent="oak"),
        Line(13_100, "agent", "beat", "stale", "online", agent="birch"),
        Line(13_200, "task", "reclaim", "working", "queued", "t3", 1, "oak", "lost", "the order was reclaimed"),
        Line(13_250, "task", "match", "queued", "assigned", "t3", 2, "cedar"),
        Line(20_000, "task", "finished", "working", "completed", "t3", 2, "cedar"),
    ]
    assert of_the_kill(lines, KILL, {"t3": "invariants"}) == [
        (3.0, "agent oak: online → stale (silence)"),
        (3.2, "invariants attempt 1: working → queued, the order was reclaimed"),
        (3.25, "invariants attempt 2: queued → assigned (match, cedar)"),
        (10.0, "invariants attempt 2: working → completed (finished, cedar)"),
    ]


def shown(what: RenderableType, width: int = 110) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(what)
    return stream.getvalue()


def test_the_summary_has_a_row_for_each_task_the_kill_and_the_verdict() -> None:
    text = shown(summary(GOOD, [(3.0, "agent oak: online → stale (silence)")], [], 25.4))
    rows = [line.split() for line in text.splitlines()]
    assert ["format", "completed", "birch", "1", "3.0", "s", "2", "files,", "+30", "-4"] in rows
    assert any(row[:7] == ["rounding", "completed", "cedar", "2", "(failed", "first)", "3.0"] for row in rows)
    assert "+3.0 s  agent oak: online → stale (silence)" in text
    assert "The project's own tests: 9 failed, 16 passed; now all 134 passed" in text
    assert text.rstrip().endswith("Every task ended as it should, in 25 s.")


def test_the_summary_of_what_went_wrong_names_each_difference() -> None:
    ending = with_record("format", record("t1", state="queued"))
    text = shown(summary(ending, [], ["format is queued, not completed"], 61.0))
    assert "Not as it should be, after 61 s:\n  format is queued, not completed" in text
    assert "Every task" not in text


def test_the_live_view_fits_a_narrow_terminal_and_tells_each_tasks_latest_words() -> None:
    view = View(
        elapsed_s=12.3,
        slugs=["format", "invariants", "readme", "later", "again"],
        records={
            "format": GOOD.records["format"],
            "invariants": record("t3", attempt(1, "oak", "lost"), state="working"),
            "readme": record("t4", state="blocked"),
            "again": record("t5", attempt(1, "elm", "failed"), state="queued", reason="exit_code", detail="1"),
        },
        agents=[
            AgentRecord(name="birch", incarnation="i", card=Card(slots=2), running={"1.a": "t1"}),
            AgentRecord(name="oak", incarnation="i", card=Card(), link="stale"),
        ],
        after={"readme": ("docstrings",)},
        words={"invariants": "soak: 3 of 7 s " + "x" * 200},
        kill=KILL,
        milestones=[(10.0, "SIGKILL for oak")],
    )
    text = shown(live(view), width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    for words in (
        "12 s   5 tasks: 1 blocked, 1 completed, 1 queued, 1 working",
        "Formatted.",
        "soak: 3 of 7 s",
        "after docstrings",
        "exit_code: 1",
        "● birch 1/2",
        "◌ oak killed, stale",
        "10.0 s  SIGKILL for oak",
    ):
        assert words in text
    assert "not noticed yet" in shown(live(View(0, [], agents=[replace(view.agents[1], link="online")], kill=KILL)))


def test_without_a_terminal_each_change_is_a_line() -> None:
    assert change_line("format", GOOD.records["format"]) == "format           completed  birch        Formatted."
    waiting = record("t5", attempt(1, "elm", "failed"), state="queued", reason="exit_code", detail="1")
    assert change_line("again", waiting) == "again            queued                  exit_code: 1"
    second = GOOD.records["invariants"]
    assert change_line("invariants", second) == "invariants       completed  cedar  try 2"
