"""Whether an agent should be given work, why not, and how it comes back. Every change is in the journal."""

import pytest

from agentcom.model.agent import Card
from agentcom.model.messages import Cordon, Drain, Reset, Resume
from agentcom.model.task import Outcome
from agentcom.settings import Policy
from tests.stories.pool import FakePool

POLICY = Policy(retry_jitter=0.0, retry_delays_s=(0.0,), max_attempts=50)


@pytest.fixture(params=[False, True], ids=["one leader", "a new leader at every step"])
def pool(request):
    return FakePool(POLICY, reload=request.param)


@pytest.fixture
def steady():
    """With one leader: a new one waits a whole term before it takes silence for silence."""
    return FakePool(POLICY)


def healths(pool, name):
    return [
        (line.before, line.after, line.trigger) for line in pool.journal if (line.axis, line.agent) == ("health", name)
    ]


def health(pool, name):
    return pool.agent_record(name).health


def fail(pool, task, reason="exit_code", times=1):
    for _ in range(times):
        pool.finish(task, "failed", reason)


# ------------------------------------------------------------------ breaker


@pytest.mark.pitfall_10
def test_three_failures_in_a_row_take_an_agent_out_of_service(pool):
    pool.agent("oak")
    task = pool.submit()
    fail(pool, task, times=2)
    assert health(pool, "oak") == "available"
    fail(pool, task)
    assert health(pool, "oak") == "degraded"
    assert "3 attempts in a row failed, the last: exit_code" in pool.agent_record("oak").health_why
    assert pool.state(task) == "queued", "nobody else is there"
    assert healths(pool, "oak") == [("available", "degraded", "breaker")]


def test_a_completion_in_between_starts_the_count_anew(pool):
    pool.agent("oak")
    for _ in range(5):
        task = pool.submit()
        fail(pool, task, times=2)
        pool.finish(task)
    assert health(pool, "oak") == "available"


@pytest.mark.parametrize("reason", ["accept_timeout", "wake_failed", "misconfigured", "auth_failed"])
@pytest.mark.pitfall_7
def test_who_shows_no_life_or_cannot_work_is_out_of_service_at_once(pool, reason):
    pool.agent("oak")
    fail(pool, pool.submit(), reason)
    assert health(pool, "oak") == "degraded"


@pytest.mark.parametrize("reason", ["timeout", "retry_later", "invalid_task", "permission_denied", "budget_exceeded"])
def test_what_is_not_the_agents_fault_is_not_held_against_it(pool, reason):
    pool.agent("oak")
    for _ in range(6):
        task = pool.submit(max_attempts=1)
        fail(pool, task, reason)
    assert health(pool, "oak") == "available"


def test_all_that_an_agent_loses_by_going_silent_is_one_failure(steady):
    steady.agent("oak", slots=5)
    tasks = [steady.submit() for _ in range(5)]
    for task in tasks:
        steady.accept(task)
    steady.silence("oak")
    steady.advance(130)
    steady.sweep()
    assert {steady.state(task) for task in tasks} == {"queued"}
    steady.agent("oak", slots=5)
    assert health(steady, "oak") == "available"
    assert steady.agent_record("oak").strikes == 1


@pytest.mark.pitfall_10
def test_flapping_counts_every_time(steady):
    steady.agent("oak")
    task = steady.submit()
    for _ in range(3):
        steady.accept(task)
        steady.silence("oak")
        steady.advance(130)
        steady.sweep()
        steady.agent("oak")
    assert health(steady, "oak") == "degraded"
    assert steady.state(task) == "queued"


