"""A task's budget holds over all of its attempts, and only a person gives it more."""

import pytest

from agentcom.model.messages import Answer, Retry
from agentcom.model.task import Outcome, Usage


def used(usd=0.0, tokens=0):
    return Usage(output_tokens=tokens, cost_usd=usd)


def failed(usage, reason="exit_code"):
    return Outcome("failed", reason, usage=usage)


def test_each_attempt_is_told_what_is_left(pool):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0, budget_tokens=1_000)
    assert (pool.order(task).usd_left, pool.order(task).tokens_left) == (2.0, 1_000)
    pool.end(task, failed(used(0.5, 300)))
    assert (pool.order(task).usd_left, pool.order(task).tokens_left) == (1.5, 700)


def test_a_task_without_a_budget_has_no_limit(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, failed(used(1e5, 10**9)))
    assert (pool.order(task).usd_left, pool.order(task).tokens_left) == (0.0, 0)


def test_what_is_read_from_a_cache_again_and_again_is_in_no_budget_of_tokens(pool):
    pool.agent("oak")
    task = pool.submit(budget_tokens=1_000)
    pool.end(task, failed(Usage(1, 2, cache_read_tokens=10**6, cache_write_tokens=4)))
    assert pool.order(task).tokens_left == 993


@pytest.mark.parametrize(
    ("budget", "usage", "said"),
    [
        ({"budget_usd": 2.0}, used(usd=2.0), "it has cost $2.00 of the $2.00 that it may cost"),
        ({"budget_tokens": 100}, used(tokens=2_500), "it has used 2,500 tokens of the 100 that it may use"),
    ],
)
def test_nothing_begins_with_a_budget_that_is_spent(pool, budget, usage, said):
    pool.agent("oak")
    task = pool.submit(**budget)
    pool.end(task, failed(usage))
    record = pool.task(task)
    assert (record.state, record.reason, record.detail) == ("input_required", "budget_exceeded", said)
    assert pool.agent_record("oak").running == {}


def test_a_retry_with_a_delay_does_not_wait_for_it_in_vain(pool):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0)
    pool.end(task, failed(used(0.1)))
    pool.end(task, failed(used(5.0)))
    assert (pool.state(task), pool.task(task).reason) == ("input_required", "budget_exceeded")


def test_a_person_gives_it_more(pool):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0)
    pool.end(task, failed(used(2.5)))
    refused = pool.why_refused(pool.retry(task))
    assert refused == [
        "it has cost $2.50 of the $2.00 that it may cost: add to its budget with --add-tokens or --add-usd"
    ]
    assert "$2.50 of the $2.40" in pool.why_refused(pool.ask(Retry(task=task, add_usd=0.4)))[0]
    assert pool.state(task) == "input_required"
    pool.ask(Retry(task=task, add_usd=1.0))
    assert (pool.state(task), pool.order(task).usd_left) == ("assigned", 0.5)
    pool.ask(Retry(task=task, add_usd=1.0))
    assert pool.task(task).granted_usd == 1.0, "it is not waiting for that any more: said twice, it is added once"
    pool.finish(task)
    assert pool.state(task) == "completed"


def test_a_failed_task_goes_back_only_with_a_budget(pool):
    pool.agent("oak")
    task = pool.submit(budget_tokens=100, max_attempts=1)
    pool.end(task, failed(used(tokens=200)))
    assert pool.state(task) == "failed"
    assert "200 tokens of the 100" in pool.why_refused(pool.retry(task))[0]
    pool.ask(Retry(task=task, add_tokens=150))
    assert (pool.state(task), pool.order(task).tokens_left) == ("assigned", 50)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"add_usd": -1.0}, "not 0 to"),
        ({"add_usd": 1e9}, "not 0 to"),
        ({"add_tokens": -1}, "not 0 to"),
        ({"add_tokens": 5}, "it has no budget of tokens to add to"),
    ],
)
def test_what_cannot_be_added_is_refused(pool, more, why):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0)
    pool.end(task, failed(used(2.5)))
    assert why in pool.why_refused(pool.ask(Retry(task=task, **more)))[0]
    assert pool.task(task).granted_usd == 0.0


def test_an_agent_that_was_ended_for_its_budget_goes_on_in_its_session(pool):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0)
    pool.end(
        task, Outcome("failed", "budget_exceeded", usage=used(2.01), session="s1", session_usage=Usage(cost_usd=2.01))
    )
    assert pool.state(task) == "input_required"
    assert pool.agent_record("oak").failed == 0, "that is no failure of the agent"
    pool.ask(Retry(task=task, add_usd=1.0))
    assert (pool.order(task).session, pool.order(task).session_usage) == ("s1", Usage(cost_usd=2.01))


@pytest.mark.parametrize("state", ["queued", "retry_wait"])
def test_what_is_only_told_late_is_spent_all_the_same(pool, state):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0)
    if state == "retry_wait":
        pool.finish(task, "failed", "exit_code")
    late = pool.token(task)
    pool.advance(61)
    assert pool.state(task) == state
    pool.report(task, late, "oak", failed(used(3.0)))
    assert (pool.state(task), pool.task(task).reason) == ("input_required", "budget_exceeded")


def test_work_that_was_done_late_and_cost_too_much_is_done_all_the_same(pool):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0)
    pool.advance(61)
    pool.end(task, Outcome("completed", usage=used(3.0)))
    assert [line.after for line in pool.journal if line.task == task][-2:] == ["queued", "completed"]


def test_a_question_is_answered_only_with_a_budget_to_go_on(pool):
    pool.agent("oak")
    task = pool.submit(budget_usd=2.0)
    pool.end(task, Outcome("failed", "input_required", question="which?", usage=used(2.5)))
    assert "$2.50 of the $2.00" in pool.why_refused(pool.ask(Answer(task=task, text="this")))[0]
    pool.ask(Answer(task=task, text="this", add_usd=3.0))
    assert (pool.state(task), pool.order(task).answer, pool.order(task).usd_left) == ("assigned", "this", 2.5)


@pytest.mark.pitfall_10
@pytest.mark.parametrize("restarted", [False, True])
def test_a_task_that_waited_for_a_person_meanwhile_waits_in_one_place_only(pool, restarted):
    """It leaves its lane from the middle, and waits next in another: the first must not count it again."""
    pool.agent("oak", slots=3)
    before, spent, behind = pool.submit(), pool.submit(budget_usd=2.0), pool.submit()
    late = pool.token(spent)
    pool.silence("oak")
    pool.advance(300)
    assert pool.states(before, spent, behind) == ["queued"] * 3
    if restarted:
        pool.restart()
    pool.report(spent, late, "oak", failed(used(3.0)))
    assert pool.state(spent) == "input_required"
    pool.ask(Retry(task=spent, add_usd=9.0))
    assert pool.state(spent) == "queued"
    pool.advance(700)
    pool.agent("ash", slots=2)
    pool.agent("elm", slots=5)
    assert pool.states(before, spent, behind) == ["assigned"] * 3
