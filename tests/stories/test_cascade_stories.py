"""Failure cascades: everything goes at once, comes back badly, and the pool settles without going round in circles."""

import pytest

from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.scheduler.livelock import Livelock
from agentcom.settings import Policy
from tests.stories.pool import FakePool

FIVE = ["ash", "birch", "cedar", "elm", "oak"]


def sweep_and_advance(pool, seconds):
    for _ in range(int(seconds / 10)):
        pool.advance(10)
        pool.sweep()


@pytest.mark.pitfall_10
def test_five_agents_with_fifty_tasks_vanish_at_once_and_come_back_flapping():
    pool = FakePool(Policy())
    for name in FIVE:
        pool.agent(name, slots=10)
    old = [pool.submit(f"old {n}") for n in range(50)]
    for task in old:
        pool.accept(task)
    for name in FIVE:
        pool.silence(name)
    sweep_and_advance(pool, 130)
    assert not any(pool.agent_record(name).running for name in FIVE), "all orders were rescued"
    fresh = pool.submit("fresh")
    flaps = 0
    for _ in range(8):
        for name in FIVE:
            pool.agent(name, slots=10)
            flaps += 1
        pool.advance(5)
        for name in FIVE:
            pool.silence(name)
        sweep_and_advance(pool, 130)
    assigned = pool.assigned()
    first_new = assigned[50:]
    assert fresh in first_new[:1], "the fresh task is not behind the old failures"
    assert all(pool.agent_record(name).strikes <= 3 for name in FIVE)
    assert {pool.agent_record(name).health for name in FIVE} == {"degraded"}, "flapping is noticed"
    before = len(pool.assigned())
    for name in FIVE:
        pool.agent(name, slots=10)
    stable_from = pool.now
    sweep_and_advance(pool, 120)
    assert len(pool.assigned()) - before <= len(FIVE), "within two minutes it stands: at most one trial each"
    assert pool.now - stable_from == 120_000
    for _ in range(60):
        sweep_and_advance(pool, 60)
        for task in [*old, fresh]:
            if pool.state(task) in RUNNING:
                pool.finish(task)
    assert {pool.state(task) for task in [*old, fresh]} <= ENDED
    counted = [pool.task(task).generation - pool.task(task).handbacks for task in old]
    assert max(counted) <= 4, "the cap holds"


@pytest.mark.pitfall_10
def test_requeues_without_a_completion_are_a_livelock_that_is_said_once():
    pool = FakePool(
        Policy(livelock_requeues=10, livelock_s=100, breaker_failures=1_000, retry_delays_s=(0.0,), max_attempts=100)
    )
    pool.agent("oak")
    task = pool.submit()
    for _ in range(9):
        pool.finish(task, "failed", "exit_code")
    assert pool.signs == {}
    for _ in range(20):
        pool.finish(task, "failed", "exit_code")
    assert pool.signs == {"livelock": str(pool.now)}
    told = [line for line in pool.journal if line.trigger == "livelock"]
    assert [(line.before, line.after) for line in told] == [("", "livelock")]
    pool.restart()
    pool.finish(task)
    assert pool.signs == {}, "also when another leader has said it"
    told = [line for line in pool.journal if line.trigger == "livelock"]
    assert [(line.before, line.after) for line in told] == [("", "livelock"), ("livelock", "")]


@pytest.mark.pitfall_10
def test_leaders_that_come_and_go_do_not_hide_a_livelock():
    pool = FakePool(
        Policy(livelock_requeues=10, livelock_s=100, breaker_failures=1_000, retry_delays_s=(0.0,), max_attempts=100)
    )
    pool.agent("oak")
    done, goes_round = pool.submit(), pool.submit()
    for _ in range(9):
        pool.finish(done, "failed", "exit_code")
        pool.restart()
    pool.finish(done)
    pool.restart()
    for _ in range(9):
        pool.finish(goes_round, "failed", "exit_code")
        pool.restart()
        assert pool.signs == {}, "what went round before the completion does not count, whoever leads"
    pool.finish(goes_round, "failed", "exit_code")
    assert pool.signs == {"livelock": str(pool.now)}


def test_a_leader_whose_clock_was_ahead_makes_no_livelock_of_what_took_long():
    pool = FakePool(
        Policy(livelock_requeues=10, livelock_s=100, breaker_failures=1_000, retry_delays_s=(0.0,), max_attempts=100)
    )
    pool.now += 3_600_000
    pool.agent("oak")
    task = pool.submit()
    for _ in range(9):
        pool.finish(task, "failed", "exit_code")
        pool.advance(11)
    assert len(pool.requeued) == 9
    pool.now -= 3_600_000
    pool.restart()
    pool.advance(30)
    pool.finish(task, "failed", "exit_code")
    assert pool.signs == {}, "the first of them was longer ago"


def test_what_is_kept_of_requeues_is_bounded_by_the_window_and_in_number():
    livelock = Livelock(1_000_000, 10_000)
    for at in range(20_000):
        livelock.requeued(at * 10)
    assert livelock.take() == tuple(at * 10 for at in range(19_000, 20_000))
    assert livelock.take() is None
    assert livelock.is_still(199_990)
    assert len(livelock._times) == 1_001


def test_requeues_over_a_long_time_are_no_livelock():
    pool = FakePool(
        Policy(livelock_requeues=10, livelock_s=100, breaker_failures=1_000, retry_delays_s=(30.0,), max_attempts=100)
    )
    pool.agent("oak")
    task = pool.submit()
    for _ in range(30):
        pool.finish(task, "failed", "exit_code")
        pool.advance(40)
    assert pool.signs == {}