@pytest.mark.pitfall_10
def test_it_comes_back_by_a_self_test_and_proves_itself_with_one_task(pool):
    pool.agent("oak", slots=3)
    tasks = [pool.submit() for _ in range(6)]
    for task in tasks[:3]:
        fail(pool, task)
    for token, task in pool.runs("oak").items():
        pool.finish(task, token=token)
    assert health(pool, "oak") == "degraded", "what it still had says nothing of its next task"
    pool.advance(299)
    assert health(pool, "oak") == "degraded"
    pool.advance(40)
    assert health(pool, "oak") == "available"
    assert len(pool.agent_record("oak").running) == 1, "half-open"
    running = next(iter(pool.agent_record("oak").running.values()))
    pool.finish(running)
    assert len(pool.agent_record("oak").running) == 3
    assert [after for _, after, _ in healths(pool, "oak")] == ["degraded", "available"]


@pytest.mark.pitfall_10
def test_the_first_failure_on_probation_sends_it_back(pool):
    pool.agent("oak")
    task = pool.submit()
    fail(pool, task, times=3)
    pool.advance(340)
    assert pool.state(task) == "assigned"
    fail(pool, task)
    assert health(pool, "oak") == "degraded"


@pytest.mark.pitfall_7
def test_without_a_healthy_self_test_it_stays_out(pool):
    pool.agent("oak")
    task = pool.submit()
    fail(pool, task, times=3)
    pool.problems["oak"] = ("the agent cannot be woken: no such program",)
    pool.advance(3_600)
    assert health(pool, "oak") == "degraded"
    assert pool.agent_record("oak").health_why == "the agent cannot be woken: no such program"
    pool.problems.clear()
    pool.advance(330)
    assert health(pool, "oak") == "available"
    assert pool.state(task) == "assigned"


def failed_since_its_last_test():
    """An agent that made a self-test, of which nothing was heard, and then failed. The pool, and the agent's start."""
    pool = FakePool(Policy(retry_jitter=0.0, retry_delays_s=(0.0,), self_test_s=20))
    incarnation = pool.agent("oak")
    task = pool.submit()
    pool.silence("oak")
    pool.advance(20.5)
    fail(pool, task, "wake_failed")
    return pool, incarnation


@pytest.mark.pitfall_7
def test_a_self_test_from_before_the_failure_proves_nothing_however_late_it_is_heard_of():
    pool, incarnation = failed_since_its_last_test()
    pool.beat("oak", incarnation)
    assert health(pool, "oak") == "degraded", "half a second ago it was all right"
    pool.advance(20.5)
    pool.beat("oak", incarnation)
    assert health(pool, "oak") == "available"


@pytest.mark.pitfall_7
def test_a_hello_that_is_said_again_proves_nothing_but_tells_what_is_wrong():
    pool, incarnation = failed_since_its_last_test()
    pool.hello("oak", incarnation, Card())
    assert health(pool, "oak") == "degraded"
    pool.problems["oak"] = ("the disk is full",)
    pool.hello("oak", incarnation, Card())
    assert pool.agent_record("oak").health_why == "the disk is full"
    pool.problems.clear()
    pool.advance(20.5)
    pool.beat("oak", incarnation)
    assert health(pool, "oak") == "available"


@pytest.mark.pitfall_7
def test_a_hello_that_is_said_again_takes_nothing_back_that_was_found_since():
    pool = FakePool(Policy(retry_jitter=0.0, self_test_s=20))
    incarnation = pool.agent("oak")
    task = pool.submit()
    attempt = pool.task(task).attempts[-1]
    pool.report(task, attempt.token, "oak", Outcome("handed_back", "unfit", "its disk is full"))
    pool.hello("oak", incarnation, Card())
    assert health(pool, "oak") == "degraded"


@pytest.mark.pitfall_7
def test_a_leader_whose_clock_was_ahead_leaves_no_self_test_from_the_future():
    pool = FakePool(Policy(retry_jitter=0.0, retry_delays_s=(0.0,), self_test_s=300))
    pool.now += 3_600_000
    pool.agent("oak")
    pool.advance(40)
    pool.now -= 3_600_000
    pool.restart()
    task = pool.submit()
    pool.silence("oak")
    fail(pool, task, "wake_failed")
    pool.advance(1)
    assert health(pool, "oak") == "degraded"


