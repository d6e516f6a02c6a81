"""Which agent gets a task: who can, who should, and always the same one for the same reasons."""

import pytest

from agentcom.settings import Policy
from tests.stories.pool import FakePool


def test_only_an_agent_that_meets_the_requirements_gets_the_task(pool):
    pool.agent("ash", python=2)
    pool.agent("elm", python=5, os="darwin")
    pool.agent("oak", python=3, os="linux")
    task = pool.submit(requires="python >= 3, os == linux")
    assert pool.where(task) == "oak"


def test_a_missing_skill_is_not_satisfied(pool):
    pool.agent("oak")
    assert pool.state(pool.submit(requires="review")) == "queued"
    assert pool.state(pool.submit(requires="not review")) == "assigned"


def test_a_preference_decides_among_those_who_can(pool):
    pool.agent("ash", python=3)
    pool.agent("elm", python=3, gpu=True)
    assert pool.where(pool.submit(requires="python >= 3", prefer="gpu : 5")) == "elm"


def test_just_enough_skill_is_best_so_that_experts_stay_free(pool):
    pool.agent("ash", python=9)
    pool.agent("elm", python=3)
    assert pool.where(pool.submit(requires="python >= 3")) == "elm"
    assert pool.where(pool.submit(requires="python >= 8")) == "ash"


def test_a_pinned_task_waits_for_its_agent(pool):
    pool.agent("ash")
    task = pool.submit(agent="elm")
    assert pool.state(task) == "queued"
    pool.agent("elm")
    assert pool.where(task) == "elm"


def test_a_pinned_task_still_needs_what_it_requires(pool):
    pool.agent("elm")
    assert pool.state(pool.submit(agent="elm", requires="python")) == "queued"


