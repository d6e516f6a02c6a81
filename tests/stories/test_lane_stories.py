"""Who waits, who goes first, and that work stays with the pool until somebody has a hand free."""

import pytest

from agentcom.model.codec import decode_order
from agentcom.model.messages import Assign
from agentcom.settings import Policy
from tests.stories.pool import FakePool


def given(pool, agent):
    return [order.task for order in map(decode_order, pool.orders.get(agent, {}).values()) if isinstance(order, Assign)]


def test_urgent_work_goes_first_and_equals_go_in_the_order_of_submission(pool):
    tasks = {p + n: pool.submit(priority=p) for n in "12" for p in ("low", "normal", "high", "urgent")}
    pool.agent("oak", slots=8)
    by_id = {task: name for name, task in tasks.items()}
    assert [by_id[task] for task in pool.assigned()] == [
        "urgent1", "urgent2", "high1", "high2", "normal1", "normal2", "low1", "low2",
    ]  # fmt: skip


def test_urgent_work_goes_first_across_lanes(pool):
    pool.submit(requires="python")
    urgent = pool.submit(requires="os == linux", priority="urgent")
    pool.submit(requires="python >= 2", priority="high")
    pool.agent("oak", python=3, os="linux")
    assert pool.assigned() == [urgent]


def test_an_agent_never_gets_more_than_its_slots_and_gets_the_next_as_soon_as_one_is_free(pool):
    tasks = [pool.submit() for _ in range(5)]
    pool.agent("oak", slots=2)
    assert given(pool, "oak") == tasks[:2]
    pool.accept(tasks[0])
    assert given(pool, "oak") == tasks[:2]
    pool.finish(tasks[1])
    assert given(pool, "oak") == [tasks[0], tasks[2]]


@pytest.mark.pitfall_2
def test_all_free_slots_are_filled_in_one_commit(pool):
    for _ in range(50):
        pool.submit()
    commits = len(pool.commits)
    pool.agent("oak", slots=40)
    assert len(given(pool, "oak")) == 40
    assert len(pool.commits) == commits + 1


def test_many_tasks_spread_over_the_free_agents(pool):
    for name in ("ash", "elm", "oak"):
        pool.agent(name, slots=3)
    pool.submit_all(*({"text": str(n)} for n in range(6)))
    assert [len(given(pool, name)) for name in ("ash", "elm", "oak")] == [2, 2, 2]


@pytest.mark.pitfall_10
def test_fresh_work_goes_before_retried_work_of_the_same_priority(pool):
    pool.agent("oak")
    failing = pool.submit("failing")
    fresh = pool.submit("fresh")
    pool.finish(failing, "failed", "exit_code")
    assert pool.state(failing) == "queued", "its first retry is due at once"
    assert pool.where(fresh) == "oak"


@pytest.mark.pitfall_10
def test_retried_work_ages_back_in_before_fresh_work():
    pool = FakePool(Policy(retry_age_s=600))
    pool.agent("oak")
    failing = pool.submit("failing")
    running = pool.submit("runs for long")
    pool.finish(failing, "failed", "exit_code")
    pool.accept(running)
    pool.advance(601)
    fresh = pool.submit("fresh")
    pool.finish(running)
    assert pool.states(failing, fresh) == ["assigned", "queued"]


def test_retried_urgent_work_goes_before_fresh_normal_work(pool):
    pool.agent("oak")
    failing = pool.submit("failing", priority="urgent")
    fresh = pool.submit("fresh")
    pool.finish(failing, "failed", "exit_code")
    assert pool.states(failing, fresh) == ["assigned", "queued"]


def test_work_that_was_handed_back_is_the_first_of_its_kind(pool):
    pool.agent("oak")
    handed = pool.submit("handed back")
    for _ in range(3):
        pool.submit()
    pool.finish(handed, "handed_back", "handed_back")
    assert pool.state(handed) == "assigned"


def test_a_canceled_task_in_the_middle_of_a_lane_is_passed_over(pool):
    tasks = [pool.submit() for _ in range(4)]
    pool.cancel(tasks[0])
    pool.cancel(tasks[2])
    pool.agent("oak", slots=4)
    assert pool.assigned() == [tasks[1], tasks[3]]


@pytest.mark.pitfall_6
def test_a_lane_does_not_grow_with_the_tasks_that_left_it():
    pool = FakePool(judging=False)
    pool.submit("nobody is there to do it")
    for _ in range(1_000):
        pool.cancel(pool.submit())
    (lane,) = pool.core._state.matcher._lanes.values()
    assert len(lane.fresh[2]) < 110


def test_an_expert_task_behind_a_long_queue_of_others_is_taken_at_once(pool):
    for _ in range(200):
        pool.submit(requires="rust")
    wanted = pool.submit(requires="python")
    pool.agent("oak", python=1)
    assert pool.assigned() == [wanted]


@pytest.mark.pitfall_10
def test_nobody_starves_where_there_are_more_lanes_than_are_looked_at():
    pool = FakePool(judging=False)
    lanes = 40
    oldest = [pool.submit(requires=f"skill >= {n + 1}") for n in range(lanes)]
    pool.agent("oak", skill=100)
    for _ in range(3 * lanes):
        running = pool.assigned()[-1]
        pool.submit(requires=f"skill >= {pool.now % lanes + 1}")
        pool.now += 7
        pool.finish(running)
    assert set(oldest) <= set(pool.assigned())


@pytest.mark.pitfall_10
def test_the_looks_of_one_kind_of_agent_do_not_make_work_of_another_kind_starve():
    pool = FakePool(judging=False)
    ours, theirs = "python >= {}", "rust >= {}"
    for number in range(20):
        pool.submit(requires=ours.format(number + 1))
    last_ours = pool.submit(requires=ours.format(21))
    for number in range(40):
        pool.submit(requires=theirs.format(number + 1))
    pool.agent("oak", python=100)
    pool.agent("elm", rust=100)
    pool.submit(requires=ours.format(1))
    for step in range(60):
        for name, requires in (("oak", ours), ("elm", theirs)):
            (running,) = given(pool, name)
            pool.submit(requires=requires.format(step % 16 + 1))
            pool.finish(running)
    assert last_ours in pool.assigned()


@pytest.mark.pitfall_6
def test_many_different_demands_are_forgotten_once_nobody_waits_with_them(monkeypatch):
    monkeypatch.setattr("agentcom.scheduler.matching.MAX_LANES", 10)
    pool = FakePool(judging=False)
    pool.core = pool._load()
    pool.agent("ash", accepts="pinned")
    for number in range(100):
        pool.cancel(pool.submit(context_tokens=number + 1))
    assert len(pool.core._state.matcher._lanes) <= 11
    waiting = [pool.submit(context_tokens=number + 1) for number in range(50)]
    pool.agent("oak", slots=50)
    assert pool.assigned() == waiting