def test_while_one_is_degraded_its_work_goes_to_others(pool):
    pool.agent("ash")
    pool.agent("elm")
    first, second = pool.submit(), pool.submit()
    fail(pool, first, "wake_failed") if pool.where(first) == "ash" else fail(pool, second, "wake_failed")
    assert health(pool, "ash") == "degraded"
    other = first if pool.where(first) == "elm" else second
    waiting = second if other == first else first
    pool.finish(other)
    assert (pool.state(waiting), pool.where(waiting)) == ("assigned", "elm")


# ---------------------------------------------------------------- self-test


@pytest.mark.pitfall_7
def test_connected_is_not_available(pool):
    pool.problems["oak"] = ("the workspace cannot be written: read-only",)
    pool.agent("oak")
    task = pool.submit()
    assert pool.agent_record("oak").link == "online"
    assert health(pool, "oak") == "degraded"
    assert pool.state(task) == "queued"
    pool.problems.clear()
    pool.advance(330)
    assert pool.state(task) == "assigned"
    assert healths(pool, "oak") == [("available", "degraded", "self_test"), ("degraded", "available", "self_test")]


@pytest.mark.pitfall_7
def test_a_self_test_that_begins_to_fail_takes_it_out_of_service(pool):
    pool.agent("oak")
    pool.problems["oak"] = ("the disk has 3 MB left",)
    pool.advance(330)
    assert health(pool, "oak") == "degraded"
    assert pool.state(pool.submit()) == "queued"


@pytest.mark.pitfall_3
def test_damaged_files_that_a_sidecar_set_aside_are_told_and_keep_it_from_nothing(pool):
    pool.damage["oak"] = "/srv/journal/runs/5-0.corrupt"
    pool.agent("oak")
    assert (health(pool, "oak"), pool.agent_record("oak").damage) == ("available", "/srv/journal/runs/5-0.corrupt")
    pool.damage.clear()
    pool.advance(330)
    assert pool.agent_record("oak").damage == ""


@pytest.mark.pitfall_7
def test_who_refuses_an_order_as_unfit_is_believed_at_once(pool):
    pool.agent("oak")
    task = pool.submit()
    attempt = pool.task(task).attempts[-1]
    pool.report(task, attempt.token, "oak", Outcome("handed_back", "unfit", "its disk is full"))
    assert (pool.state(task), pool.task(task).attempts[-1].counted) == ("queued", False)
    assert (health(pool, "oak"), pool.agent_record("oak").health_why) == ("degraded", "its disk is full")
    pool.advance(330)
    assert pool.state(task) == "assigned", "its next healthy self-test says otherwise"


# ------------------------------------------------------------- rate limits


@pytest.mark.pitfall_10
def test_a_rate_limit_is_a_taint_that_goes_by_itself_and_burns_no_attempt(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=1)
    attempt = pool.task(task).attempts[-1]
    outcome = Outcome("failed", "rate_limited", "429", resets_at=pool.now + 1_000_000)
    pool.report(task, attempt.token, "oak", outcome)
    assert (pool.state(task), health(pool, "oak")) == ("queued", "rate_limited")
    pool.advance(999)
    assert pool.state(task) == "queued"
    pool.advance(2)
    assert (pool.state(task), health(pool, "oak")) == ("assigned", "available")
    pool.finish(task)
    assert pool.state(task) == "completed"


def test_a_rate_limit_without_an_end_lasts_as_long_as_the_policy_says(pool):
    pool.agent("oak")
    task = pool.submit()
    fail(pool, task, "rate_limited")
    pool.advance(POLICY.rate_limit_s - 1)
    assert health(pool, "oak") == "rate_limited"
    pool.advance(2)
    assert pool.state(task) == "assigned"


def test_work_that_met_a_rate_limit_goes_elsewhere_at_once(pool):
    pool.agent("ash")
    task = pool.submit()
    pool.agent("elm")
    fail(pool, task, "rate_limited")
    assert (pool.state(task), pool.where(task)) == ("assigned", "elm")


