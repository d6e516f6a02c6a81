"""Small pictures, the last hour, and what work cost."""

from __future__ import annotations

import msgspec
import pytest
from rich.cells import cell_len

from agentcom.model.costs import Costs
from agentcom.model.messages import Line
from agentcom.model.task import Usage
from agentcom.monitor.live.ascii import LOOKALIKES, ascii_only
from agentcom.monitor.live.costs import DAYS, costs_of, fields
from agentcom.monitor.live.history import MINUTE_MS, MINUTES, History, Totals
from agentcom.monitor.live.pictures import bar, sparkline
from agentcom.wording import compact
from tests.diagnosis.pools import AT, H, M, S


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([0, 1, 2, 4, 8], 5, "▁▂▃▅█"),
        ([0, 0, 0], 3, "▁▁▁"),
        ([None, 1, None], 3, " █ "),
        ([1, 9, 1, 1], 2, "█▂"),
        ([0.001, 1000], 2, "▂█"),
        ([], 5, ""),
        ([1], 0, ""),
    ],
)
def test_a_sparkline_hides_no_peak_and_leaves_blank_what_is_unknown(
    values: list[float | None], width: int, drawn: str
) -> None:
    assert sparkline(values, width) == drawn


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0, "░░░░"), (0.5, "██░░"), (0.53, "██▏░"), (1, "████"), (9, "████"), (-1, "░░░░"), (0.001, "░░░░")],
)
def test_a_bar(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0"), (999, "999"), (1_000, "1.0k"), (12_345, "12k"), (999_600, "1.0M"), (7 * 10**9, "7.0G")],
)
def test_numbers_in_three_digits(number: int, told: str) -> None:
    assert compact(number) == told


def test_ascii_is_as_wide_as_what_it_stands_for() -> None:
    for drawn in (*LOOKALIKES, "漢", "é", "🚀", "plain"):
        assert ascii_only(drawn).isascii()
        assert len(ascii_only(drawn)) == cell_len(drawn)
    assert ascii_only("\x1b[1m▸! 漢…\x1b[0m") == "\x1b[1m>! ??~\x1b[0m"


# ------------------------------------------------------------------ the last hour


def totals(at: int, **more: int) -> Totals:
    return Totals(**{"at": at, "waiting": 0, "completed": 0, "failed": 0, "tokens": 0} | more)


def step(at: int, before: str, after: str, reason: str = "") -> Line:
    return Line(at, "task", "x", before, after, "t", 1, "oak", reason)


def test_what_was_before_a_monitor_came_is_told_by_the_journal() -> None:
    history = History()
    assert history.is_behind(AT)
    lines = [
        step(AT - 30 * M, "submitted", "queued"),
        step(AT - 30 * M, "submitted", "blocked"),
        step(AT - 20 * M, "queued", "assigned"),
        step(AT - 10 * M, "working", "retry_wait", "exit_code"),
        step(AT - 9 * M, "working", "queued", "requeued"),
        step(AT - 9 * M, "retry_wait", "assigned"),
        step(AT - 5 * M, "working", "completed"),
        Line(AT - 4 * M, "agent", "silence", "online", "stale", agent="oak"),
    ]
    history.recall(totals(AT, waiting=2, completed=7), lines, whole=True)
    waiting = history.series("waiting", AT)
    assert [waiting[place] for place in (0, 28, 29, 30, 39, 40, 49, 50, 59)] == [0, 0, 2, 2, 1, 1, 2, 2, 2]
    assert history.within_hour("completed", AT) == 1
    assert history.within_hour("failed", AT) == 1, "to be requeued is no failure"
    assert history.since_at == AT - H


def test_of_a_journal_that_was_not_read_whole_only_what_was_read_is_known() -> None:
    history = History()
    history.recall(totals(AT, waiting=3), [step(AT - 10 * M, "working", "completed")], whole=False)
    assert history.since_at == AT - 10 * M
    assert history.series("waiting", AT)[:48] == [None] * 48
    assert history.series("waiting", AT)[-1] == 3
    empty = History()
    empty.recall(totals(AT), [], whole=False)
    assert empty.since_at == AT


def test_while_it_looks_on_it_adds_up_how_counters_grow() -> None:
    history = History()
    history.recall(totals(AT, completed=100, tokens=5_000), [], whole=True)
    history.add(totals(AT + 10 * S, waiting=4, completed=103, failed=1, tokens=6_000))
    history.add(totals(AT + 20 * S, waiting=2, completed=104, failed=0, tokens=6_500))
    at = AT + 20 * S
    assert history.series("waiting", at)[-1] == 2
    assert [history.within_hour(name, at) for name in ("completed", "failed", "tokens")] == [4, 1, 1_500]
    assert not history.is_behind(at + M)
    assert history.is_behind(at + 3 * M), "it was away too long to tell minutes apart"


def test_it_remembers_an_hour_and_no_more() -> None:
    history = History()
    history.recall(totals(AT), [], whole=True)
    for minute in range(200):
        history.add(totals(AT + minute * M, completed=minute))
    assert len(history.series("completed", AT + 199 * M)) == MINUTES
    assert history.within_hour("completed", AT + 199 * M) == MINUTES
    assert history.since_at == AT + 199 * M - MINUTES * MINUTE_MS


def test_tokens_that_nobody_counts_are_unknown() -> None:
    history = History()
    history.recall(totals(AT), [], whole=True)
    history.add(Totals(AT + S, 0, 0, 0, None))
    assert set(history.series("tokens", AT + S)) == {None}


# ------------------------------------------------------------------------- costs


def test_costs_are_read_by_field_and_what_cannot_be_read_says_nothing() -> None:
    assert fields(AT, ["oak", "elm"])[:3] == ("total", "2025-10-09", "2025-10-08")
    assert fields(AT, ["oak", "elm"])[-3:] == ("2025-10-09/elm", "2025-10-09/oak", "2025-10-09/*")
    assert len(fields(AT, [])) == DAYS + 2
    assert fields(1 << 62, [])[:2] == ("total", "total"), "a clock that is very wrong breaks nothing"
    cost = Costs(3, 2, 9, 100, Usage(1_000, 50, 200, 0, 0, 0.5), 60.0)
    body = msgspec.json.encode(cost)
    fine = dict.fromkeys(("total", "2025-10-09", "2025-10-09/oak"), body)
    told = costs_of(fine | {"2025-10-08": b"{", "2025-10-07": b'{"x":1}'})
    assert told.total == cost
    assert list(told.days) == ["2025-10-09", "2025-10-07"]
    assert told.today == {"oak": cost}
