"""What work costs: each attempt, message and token is counted once, by task, agent and day, whoever leads."""

import pytest
from msgspec.structs import replace

from agentcom.model.codec import encode
from agentcom.model.costs import OTHERS, TOTAL, Costs
from agentcom.model.messages import Requeue
from agentcom.model.task import Outcome, Usage
from agentcom.scheduler.accounts import AGENTS_PER_DAY, DAY_MS, Accounts
from tests.stories.pool import CALM, FakePool

DAY = "2023-11-14"
"""On which every story begins."""

USED = Usage(100, 20, 3_000, 500, 5, 0.25)
DONE = Outcome("completed", usage=USED, envelope_tokens=40)


def test_what_an_attempt_used_is_counted_for_its_task_its_agent_and_the_day(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    pool.now += 5_000
    pool.end(task, DONE)
    assert pool.task(task).spent == pool.agent_record("oak").spent == USED
    expected = Costs(attempts=1, completed=1, messages=3, envelope_tokens=40, usage=USED, seconds=5.0)
    assert {field: pool.cost(field) for field in pool.costs} == dict.fromkeys((TOTAL, DAY, f"{DAY}/oak"), expected)


def test_attempts_of_all_kinds_count(pool):
    pool.agent("oak")
    task = pool.submit()
    for reason in ("timeout", "context_exhausted", "exit_code"):
        pool.end(task, Outcome("failed", reason, usage=USED))
    pool.advance(40)
    pool.end(task, DONE)
    assert pool.task(task).spent == pool.agent_record("oak").spent == pool.cost().usage == USED + USED + USED + USED
    assert (pool.cost().attempts, pool.cost().completed) == (4, 1)


def test_agents_that_do_not_say_what_they_use_cost_attempts_and_messages(pool):
    pool.agent("oak")
    pool.finish(pool.submit())
    assert pool.cost() == Costs(attempts=1, completed=1, messages=2)


# ----------------------------------------------------------------------- once


@pytest.mark.parametrize("ended", [True, False])
def test_a_report_that_is_told_twice_is_counted_once(pool, ended):
    pool.agent("oak")
    task = pool.submit()
    token = pool.token(task)
    outcome = DONE if ended else Outcome("failed", "exit_code", usage=USED)
    sent = pool.report(task, token, "oak", outcome)
    for _ in range(3):
        pool.put("reports", sent)
    assert (pool.task(task).spent, pool.cost().usage) == (USED, USED)
    assert pool.cost().messages == 2 + 3, "each of them is a message all the same"


def test_what_a_late_attempt_used_is_counted_with_its_task(pool):
    pool.agent("ash")
    task = pool.submit()
    late = pool.token(task)
    pool.agent("elm")
    pool.advance(61)
    assert pool.where(task) == "elm"
    sent = pool.report(task, late, "ash", Outcome("failed", "exit_code", usage=USED))
    pool.put("reports", sent)
    assert (pool.task(task).spent, pool.agent_record("ash").spent, pool.cost(f"{DAY}/ash").usage) == (USED,) * 3
    pool.end(task, DONE)
    assert pool.task(task).spent == USED + USED
    pool.put("reports", sent)
    assert pool.cost().usage == USED + USED


def test_what_a_late_attempt_used_is_counted_when_its_task_has_ended(pool):
    pool.agent("ash")
    task = pool.submit()
    late = pool.token(task)
    pool.agent("elm")
    pool.advance(61)
    pool.end(task, DONE)
    assert pool.state(task) == "completed"
    sent = pool.report(task, late, "ash", Outcome("canceled", "canceled", usage=USED))
    pool.put("reports", sent)
    assert (pool.agent_record("ash").spent, pool.cost().usage) == (USED, USED + USED)


def test_what_was_told_while_a_task_was_closed_is_not_counted_again_when_it_is_sent_back(pool):
    pool.agent("ash")
    task = pool.submit(max_attempts=2)
    late = pool.token(task)
    pool.agent("elm")
    pool.advance(61)
    pool.finish(task, "failed", "exit_code")
    assert (pool.state(task), task in pool.open) == ("failed", False)
    sent = pool.report(task, late, "ash", Outcome("failed", "exit_code", usage=USED))
    assert pool.cost().usage == USED
    pool.retry(task)
    pool.put("reports", sent)
    assert pool.cost().usage == USED


def test_what_a_canceled_attempt_used_is_counted(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    pool.now += 2_000
    pool.cancel(task)
    assert pool.cost().messages == 1, "the order to stop; the attempt is not over yet"
    sent = pool.report(task, pool.token(task), "oak", Outcome("canceled", "canceled", usage=USED))
    pool.put("reports", sent)
    assert (pool.task(task).spent, pool.cost().usage) == (USED, USED)
    assert (pool.cost().attempts, pool.cost().completed, pool.cost().seconds) == (1, 0, 2.0)


def test_what_a_requeued_attempt_used_is_counted(pool):
    pool.agent("ash")
    task = pool.submit()
    first = pool.token(task)
    pool.agent("elm")
    pool.ask(Requeue(task=task))
    pool.report(task, first, "ash", Outcome("canceled", "canceled", usage=USED))
    assert (pool.task(task).spent, pool.cost().attempts) == (USED, 1)


def test_a_result_that_is_adopted_late_is_one_attempt_that_completed(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.advance(61)
    pool.end(task, DONE)
    assert (pool.cost().attempts, pool.cost().completed, pool.cost().usage) == (1, 1, USED)
    assert pool.task(task).spent == USED


def test_a_stranger_counts_nothing(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.report(task, pool.token(task), "elm", DONE)
    pool.report(pool.new_id(), "1.x", "oak", DONE)
    assert pool.cost() == Costs(messages=1), "one of them is no agent of the pool"
    assert pool.task(task).spent == Usage()


def test_no_number_spoils_the_sums(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, Outcome("completed", usage=Usage(-5, 10**17, cost_usd=1e300), envelope_tokens=-7))
    assert pool.cost().usage == Usage(0, 10**12, cost_usd=1e6)
    assert pool.cost().envelope_tokens == 0
    assert encode(pool.cost())


# ----------------------------------------------------------------------- days


def test_a_day_turns_at_midnight_in_utc():
    pool = FakePool()
    pool.agent("oak")
    first, second = pool.submit(), pool.submit()
    pool.end(first, DONE)
    pool.now = (pool.now // DAY_MS + 1) * DAY_MS
    pool.end(second, DONE)
    assert pool.cost("2023-11-14/oak").completed == pool.cost("2023-11-15/oak").completed == 1
    assert pool.cost().completed == 2


def test_so_many_days_are_kept():
    pool = FakePool(replace(CALM, costs_days=3), reload=True)
    for _ in range(5):
        pool.agent("oak")
        pool.end(pool.submit(), DONE)
        pool.now += DAY_MS
    days = [field for field in pool.costs if "/" not in field]
    assert sorted(days) == ["2023-11-16", "2023-11-17", "2023-11-18", TOTAL]
    assert pool.cost().completed == 5
    assert "2023-11-15/oak" not in pool.costs


def test_a_clock_that_is_wrong_for_a_day_takes_no_more_than_a_day_with_it():
    accounts = Accounts(days=3)
    accounts.load({day: Costs(1) for day in ("2026-01-01", "2026-01-02", "2026-01-03", TOTAL)})
    accounts.turn(0)
    accounts.add("oak", Costs(1))
    assert {field for field, costs in accounts.take().items() if costs is None} == {"2026-01-01"}


def test_of_very_many_agents_on_a_day_the_rest_is_counted_together():
    accounts = Accounts(days=3)
    accounts.turn(DAY_MS)
    for number in range(AGENTS_PER_DAY + 5):
        accounts.add(f"a{number}", Costs(1))
    accounts.add("a0", Costs(1))
    found = accounts.take()
    assert len(found) == AGENTS_PER_DAY + 3
    assert (found[f"1970-01-02/{OTHERS}"].attempts, found["1970-01-02/a0"].attempts) == (5, 2)
    assert found[TOTAL].attempts == AGENTS_PER_DAY + 6


def test_a_new_leader_counts_on_where_the_old_one_had_committed():
    pool = FakePool()
    pool.agent("oak")
    with pool.one_commit():
        task = pool.submit()
    with pool.one_commit():
        pool.end(task, DONE)
        pool.restart()
    assert pool.cost().usage == USED, "what the old leader had read and not committed is read again"
    pool.restart()
    pool.end(pool.submit(), DONE)
    assert (pool.cost().usage, pool.cost().completed) == (USED + USED, 2)