def limited(pool, task, for_s):
    pool.end(task, Outcome("failed", "rate_limited", "429", resets_at=pool.now + for_s * 1_000 if for_s else 0))


def test_when_all_are_rate_limited_work_waits_for_the_first_of_them_to_return(pool):
    pool.agent("ash")
    pool.agent("elm")
    first, second = pool.submit(), pool.submit()
    limited(pool, first, 600 if pool.where(first) == "ash" else 60)
    limited(pool, second, 600 if pool.where(second) == "ash" else 60)
    assert {health(pool, "ash"), health(pool, "elm")} == {"rate_limited"}
    pool.advance(59)
    assert pool.states(first, second) == ["queued", "queued"]
    pool.advance(2)
    assert sorted(pool.states(first, second)) == ["assigned", "queued"]
    for _ in range(2):
        (task,) = pool.runs("elm").values()
        pool.finish(task)
    assert pool.states(first, second) == ["completed", "completed"]
    pool.advance(600)
    assert health(pool, "ash") == "available"
    assert pool.agent_record("ash").failed == pool.agent_record("elm").failed == 0


def test_what_runs_beside_it_goes_on_and_nothing_new_begins(pool):
    pool.agent("oak", slots=2)
    first, second, third = pool.submit(), pool.submit(), pool.submit()
    limited(pool, first, 100)
    assert (pool.state(second), pool.states(first, third)) == ("assigned", ["queued", "queued"])
    pool.finish(second)
    assert pool.states(first, third) == ["queued", "queued"]
    pool.advance(101)
    assert pool.states(first, third) == ["assigned", "assigned"]


def test_the_later_of_two_resets_holds(pool):
    pool.agent("oak", slots=2)
    first, second = pool.submit(), pool.submit()
    limited(pool, first, 500)
    limited(pool, second, 50)
    pool.advance(400)
    assert health(pool, "oak") == "rate_limited"
    pool.advance(101)
    assert pool.states(first, second) == ["assigned", "assigned"]


@pytest.mark.parametrize(("for_s", "until_s"), [(-100, POLICY.rate_limit_s), (10**9, 7 * 86_400)])
def test_a_reset_that_cannot_be_is_not_believed(pool, for_s, until_s):
    pool.agent("oak")
    task = pool.submit()
    limited(pool, task, for_s)
    assert pool.agent_record("oak").limited_until == pool.now + until_s * 1_000


