"""A leader can be replaced at any point, and what is damaged or missing in the store stops nobody."""

import pytest
from msgspec import Raw

from agentcom.model.messages import Line
from agentcom.model.task import TaskRecord
from agentcom.scheduler.core import Core
from agentcom.settings import Policy
from tests.stories.pool import FakePool


def play(pool, restart):
    """A day on which much goes wrong; `restart` is called after each step."""
    pool.agent("ash", slots=2, python=3)
    pool.agent("elm", python=5)
    restart()
    tasks = [pool.submit(str(n), requires="python >= 2", priority=("normal", "urgent")[n % 2]) for n in range(4)]
    restart()
    heir = pool.submit("heir", after=tasks[:2])
    restart()
    pool.accept(tasks[1])
    pool.finish(tasks[1], "failed", "exit_code")
    restart()
    pool.finish(tasks[3])
    restart()
    pool.advance(70)
    restart()
    for name in ("ash", "elm"):
        pool.obey(name)
        restart()
    pool.cancel(tasks[2])
    restart()
    pool.obey(pool.where(tasks[2]))
    pool.retry(tasks[2])
    restart()
    for _ in range(30):
        for task in (*tasks, heir):
            if pool.state(task) in ("assigned", "working"):
                pool.finish(task)
                restart()
        pool.advance(40)
        for name in ("ash", "elm"):
            pool.obey(name)
            restart()
    return tasks, heir


@pytest.mark.pitfall_4
def test_a_new_leader_at_every_step_decides_as_one_leader_would():
    one, many = FakePool(), FakePool()
    play(one, lambda: None)
    play(many, many.restart)
    told = [
        [(line.task, line.before, line.after, line.agent, line.trigger) for line in pool.journal if line.what == "task"]
        for pool in (one, many)
    ]
    assert told[0] == told[1]
    assert {one.state(task) for task in one.records} == {"completed"}


@pytest.mark.pitfall_1
def test_what_was_read_and_not_committed_is_read_again(pool):
    pool.agent("oak")
    with pool.one_commit():
        task = pool.submit()
        pool.restart()
        pool.restart()
    assert pool.assigned() == [task]
    with pool.one_commit():
        pool.finish(task)
        pool.restart()
    assert pool.state(task) == "completed"


def test_a_new_leader_with_nothing_to_say_writes_nothing(pool):
    pool.agent("oak")
    pool.submit()
    pool.submit()
    pool.core = pool._load()
    assert pool.core.take(pool.now).empty


def test_a_leader_counts_what_it_holds(pool):
    pool.submit("four")
    pool.submit("four")
    assert pool.core.open_tasks == 2
    assert pool.core.waiting() == 2
    assert pool.core.spec_bytes > 8


def test_a_lost_record_is_said_so_and_what_waits_for_it_fails(pool):
    lost = pool.submit()
    heir = pool.submit(after=[lost])
    last = pool.submit(after=[heir])
    pool.judging = False
    del pool.records[lost]
    pool.restart()
    assert lost not in pool.open
    assert pool.states(heir, last) == ["failed", "failed"]
    assert pool.task(heir).reason == "dependency_failed"
    assert any(line.trigger == "load" and line.task == lost for line in pool.journal)


def test_the_slot_of_a_lost_record_is_freed_by_the_report_of_its_end(pool):
    pool.agent("oak")
    lost = pool.submit()
    token = pool.token(lost)
    record = pool.records.pop(lost)
    pool.judging = False
    pool.restart()
    pool.records[lost] = record
    pool.finish(lost, token=token)
    assert pool.agent_record("oak").running == {}


def test_the_journal_can_say_something_of_the_pool_itself(pool):
    pool.core.note(Line(pool.now, "pool", "lead", detail="someone leads"))
    pool.commit()
    assert pool.journal[-1].detail == "someone leads"


def test_nothing_is_wanted_of_a_pool_where_nothing_can_happen(pool):
    assert pool.core.wake_at() is None
    pool.submit()
    assert pool.core.wake_at() is None


def test_the_core_says_when_it_next_wants_to_be_called(pool):
    pool.submit(expires_s=5)
    assert pool.core.wake_at() == pool.now + 5_000


@pytest.mark.parametrize("reload", [False, True])
def test_the_order_among_waiting_tasks_survives_their_leader(reload):
    pool = FakePool(Policy(), reload=reload)
    tasks = [pool.submit(str(n)) for n in range(30)]
    pool.agent("oak", slots=30)
    assert pool.assigned() == tasks


def test_a_task_that_a_newer_version_wrote_is_left_alone_and_said_so() -> None:
    spec = Raw(b'{"id":"01a205fd-79af-7310-9f0f-a52edf7aef01","text":"x","invented_later":1}')
    record: TaskRecord[Raw] = TaskRecord(spec=spec, seq=1, state="queued", submitted_at=1, changed_at=1)
    core = Core(Policy(), lambda: "n")
    core.load_tasks([record], 1)
    commit = core.take(1)
    assert commit.closed == []
    assert [(line.task, "left alone" in line.detail) for line in commit.lines] == [
        ("01a205fd-79af-7310-9f0f-a52edf7aef01", True)
    ]


HOUR_MS = 3_600_000


def test_a_delay_set_by_a_leader_whose_clock_was_ahead_is_no_longer_than_it_should_be():
    pool = FakePool(Policy(retry_delays_s=(30.0,), retry_jitter=0.0))
    pool.agent("oak")
    pool.agent("elm")
    task = pool.submit()
    pool.now += HOUR_MS
    pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == "retry_wait"
    pool.now -= HOUR_MS
    pool.restart()
    assert pool.core.wake_at() is not None
    assert pool.core.wake_at() <= pool.now + 30_000


def test_a_submission_taken_on_by_a_leader_whose_clock_was_ahead_expires_no_later():
    pool = FakePool()
    pool.now += HOUR_MS
    task = pool.submit(expires_s=60)
    pool.now -= HOUR_MS
    pool.restart()
    pool.advance(61)
    assert pool.state(task) == "failed"


def test_a_breaker_opened_by_a_leader_whose_clock_was_ahead_closes_in_its_time():
    pool = FakePool(Policy(breaker_failures=1, breaker_s=60.0, retry_delays_s=(0.0,)))
    pool.agent("oak")
    task = pool.submit()
    pool.now += HOUR_MS
    pool.finish(task, "failed", "exit_code")
    assert pool.agent_record("oak").health == "degraded"
    pool.now -= HOUR_MS
    pool.restart()
    assert pool.agent_record("oak").degraded_until > pool.now + 60_000, "as it was written"
    assert pool.core.agents["oak"].degraded_until <= pool.now + 60_000


@pytest.mark.pitfall_10
def test_a_loss_noted_by_a_leader_whose_clock_was_ahead_hides_no_later_one():
    pool = FakePool(Policy(retry_jitter=0.0))
    pool.agent("oak")
    pool.finish(pool.submit(max_attempts=1), "lost", "lost")
    pool.now -= 3_600_000
    pool.restart()
    pool.finish(pool.submit(max_attempts=1), "lost", "lost")
    assert pool.agent_record("oak").strikes == 2