@pytest.mark.pitfall_10
def test_what_failed_together_is_not_tried_together():
    pool = FakePool(Policy(retry_delays_s=(100.0,), retry_jitter=0.5, breaker_failures=1_000))
    pool.agent("oak", slots=50)
    tasks = [pool.submit() for _ in range(50)]
    failed_at = pool.now
    for task in tasks:
        pool.finish(task, "failed", "exit_code")
    delays_s = [(pool.task(task).ready_at - failed_at) / 1000 for task in tasks]
    assert min(delays_s) >= 100
    assert max(delays_s) <= 150
    assert max(delays_s) - min(delays_s) > 30
    assert len(set(delays_s)) > 40


@pytest.mark.pitfall_10
@pytest.mark.parametrize("every_s", [1, 7])
def test_neither_fresh_nor_retried_work_starves(every_s):
    """A stream of fresh work that takes all of the only agent's time, and one task that failed before."""
    pool = FakePool(Policy(retry_jitter=0.0, breaker_failures=1_000, retry_age_s=600))
    pool.agent("oak")
    retried = pool.submit("retried")
    pool.finish(retried, "failed", "exit_code")
    pool.finish(retried, "failed", "exit_code")
    assert pool.state(retried) == "retry_wait"
    began, waited_s, longest_fresh_s = pool.now, None, 0.0
    running, backlog = pool.submit("fresh"), pool.submit("fresh")
    while waited_s is None and pool.now - began < 2_000_000:
        pool.advance(every_s)
        pool.finish(running)
        if pool.state(retried) in RUNNING:
            waited_s = (pool.now - began) / 1000
            break
        longest_fresh_s = max(longest_fresh_s, (pool.now - pool.task(backlog).ready_at) / 1000)
        running, backlog = backlog, pool.submit("fresh")
        assert pool.state(running) in RUNNING, "fresh work goes first"
    assert waited_s is not None, "it aged back in"
    assert 600 <= waited_s <= 600 + 30 + 2 * every_s
    assert longest_fresh_s <= 2 * every_s
    assert pool.state(backlog) == "queued"
    pool.finish(retried)
    assert pool.state(backlog) in RUNNING


def test_a_livelock_is_also_over_when_nothing_goes_round_any_more():
    pool = FakePool(
        Policy(livelock_requeues=3, livelock_s=100, breaker_failures=1_000, retry_delays_s=(0.0,), max_attempts=5)
    )
    pool.agent("oak")
    task = pool.submit()
    for _ in range(5):
        pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == "failed"
    assert "livelock" in pool.signs
    pool.restart()
    pool.advance(250)
    assert pool.signs == {}


@pytest.mark.pitfall_10
def test_work_that_comes_back_again_and_again_does_not_hide_what_has_aged():
    pool = FakePool(Policy(retry_jitter=0.0, breaker_failures=1_000, retry_age_s=600, retry_delays_s=(0.0,)))
    pool.agent("oak")
    aged, noisy = pool.submit("aged"), pool.submit("noisy")
    for task in (aged, noisy):
        pool.finish(task, "failed", "exit_code")
    began = pool.now
    running = pool.submit("fresh")
    while pool.state(aged) not in RUNNING:
        assert pool.now - began < 700_000, "it aged back in"
        pool.advance(10)
        current = next(task for task in (aged, noisy, running) if pool.state(task) in RUNNING)
        if current == noisy:
            pool.finish(noisy, "handed_back", "turned_away")
        elif current == running:
            pool.finish(running)
            running = pool.submit("fresh")


@pytest.mark.pitfall_10
def test_fresh_work_does_not_wait_for_a_whole_backlog_that_has_aged():
    pool = FakePool(Policy(retry_jitter=0.0, breaker_failures=1_000, retry_age_s=600, retry_delays_s=(0.0,)))
    pool.agent("oak", slots=20)
    backlog = [pool.submit() for _ in range(20)]
    for task in backlog:
        pool.finish(task, "failed", "timeout")
    pool.silence("oak")
    pool.advance(700)
    fresh = pool.submit("fresh")
    pool.agent("elm")
    turns = 0
    while pool.state(fresh) not in RUNNING:
        current = next(task for task in backlog if pool.where(task) == "elm" and pool.state(task) in RUNNING)
        pool.finish(current)
        turns += 1
        assert turns <= 2


@pytest.mark.pitfall_10
@pytest.mark.parametrize(("reason", "told"), [("turned_away", True), ("handed_back", False)])
def test_work_that_is_turned_away_again_and_again_is_a_livelock_and_that_of_who_stops_is_none(reason, told):
    pool = FakePool(Policy(livelock_requeues=20, livelock_s=300, max_handbacks=5))
    pool.agent("oak", slots=30)
    for task in [pool.submit() for _ in range(25)]:
        pool.finish(task, "handed_back", reason)
        pool.agent("oak", slots=30)
    assert any(line.trigger == "livelock" for line in pool.journal) is told


@pytest.mark.pitfall_10
def test_an_agent_that_failed_a_task_twice_is_avoided_although_it_has_the_workspace():
    pool = FakePool(Policy(retry_jitter=0.0, retry_delays_s=(0.0,), max_attempts=4))
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task, "failed", "git_fetch_failed")
    pool.agent("elm")
    assert pool.where(task) == "oak", "it goes on in its workspace"
    pool.finish(task, "failed", "git_fetch_failed")
    assert pool.where(task) == "elm"
