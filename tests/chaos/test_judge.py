"""The judge of the chaos runs is judged: it finds nothing in a good run, and each broken promise in a doctored one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.chaos.evidence import (
    Attempt,
    Evidence,
    Forgery,
    KeyFound,
    Line,
    Look,
    Outcome,
    Record,
    Rules,
    Run,
    Span,
    Spec,
    Submission,
)
from tests.chaos.judge import FORGED, LATE_MS, RULES, fenced_overlaps, judge

RULES_OF_RUN = Rules(max_attempts=2, max_handbacks=1, slots={"elm": 1, "oak": 1}, silence_ms=5_000, settle_ms=60_000)

Doctor = Callable[[Evidence], Evidence]


def step(at: int, task: str, before: str, after: str, trigger: str, generation: int = 0, **more: str) -> Line:
    return Line(at, "task", trigger, before, after, task, generation, **{"agent": "oak", **more})


def a_good_run() -> Evidence:
    """`a` completes at its second attempt, after its first was reclaimed; `b` is canceled, sent back, and fails."""
    return Evidence(
        rules=RULES_OF_RUN,
        lines=[
            step(100, "a", "submitted", "queued", "submit", agent=""),
            step(110, "a", "queued", "assigned", "match", 1),
            step(120, "b", "submitted", "queued", "submit", agent=""),
            step(130, "b", "queued", "canceled", "cancel", reason="canceled"),
            step(900, "a", "assigned", "working", "accepted", 1),
            step(6_000, "a", "working", "queued", "reclaim", 1, reason="lost"),
            step(6_000, "a", "queued", "assigned", "match", 2, agent="elm"),
            step(7_000, "a", "assigned", "completed", "finished", 2, agent="elm"),
            step(7_100, "b", "canceled", "queued", "retry"),
            step(7_100, "b", "queued", "assigned", "match", 1, agent="elm"),
            step(7_500, "b", "assigned", "queued", "finished", 1, agent="elm", reason="handed_back"),
            step(7_500, "b", "queued", "assigned", "match", 2, agent="elm"),
            step(7_900, "b", "assigned", "retry_wait", "finished", 2, agent="elm", reason="exit_code"),
            step(8_000, "b", "retry_wait", "queued", "retry_due", 2, agent="elm"),
            step(8_000, "b", "queued", "assigned", "match", 3, agent="elm"),
            step(8_400, "b", "assigned", "failed", "finished", 3, agent="elm", reason="exit_code"),
            Line(8_500, "refused", "report", task="a", entry="8500-0"),
        ],
        records={
            "a": Record(
                "completed",
                2,
                (
                    Attempt(1, "1.x", "oak", 110, 6_000, Outcome("lost", "lost")),
                    Attempt(2, "2.y", "elm", 6_000, 7_000, Outcome("completed")),
                ),
            ),
            "b": Record(
                "failed",
                3,
                (
                    Attempt(1, "1.z", "elm", 7_100, 7_500, Outcome("handed_back", "handed_back")),
                    Attempt(2, "2.z", "elm", 7_500, 7_900, Outcome("failed", "exit_code")),
                    Attempt(3, "3.z", "elm", 8_000, 8_400, Outcome("failed", "exit_code")),
                ),
                "exit_code",
            ),
        },
        submissions=[Submission("a", 98, 99), Submission("b", 118, 119)],
        runs=[
            Run("a", "1.x", "oak", 10, 150, 9_000),
            Run("a", "2.y", "elm", 11, 6_050, 6_950, 6_940, 0),
            Run("b", "2.z", "elm", 12, 7_550, 7_850, 7_850, 1),
            Run("b", "3.z", "elm", 13, 8_050, 8_350, 8_350, 1),
        ],
        looks=[Look(500, {"oak": ["1.x"]}, {"oak": ["1.x"]}), Look(6_500, {"elm": ["2.y"]}, {"elm": ["2.y"]})],
        forgeries=[Forgery("a", "1.x", "8500-0", 8_500)],
        disturbances=[Span(800, 5_500, "oak")],
        settled_ms=4_000,
        keys=[KeyFound("head", -1), KeyFound("task:a", 900), KeyFound("beat:oak", 900), KeyFound("leader", 10)],
        known_keys=["head", "leader", "task:*", "beat:*"],
    )


def with_lines(*lines: Line) -> Doctor:
    return lambda good: replace(good, lines=[*good.lines, *lines])


def without_line(place: int) -> Doctor:
    return lambda good: replace(good, lines=[line for at, line in enumerate(good.lines) if at != place])


def changed_line(place: int, **changes: object) -> Doctor:
    def doctor(good: Evidence) -> Evidence:
        lines = list(good.lines)
        lines[place] = replace(lines[place], **changes)
        return replace(good, lines=lines)

    return doctor


def changed_record(task: str, **changes: object) -> Doctor:
    return lambda good: replace(good, records={**good.records, task: replace(good.records[task], **changes)})


def changed_attempt(task: str, place: int, **changes: object) -> Doctor:
    def doctor(good: Evidence) -> Evidence:
        attempts = list(good.records[task].attempts)
        attempts[place] = replace(attempts[place], **changes)
        return changed_record(task, attempts=tuple(attempts))(good)

    return doctor


def handed_back(at: int) -> Line:
    return step(at, "c", "assigned", "queued", "finished", 1, reason="handed_back")


def fresh_waits(priority: str = "normal", agent: str = "") -> Doctor:
    """A task that was never tried waits while `b` is tried again."""

    def doctor(good: Evidence) -> Evidence:
        waits = step(7_950, "c", "submitted", "queued", "submit", agent="")
        lines = [*good.lines[:13], waits, *good.lines[13:], step(9_000, "c", "queued", "canceled", "cancel", agent="")]
        records = {**good.records, "c": Record("canceled", spec=Spec(priority, agent))}
        return replace(good, lines=lines, records=records)

    return doctor


def with_runs(*runs: Run) -> Doctor:
    return lambda good: replace(good, runs=[*good.runs, *runs])


def changed_run(place: int, **changes: object) -> Doctor:
    def doctor(good: Evidence) -> Evidence:
        runs = list(good.runs)
        runs[place] = replace(runs[place], **changes)
        return replace(good, runs=runs)

    return doctor


def with_(**changes: object) -> Doctor:
    return lambda good: replace(good, **changes)


BROKEN: dict[str, tuple[str, Doctor]] = {
    "a task completes twice": (
        "one outcome",
        with_lines(step(9_000, "a", "working", "completed", "finished", 2)),
    ),
    "a completed task is left, even by a person": (
        "one outcome", with_lines(step(9_000, "a", "completed", "queued", "retry", 2))
    ),
    "a failed task comes back by itself": (
        "one outcome", with_lines(step(9_000, "b", "failed", "queued", "reclaim", 3))
    ),
    "a canceled task comes back by itself": ("one outcome", changed_line(8, trigger="finished")),
    "two attempts of a task count as completed": (
        "one outcome", changed_attempt("a", 0, outcome=Outcome("completed"))
    ),
    "the journal jumps over a state": ("unbroken journal", without_line(4)),
    "the journal begins in the middle": ("unbroken journal", without_line(0)),
    "an attempt's number is skipped": ("unbroken journal", changed_line(6, generation=3)),
    "an attempt's number comes back": ("unbroken journal", changed_line(7, generation=1)),
    "record and journal differ": ("unbroken journal", changed_record("b", state="canceled")),
    "a task of the journal has no record": ("unbroken journal", lambda good: replace(good, records={})),
    "a record was never journalled": (
        "unbroken journal", lambda good: replace(good, records={**good.records, "c": Record("completed")})
    ),
    "an acknowledged task is gone": ("nothing lost", with_(submissions=[Submission("c", 4, 5)])),
    "a task never ends": ("nothing lost", changed_record("a", state="queued")),
    "a task fails without a reason": ("nothing lost", changed_record("b", reason="")),
    "a journal entry vanishes": ("nothing vanished", with_(vanished=[4_000])),
    "a stale report is not journalled": ("stale changes nothing", without_line(16)),
    "a forged outcome is taken": (
        "stale changes nothing", changed_attempt("b", 2, outcome=Outcome("failed", "exit_code", FORGED))
    ),
    "what is assigned is assigned again": (
        "one assignment", with_lines(step(9_000, "c", "working", "assigned", "match", 2))
    ),
    "two attempts overlap in the record": ("one assignment", changed_attempt("a", 1, assigned_at=5_999)),
    "an attempt never ended, and another began": ("one assignment", changed_attempt("a", 0, ended_at=0)),
    "an agent is given more than its slots": (
        "slots kept", with_lines(*(step(9_000, task, "queued", "assigned", "match", 1) for task in "cd"))
    ),
    "an agent's record has more than its slots": ("slots kept", with_(looks=[Look(1, {"oak": ["1.x", "1.y"]}, {})])),
    "a stream has more orders than slots": ("slots kept", with_(looks=[Look(1, {}, {"oak": ["1.x", "1.y"]})])),
    "an agent runs more than its slots": ("slots kept", with_runs(Run("c", "1.c", "oak", 20, 8_999, 9_500))),
    "an undisturbed agent is reclaimed from": ("live left alone", with_(disturbances=[Span(0, 9_000, "elm")])),
    "a disturbance is long over": ("live left alone", with_(disturbances=[Span(0, 900, "oak")])),
    "an agent hands back without end": ("no storm", with_lines(*(handed_back(9_000 + 49 * n) for n in range(20)))),
    "an attempt runs that no record knows": ("counted before run", changed_run(2, token="2.other")),
    "an attempt runs that was never journalled": ("counted before run", changed_line(11, generation=9)),
    "an attempt runs twice": ("counted before run", with_runs(Run("b", "3.z", "elm", 20, 9_000, 9_100))),
    "a task has more attempts than its cap": (
        "cap kept",
        with_lines(
            step(9_000, "b", "retry_wait", "queued", "retry_due", 3),
            step(9_000, "b", "queued", "assigned", "match", 4),
        ),
    ),
    "hand-backs are free without end": ("cap kept", with_(rules=replace(RULES_OF_RUN, max_handbacks=0))),
    "what was reported over runs on": ("over when reported", changed_run(2, alive_at=8_200)),
    "a completed task never ran": (
        "completed really ran", lambda good: replace(good, runs=[good.runs[0], *good.runs[2:]])
    ),
    "what failed goes before what was never tried": ("fresh first", fresh_waits()),
    "what failed goes before what is more urgent": ("fresh first", fresh_waits("urgent")),
    "what failed goes before what only its agent can do": ("fresh first", fresh_waits(agent="elm")),
    "a completed task ended badly": ("completed really ran", changed_run(1, code=1)),
    "a completed task was ended before its end": ("completed really ran", changed_run(1, code=None, ended_at=0)),
    "a completed task has no completed attempt": (
        "completed really ran", changed_attempt("a", 1, outcome=Outcome("lost"))
    ),
    "it never settles": ("settled", with_(settled_ms=None)),
    "it settles too late": ("settled", with_(settled_ms=60_001)),
    "an order is left over": ("settled", with_(unsettled=["orders:oak has 1 entries"])),
    "a daemon is left running": ("settled", with_(left_running=["sleep 300"])),
    "a program ends by itself": ("programs stayed", with_(exits=["oak ended by itself with 1"])),
    "a key has no owner": ("keys bounded", with_(keys=[KeyFound("surprise", 10)])),
    "an ended task is kept for ever": ("keys bounded", with_(keys=[KeyFound("task:a", -1)])),
    "a beat is kept for ever": ("keys bounded", with_(keys=[KeyFound("beat:oak", -1)])),
}  # fmt: skip


def test_a_good_run_has_no_violation() -> None:
    assert judge(a_good_run()) == []


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_found(what: str) -> None:
    rule, doctor = BROKEN[what]
    assert rule in {violation.rule for violation in judge(doctor(a_good_run()))}


def test_every_rule_can_be_broken() -> None:
    assert {rule for rule, _ in BROKEN.values()} == set(RULES)


# ------------------------------------------------------------- what is excused

EXCUSED: dict[str, Doctor] = {
    "an acknowledged task": with_(submissions=[Submission("c", 4_990, 5_000)]),
    "a journal entry": with_(vanished=[5_000]),
    "the assignment of what runs": with_runs(Run("b", "7.q", "oak", 20, 9_100, 9_200)),
    "the delivery of what ran, and so runs again": with_runs(Run("b", "3.z", "elm", 20, 9_000, 9_100)),
    "a stale report": lambda good: replace(without_line(16)(good), forgeries=[Forgery("a", "1.x", "1-0", 5_000)]),
}


@pytest.mark.parametrize("what", EXCUSED)
def test_a_store_that_lost_writes_may_have_lost(what: str) -> None:
    losing = replace(EXCUSED[what](a_good_run()), losses=[Span(4_500, 5_500)])
    assert judge(losing) == []


@pytest.mark.parametrize("what", EXCUSED)
def test_nothing_is_excused_before_or_long_after_a_loss(what: str) -> None:
    for loss in (Span(9_500, 9_900), Span(-LATE_MS, -LATE_MS + 4_500)):
        assert judge(replace(EXCUSED[what](a_good_run()), losses=[loss])) != []


def test_what_was_sent_before_a_loss_and_said_to_be_acknowledged_behind_it_may_have_been_lost_in_it() -> None:
    """A command that was typed takes its time to end; when in that time it was acknowledged, nobody saw."""
    slow = with_(submissions=[Submission("c", 5_000, 6_000)])(a_good_run())
    assert judge(replace(slow, losses=[Span(4_500, 5_100)])) == []
    assert judge(replace(slow, losses=[Span(6_100, 6_200)])) != []


def test_no_loss_excuses_that_an_attempt_runs_twice_at_once() -> None:
    both = with_runs(Run("b", "3.z", "oak", 20, 8_100, 8_200))(a_good_run())
    losing = replace(both, losses=[Span(0, 10_000)])
    assert "counted before run" in {violation.rule for violation in judge(losing)}


def test_attempts_that_begin_beside_a_fenced_older_one_are_counted_not_blamed() -> None:
    assert fenced_overlaps(a_good_run()) == 1


@pytest.mark.parametrize(("priority", "agent"), [("low", ""), ("normal", "oak")])
def test_what_is_less_urgent_or_waits_for_another_agent_is_not_passed_by(priority: str, agent: str) -> None:
    assert judge(fresh_waits(priority, agent)(a_good_run())) == []


def test_what_was_handed_back_has_not_failed() -> None:
    evidence = fresh_waits()(a_good_run())
    lines = [replace(line, reason="turned_away") if line.after == "retry_wait" else line for line in evidence.lines]
    assert judge(replace(evidence, lines=lines)) == []


def test_hand_backs_that_take_their_time_are_no_storm() -> None:
    slow = with_lines(*(handed_back(9_000 + 60 * n) for n in range(60)))(a_good_run())
    assert "no storm" not in {violation.rule for violation in judge(slow)}


def test_an_attempt_that_was_lost_is_not_taken_for_its_successor_of_the_same_number() -> None:
    rules = replace(RULES_OF_RUN, slots={"elm": 2, "oak": 1})
    lost = with_runs(Run("b", "2.lost", "elm", 20, 7_600, 8_400))(replace(a_good_run(), rules=rules))
    assert judge(replace(lost, losses=[Span(7_000, 7_590)])) == []


def test_orders_whose_ends_were_said_where_that_was_lost_may_stand_there_for_a_while() -> None:
    stale = replace(a_good_run(), looks=[Look(6_500, {"elm": ["2.y"]}, {"elm": ["1.q", "2.y"]})])
    assert judge(stale) != []
    assert judge(replace(stale, losses=[Span(5_000, 5_100)])) == []
    assert judge(replace(stale, losses=[Span(6_900, 7_000)])) != []
    listed = replace(stale, looks=[Look(6_500, {"elm": ["1.q", "2.y"]}, {"elm": ["1.q", "2.y"]})])
    assert judge(replace(listed, losses=[Span(5_000, 5_100)])) != []