def test_what_only_one_agent_may_do_waits_for_it(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit(agent="ash")
    limited(pool, task, 100)
    pool.advance(99)
    assert pool.state(task) == "queued"
    pool.advance(2)
    assert pool.where(task) == "ash"


def test_it_goes_on_in_its_session_when_its_agent_is_back(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, Outcome("failed", "rate_limited", "429", resets_at=pool.now + 100_000, session="s1"))
    pool.advance(101)
    assert pool.order(task).session == "s1"


@pytest.mark.pitfall_10
def test_who_always_says_rate_limited_does_not_keep_a_task_going_round_for_ever():
    pool = FakePool(Policy(max_waits=3, max_attempts=2, rate_limit_s=1, retry_delays_s=(0.0,), retry_jitter=0.0))
    pool.agent("oak")
    task = pool.submit()
    for _ in range(5):
        assert pool.state(task) == "assigned"
        fail(pool, task, "rate_limited")
        pool.advance(2)
    assert pool.state(task) == "failed"
    assert pool.task(task).generation == 5


# ------------------------------------------------------------------ persons


@pytest.mark.parametrize("reason", ["auth_failed", "permission_denied", "budget_exceeded", "input_required"])
def test_what_only_a_person_can_help_waits_for_one(pool, reason):
    pool.agent("oak")
    task = pool.submit(max_attempts=1)
    fail(pool, task, reason)
    assert (pool.state(task), pool.task(task).reason) == ("input_required", reason)
    assert pool.agent_record("oak").running == {}, "it holds no slot"
    pool.advance(3_600)
    assert pool.state(task) == "input_required"
    pool.retry(task)
    pool.ask(Reset(agent="oak"))
    assert pool.state(task) == "assigned"
    pool.finish(task)
    assert pool.state(task) == "completed"


def test_what_waits_for_a_person_can_be_canceled_and_expires(pool):
    pool.agent("oak")
    tasks = [pool.submit(expires_s=100), pool.submit(expires_s=100)]
    for task in tasks:
        fail(pool, task, "permission_denied")
    pool.cancel(tasks[0])
    pool.advance(101)
    assert pool.states(*tasks) == ["canceled", "failed"]
    assert pool.task(tasks[1]).reason == "expired"


@pytest.mark.parametrize(("wish", "word"), [(Cordon, "cordoned"), (Drain, "draining")])
def test_an_agent_out_of_service_gets_no_work_and_keeps_what_it_has(pool, wish, word):
    pool.agent("oak", slots=2)
    first = pool.submit()
    pool.ask(wish(agent="oak"))
    second = pool.submit()
    assert health(pool, "oak") == word
    assert pool.states(first, second) == ["assigned", "queued"]
    pool.finish(first)
    assert pool.states(first, second) == ["completed", "queued"]
    pool.ask(Resume(agent="oak"))
    assert pool.state(second) == "assigned"


def test_when_a_draining_agent_is_empty_the_journal_says_so(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.ask(Drain(agent="oak"))
    assert "drained" not in [line.trigger for line in pool.journal]
    pool.finish(task)
    assert [line.agent for line in pool.journal if line.trigger == "drained"] == ["oak"]


def test_a_person_can_forgive(pool):
    pool.agent("oak")
    task = pool.submit()
    fail(pool, task, times=3)
    pool.ask(Reset(agent="oak"))
    assert health(pool, "oak") == "available"
    assert pool.state(task) == "assigned"


@pytest.mark.parametrize("wish", [Cordon, Drain, Resume, Reset])
@pytest.mark.pitfall_10
def test_asking_twice_changes_nothing(pool, wish):
    pool.agent("oak")
    fail(pool, pool.submit(), times=3)
    pool.ask(wish(agent="oak"))
    before, journal = pool.agents["oak"], len(pool.journal)
    entry = pool.ask(wish(agent="oak"))
    assert (pool.agents["oak"], len(pool.journal)) == (before, journal)
    assert pool.why_refused(entry) == []


@pytest.mark.parametrize("wish", [Cordon, Drain, Resume, Reset])
def test_nobody_can_be_asked_of_an_agent_that_is_not_there(pool, wish):
    assert pool.why_refused(pool.ask(wish(agent="zeb"))) == ["there is no agent 'zeb'"]


def test_a_persons_wish_outlives_the_sidecar_and_the_leader(pool):
    pool.agent("oak")
    pool.ask(Cordon(agent="oak"))
    pool.restart()
    pool.agent("oak")
    pool.advance(1_000)
    assert health(pool, "oak") == "cordoned"
    assert pool.state(pool.submit()) == "queued"


@pytest.mark.pitfall_7
@pytest.mark.pitfall_10
def test_a_task_that_nobody_can_be_woken_for_does_not_stop_the_agents():
    """Who showed no life is suspected until its next healthy self-test; only the third time in a row it is broken."""
    pool = FakePool(Policy(retry_jitter=0.0, retry_delays_s=(0.0,), max_attempts=50, self_test_s=20))
    pool.agent("oak", slots=2)
    task = pool.submit()
    for strikes in (1, 2):
        fail(pool, task, "accept_timeout")
        assert health(pool, "oak") == "degraded"
        pool.advance(40)
        assert (health(pool, "oak"), pool.agent_record("oak").strikes) == ("available", strikes)
        assert not pool.agent_record("oak").probation
    fail(pool, task, "accept_timeout")
    pool.advance(200)
    assert health(pool, "oak") == "degraded", "now it is the breaker's time"
    pool.advance(150)
    assert pool.agent_record("oak").probation
