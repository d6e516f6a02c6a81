"""What is finished costs those that come later nothing. The exact figures are `python -m benchmarks.finished`'s."""

import pytest

from benchmarks.finished import compare, ratios

pytestmark = [pytest.mark.process, pytest.mark.pitfall_6]


async def test_ten_thousand_finished_tasks_leave_submitting_and_working_as_fast_as_none() -> None:
    submit, work, cpu = ratios(await compare(10_000, rounds=7, tasks=500))
    assert submit < 3, f"to submit a task takes {submit:.2f} times as long"
    assert work < 3, f"to assign and complete a task takes {work:.2f} times as long"
    assert cpu < 1.6, f"a task costs {cpu:.2f} times as much CPU time"
