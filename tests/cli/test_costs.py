"""What `agentcom costs` says of what the pool has counted."""

from __future__ import annotations

import pytest

from agentcom.model.costs import Costs
from agentcom.model.task import Attempt, ReadRecord, TaskRecord, TaskSpec, Usage
from agentcom.monitor.costs_view import bill, document, first_day, is_lean, lines, messages_a_task, overhead, sentence
from tests.cli.harness import Terminal

AT = 1_764_201_600_000
"""2025-11-27 00:00 UTC."""

OAK = Costs(4, 3, 10, 200, Usage(1_000, 500, 9_000, 2_500, 50, 1.25), 90.0)
ELM = Costs(1, 1, 2, 0, Usage(10, 20, cost_usd=0.004), 5.0)
FIELDS = {
    "total": Costs(99),
    "2025-11-27": Costs(5),
    "2025-11-27/oak": OAK,
    "2025-11-27/elm": ELM,
    "2025-11-26/oak": ELM,
    "2025-11-20/oak": Costs(7),
}


def record(number: int, changed_at: int, usd: float, agent: str = "oak") -> ReadRecord:
    spec = TaskSpec(id=f"0199c8ab-0000-7000-8000-0000000{number:05x}", text=f"Work {number}")
    attempts = (Attempt(1, "1.a", agent, "i", changed_at),)
    return TaskRecord(
        spec=spec, seq=number, state="completed", submitted_at=1, changed_at=changed_at, generation=1,
        attempts=attempts, spent=Usage(1, 2, cost_usd=usd) if usd else Usage(),
    )  # fmt: skip


RECORDS = [record(1, AT, 0.5), record(2, AT, 2.0, "elm"), record(3, AT, 0.0), record(4, AT - 30 * 86_400_000, 9.0)]


def test_the_last_days_end_today() -> None:
    assert [first_day(AT, days) for days in (1, 2, 30)] == ["2025-11-27", "2025-11-26", "2025-10-29"]
    assert first_day(AT - 1, 1) == "2025-11-26"


def test_what_is_counted_by_agent_is_added_up_by_day_and_agent() -> None:
    found = bill(FIELDS, RECORDS, "2025-11-26")
    assert {day: costs.attempts for day, costs in found.days.items()} == {"2025-11-27": 5, "2025-11-26": 1}
    assert {name: costs.attempts for name, costs in found.agents.items()} == {"oak": 5, "elm": 1}
    assert found.total == Costs(6, 5, 14, 200, Usage(1_020, 540, 9_000, 2_500, 50, 1.258), 100.0)
    assert [record.spent.cost_usd for record in found.tasks] == [2.0, 0.5]


def test_one_agent_can_be_asked_for() -> None:
    found = bill(FIELDS, RECORDS, "2025-11-01", "oak")
    assert (list(found.agents), found.total.attempts) == (["oak"], 12)
    assert [record.spent.cost_usd for record in found.tasks] == [0.5]


def test_coordination_is_measured_against_the_work() -> None:
    assert overhead(OAK) == 200 / 4_000
    assert messages_a_task(OAK) == 10 / 3
    assert is_lean(OAK)
    assert sentence(OAK) == (
        "coordination: 5.0% of the tokens, 3.3 messages a completed task; within its bounds of 20% and 5"
    )


@pytest.mark.parametrize(
    ("costs", "lean"),
    [
        (Costs(1, 1, 5, 199, Usage(500, 500)), True),
        (Costs(1, 1, 5, 200, Usage(500, 500)), False),
        (Costs(1, 1, 6, 0, Usage(500, 500)), False),
        (Costs(1, 0, 60), True),
    ],
)
def test_it_has_bounds(costs: Costs, lean: bool) -> None:
    assert is_lean(costs) == lean
    assert ("within its bounds" in sentence(costs)) == lean


def test_what_nobody_told_is_not_made_up() -> None:
    told = sentence(Costs(1, 0, 2))
    assert told.startswith("coordination: no agent told its tokens, no task completed; within")


def test_people_see_tables_and_scripts_numbers() -> None:
    found = bill(FIELDS, RECORDS, "2025-11-26")
    shown = "\n".join(line.plain for line in lines(found, None))
    rows = [line.split() for line in shown.splitlines()]
    assert ["2025-11-27", "5", "4", "1,010", "520", "9,000", "2,500", "50", "$1.25", "95s"] in rows
    assert "elm" in shown
    assert "$0.0040" in shown
    assert "Work 2" in shown
    told = document(found)
    assert [day["day"] for day in told["days"]] == ["2025-11-27", "2025-11-26"]
    assert told["total"]["usage"]["cache_read_tokens"] == 9_000
    assert told["coordination"]["lean"] is True
    assert told["tasks"][0]["spent"]["cost_usd"] == 2.0


def test_a_narrow_terminal_sees_what_matters_most() -> None:
    found = bill(FIELDS, RECORDS, "2025-11-26")
    assert all(line.cell_len <= 60 for line in lines(found, 60)[:-1])


def test_the_command_counts_what_the_pool_has_done(agentcom: Terminal) -> None:
    before = agentcom("costs", "--json").document["total"]["completed"]
    assert agentcom("submit", "do the dishes", "--agent", "birch", "--wait").code == 0
    said = agentcom("costs", "--days", "2", "--json").document
    assert said["total"]["completed"] == before + 1
    birch = agentcom("costs", "--agent", "birch", "--json").document
    assert [agent["agent"] for agent in birch["agents"]] == ["birch"]
    assert birch["total"]["messages"] >= 2
    assert "coordination: no agent told its tokens" in agentcom("costs").out


def test_where_nothing_was_done_it_says_so(quiet: Terminal) -> None:
    said = quiet("costs", "--agent", "oak")
    assert (said.code, said.out) == (0, "")
    assert said.err == "no attempt of oak has ended in the last 7 days\n"