def test_a_pinned_task_goes_back_to_its_agent_after_failing_there(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit(agent="elm")
    pool.finish(task, "failed", "exit_code")
    assert pool.where(task) == "elm"
    assert pool.state(task) == "assigned"


def test_pinned_and_common_work_share_an_agent_by_priority(pool):
    pool.submit(agent="elm", priority="low")
    urgent = pool.submit(priority="urgent")
    pool.agent("elm")
    assert pool.assigned() == [urgent]


def test_an_agent_takes_only_what_it_accepts(pool):
    pool.agent("oak", accepts="python", python=3, rust=3)
    assert pool.state(pool.submit(requires="rust")) == "queued"
    assert pool.state(pool.submit(requires="python >= 2")) == "assigned"


@pytest.mark.pitfall_9
def test_an_agent_may_accept_only_what_is_pinned_to_it_or_small(pool):
    pool.agent("oak", slots=9, accepts="pinned or context_tokens < 1000 and context_tokens > 0")
    assert pool.state(pool.submit()) == "queued"
    assert pool.state(pool.submit(agent="oak")) == "assigned"
    assert pool.state(pool.submit(context_tokens=10)) == "assigned"


@pytest.mark.parametrize(("tokens", "state"), [(800, "assigned"), (801, "queued")])
@pytest.mark.pitfall_9
def test_a_context_may_fill_eighty_percent_of_the_window(pool, tokens, state):
    pool.agent("oak", context=1_000)
    assert pool.state(pool.submit(context_tokens=tokens)) == state


@pytest.mark.pitfall_9
def test_what_is_continued_is_not_given_to_a_window_that_became_too_small(pool):
    pool.agent("oak", context=1_000)
    task = pool.submit(context_tokens=800)
    pool.agent("elm", context=1_000)
    pool.now += 1
    pool.agent("oak", context=500)
    pool.finish(task, "failed", "context_exhausted")
    pool.advance(31)
    assert (pool.state(task), pool.where(task)) == ("assigned", "elm")


def test_work_of_unknown_size_goes_to_any_window(pool):
    pool.agent("oak", context=1)
    assert pool.state(pool.submit()) == "assigned"


def test_an_agent_without_a_stated_window_takes_any_context(pool):
    pool.agent("oak")
    assert pool.state(pool.submit(context_tokens=90_000_000)) == "assigned"


@pytest.mark.pitfall_10
def test_a_failed_attempt_that_may_be_the_agents_fault_goes_elsewhere(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    first = pool.where(task)
    pool.finish(task, "failed", "exit_code")
    assert pool.where(task) != first


def test_it_waits_for_another_agent_although_the_one_that_failed_it_is_free(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    other = pool.submit()
    pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == "queued"
    pool.finish(other)
    assert pool.where(task) != pool.task(task).attempts[0].agent
    assert pool.state(task) == "assigned"


def test_an_agent_that_failed_a_task_gets_it_again_if_it_is_alone(pool):
    pool.agent("ash")
    pool.agent("elm", slots=1, rust=1)
    task = pool.submit(requires="not rust")
    pool.finish(task, "failed", "exit_code")
    assert pool.where(task) == "ash"
    assert pool.state(task) == "assigned"


@pytest.mark.pitfall_10
@pytest.mark.parametrize("leaving", ["says goodbye", "goes silent", "changes its card"])
def test_an_agent_that_failed_a_task_gets_it_again_when_the_only_other_leaves(leaving):
    pool = FakePool()
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit(requires="not rust")
    blocker = pool.submit(requires="not rust", priority="urgent")
    failed_at, other = pool.where(task), pool.where(blocker)
    pool.accept(blocker)
    pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == "queued"
    if leaving == "says goodbye":
        pool.goodbye(other)
    elif leaving == "goes silent":
        pool.silence(other)
        pool.advance(100)
    else:
        pool.agent(other, rust=1)
    assert (pool.state(task), pool.where(task)) == ("assigned", failed_at)


def test_the_workspace_that_has_the_work_is_preferred_when_the_agent_was_not_to_blame(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    first = pool.where(task)
    pool.finish(task, "failed", "timeout")
    assert pool.where(task) == first


def test_equals_take_turns_the_least_recently_used_first(pool):
    for name in ("ash", "elm", "oak"):
        pool.agent(name)
    order = []
    for _ in range(6):
        task = pool.submit()
        order.append(pool.where(task))
        pool.finish(task)
    assert order == ["ash", "elm", "oak", "ash", "elm", "oak"]


def test_the_less_loaded_agent_is_better(pool):
    pool.agent("ash", slots=4)
    pool.agent("elm", slots=4)
    tasks = [pool.submit() for _ in range(4)]
    assert [pool.where(task) for task in tasks] == ["ash", "elm", "ash", "elm"]


def test_an_agent_whose_attempts_fail_is_tried_last(pool):
    pool.agent("ash")
    pool.agent("elm")
    bad = pool.submit()
    assert pool.where(bad) == "ash"
    pool.finish(bad, "failed", "refused")
    good = pool.submit()
    pool.finish(good)
    assert [pool.where(good), pool.where(pool.submit())] == ["elm", "elm"]


def test_failing_to_accept_counts_against_an_agent_beyond_its_leader(pool):
    pool.agent("ash")
    pool.submit(max_attempts=1)
    pool.advance(61)
    assert pool.agent_record("ash").failed == 1
    assert pool.agent_record("ash").success < 1


def test_nobody_is_passed_over_where_there_are_more_agents_than_are_looked_at():
    pool = FakePool(judging=False)
    for number in range(60):
        pool.agent(f"a{number}", python=number + 1)
    tasks = [pool.submit() for _ in range(60)]
    assert {pool.where(task) for task in tasks} == {f"a{number}" for number in range(60)}


def test_a_rare_skill_is_found_among_many_agents():
    pool = FakePool(judging=False)
    for number in range(60):
        pool.agent(f"a{number}", python=1)
    pool.agent("zz", python=1, cobol=9)
    assert pool.where(pool.submit(requires="cobol")) == "zz"


def test_equal_demands_spelled_differently_wait_in_one_lane():
    pool = FakePool()
    pool.submit(requires="python >= 3, os == linux")
    pool.submit(requires='os=="linux" and python>=3.0')
    assert len(pool.core._state.matcher._lanes) == 1


def a_busy_day(pool):
    """Some of everything, the same every time."""
    for number in range(20):
        pool.agent(f"a{number}", slots=1 + number % 3, python=number % 4, os=("linux", "darwin")[number % 2])
    tasks = []
    for number in range(120):
        requires = ("", "python >= 1", "python >= 2, os == linux", "os == darwin")[number % 4]
        prefer = ("", "os == linux : 3")[number % 2]
        tasks.append(
            pool.submit(str(number), requires=requires, prefer=prefer, priority=("normal", "high")[number % 2])
        )
        if number % 3 == 0:
            pool.now += 10
    for number, task in enumerate(tasks):
        if pool.state(task) == "assigned":
            pool.finish(task, *(("failed", "exit_code") if number % 5 == 0 else ("completed",)))
    pool.advance(40)
    for task in tasks:
        if pool.state(task) == "assigned":
            pool.finish(task)


def test_the_same_events_at_the_same_times_give_the_same_commits():
    first, second = FakePool(judging=False), FakePool(judging=False)
    a_busy_day(first)
    a_busy_day(second)
    assert first.commits == second.commits


def test_tasks_of_a_busy_day_all_end_whoever_leads(pool):
    a_busy_day(pool)
    for _ in range(300):
        for task in list(pool.open):
            if pool.state(task) == "assigned":
                pool.finish(task)
        pool.advance(1)
    assert {pool.state(task) for task in pool.records} == {"completed"}


def test_a_pool_without_retry_delays_tries_again_at_once():
    pool = FakePool(Policy(retry_delays_s=()))
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == "assigned"
