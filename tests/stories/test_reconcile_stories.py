"""Reality wins: what a beat says about what runs, and what the record says."""

import pytest

from agentcom.model.codec import decode_order
from agentcom.model.messages import Ask, Requeue
from agentcom.settings import Policy
from tests.stories.pool import FakePool


@pytest.fixture
def pool():
    return FakePool()


def asked(pool, name):
    orders = (decode_order(body) for body in pool.orders.get(name, {}).values())
    return [order.token for order in orders if isinstance(order, Ask)]


def beats(pool, name, incarnation, times, every_s=30):
    for _ in range(times):
        pool.now += every_s * 1000
        pool.beat(name, incarnation)


@pytest.mark.pitfall_4
def test_the_beat_says_idle_and_the_record_says_working_the_sidecar_is_asked_once(pool):
    incarnation = pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    token = pool.token(task)
    pool.beating.clear()
    pool.says["oak"] = {}
    beats(pool, "oak", incarnation, 1)
    assert asked(pool, "oak") == [], "the first beat after the assignment may have been sent before it"
    beats(pool, "oak", incarnation, 1)
    assert asked(pool, "oak") == [token]
    assert pool.state(task) == "working"


@pytest.mark.pitfall_4
def test_the_outcome_that_it_still_holds_counts(pool):
    incarnation = pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    pool.beating.clear()
    pool.says["oak"] = {}
    beats(pool, "oak", incarnation, 2)
    assert len(asked(pool, "oak")) == 1
    pool.finish(task)
    assert pool.state(task) == "completed"
    assert pool.task(task).generation == 1


@pytest.mark.pitfall_4
def test_who_does_not_answer_loses_the_task_with_the_next_beat(pool):
    incarnation = pool.agent("oak")
    pool.agent("elm")
    task = pool.submit(agent="oak")
    pool.accept(task)
    token = pool.token(task)
    pool.beating.clear()
    pool.says["oak"] = {}
    beats(pool, "oak", incarnation, 3)
    attempt = pool.task(task).attempts[0]
    assert (attempt.outcome.result, attempt.outcome.reason) == ("lost", "lost")
    assert [stop.token for stop in pool.stops("oak")] == [token], "should it run after all, it is stopped"
    assert pool.agent_record("oak").running == {token: task}, "its slot is free when the stop is answered"
    pool.obey("oak")
    assert [line.trigger for line in pool.journal if line.task == task][-2:] == ["reconcile", "match"]


@pytest.mark.pitfall_4
def test_an_order_that_was_not_read_yet_is_not_missed_when_it_is_named_later(pool):
    incarnation = pool.agent("oak")
    task = pool.submit()
    pool.beating.clear()
    pool.says["oak"] = {}
    beats(pool, "oak", incarnation, 2, every_s=10)
    assert len(asked(pool, "oak")) == 1
    del pool.says["oak"]
    beats(pool, "oak", incarnation, 1, every_s=10)
    pool.says["oak"] = {}
    beats(pool, "oak", incarnation, 1, every_s=10)
    assert pool.state(task) == "assigned", "the doubt begins anew"


@pytest.mark.pitfall_4
def test_work_that_the_record_does_not_know_is_stopped(pool):
    incarnation = pool.agent("oak")
    stranger = pool.new_id()
    pool.says["oak"] = {"3.abc": stranger}
    beats(pool, "oak", incarnation, 1)
    assert pool.stops("oak") == [], "its end may have been reported since it beat"
    beats(pool, "oak", incarnation, 1)
    assert [(stop.task, stop.token) for stop in pool.stops("oak")] == [(stranger, "3.abc")]


@pytest.mark.pitfall_1
def test_of_two_generations_of_a_task_the_older_is_stopped(pool):
    incarnation = pool.agent("oak", slots=2)
    task = pool.submit()
    pool.accept(task)
    token = pool.token(task)
    pool.finish(task, "failed", "exit_code")
    newer = pool.token(task)
    assert newer != token
    pool.accept(task)
    pool.says["oak"] = {token: task, newer: task}
    beats(pool, "oak", incarnation, 2)
    assert [stop.token for stop in pool.stops("oak")] == [token]


@pytest.mark.pitfall_4
def test_outcomes_on_their_way_are_waited_for(pool):
    from agentcom.model.messages import Beat
    from agentcom.scheduler.events import Beaten

    incarnation = pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    for count in range(1_000, 1_010):
        pool.now += 30_000
        beat = Beat(agent="oak", incarnation=incarnation, count=count, at=0, state="idle", unsent=1)
        pool.core.apply(Beaten(beat, 0), pool.now)
        pool.commit()
    assert asked(pool, "oak") == []
    assert pool.state(task) == "working"


@pytest.mark.pitfall_4
def test_what_an_agent_does_is_journalled_as_its_beats_tell_it(pool):
    pool.agent("oak")
    pool.advance(40)
    task = pool.submit()
    pool.accept(task)
    pool.advance(40)
    pool.finish(task)
    pool.advance(40)
    told = [(line.before, line.after, line.trigger) for line in pool.journal if line.axis == "activity"]
    assert told == [("unknown", "idle", "beat"), ("idle", "working", "beat"), ("working", "idle", "beat")]
    pool.silence("oak")
    pool.advance(600)
    last = [(line.before, line.after, line.trigger) for line in pool.journal if line.axis == "activity"][-1]
    assert last == ("idle", "unknown", "silence"), "of one that is not heard from nobody knows"


@pytest.mark.pitfall_3
def test_a_hello_of_an_older_start_is_refused_only_while_the_newer_is_heard_from(pool):
    from agentcom.model.agent import Card

    pool.agent("oak")
    pool.hello("oak", "sc-0000000000001-1", Card())
    assert "a newer sidecar of this name" in pool.refusals_in_journal()[-1]
    pool.silence("oak")
    pool.advance(100)
    pool.hello("oak", "sc-0000000000001-1", Card())
    assert pool.agent_record("oak").incarnation == "sc-0000000000001-1", "its clock was set back, nothing more"
    assert pool.agent_record("oak").link == "online"


def test_a_person_can_take_a_task_from_its_agent(pool):
    pool.agent("ash")
    task = pool.submit(max_attempts=1)
    pool.agent("elm")
    token = pool.token(task)
    pool.ask(Requeue(task=task, why="it hangs"))
    assert (pool.state(task), pool.where(task)) == ("assigned", "elm")
    assert [(stop.token, stop.why) for stop in pool.stops("ash")] == [(token, "it hangs")]
    assert pool.task(task).attempts[0].counted is False
    pool.finish(task)
    assert pool.state(task) == "completed"


@pytest.mark.pitfall_1
def test_asked_for_twice_a_task_is_taken_from_one_attempt_only(pool):
    pool.agent("ash")
    task = pool.submit()
    pool.agent("elm")
    for _ in range(2):
        pool.ask(Requeue(task=task, generation=1))
    assert (pool.where(task), pool.task(task).generation, pool.stops("elm")) == ("elm", 2, [])


def test_requeueing_what_waits_already_changes_nothing(pool):
    task = pool.submit()
    record = pool.records[task]
    entry = pool.ask(Requeue(task=task))
    assert (pool.records[task], pool.why_refused(entry)) == (record, [])


def test_requeueing_ends_a_delay(pool):
    pool.agent("oak")
    task = pool.submit()
    for _ in range(2):
        pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == "retry_wait"
    pool.ask(Requeue(task=task))
    assert pool.state(task) == "assigned"


def test_what_has_ended_cannot_be_requeued(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task)
    assert "it has ended already: completed" in pool.why_refused(pool.ask(Requeue(task=task)))[0]
    assert "there is no task" in pool.why_refused(pool.ask(Requeue(task=pool.new_id())))[0]


@pytest.mark.pitfall_10
def test_what_was_taken_from_a_silent_agent_occupies_its_slot_until_it_says_otherwise(pool):
    incarnation = pool.agent("oak")
    task = pool.submit(max_attempts=1)
    pool.accept(task)
    token = pool.token(task)
    pool.silence("oak")
    pool.advance(100)
    pool.sweep()
    other = pool.submit()
    pool.says["oak"] = {token: task}
    pool.beat("oak", incarnation)
    assert pool.agent_record("oak").link == "online"
    assert pool.state(other) == "queued", "it would only be refused"
    assert [stop.token for stop in pool.stops("oak")] == [token]
    pool.obey("oak")
    assert (pool.state(other), pool.agent_record("oak").ghosts) == ("assigned", {})


def test_a_beat_that_does_not_name_it_any_more_frees_the_slot(pool):
    incarnation = pool.agent("oak")
    task = pool.submit(max_attempts=1)
    pool.accept(task)
    pool.silence("oak")
    pool.advance(100)
    pool.sweep()
    other = pool.submit()
    pool.beat("oak", incarnation)
    assert (pool.state(other), pool.agent_record("oak").ghosts) == ("assigned", {})


def test_a_new_start_of_the_sidecar_has_no_ghosts(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=1)
    pool.accept(task)
    pool.silence("oak")
    pool.advance(100)
    pool.sweep()
    assert list(pool.agent_record("oak").ghosts.values()) == [task]
    pool.agent("oak")
    assert pool.agent_record("oak").ghosts == {}


@pytest.mark.pitfall_10
def test_what_is_handed_back_again_and_again_waits_longer_and_longer(pool):
    pool.agent("oak")
    task = pool.submit()
    began, times = pool.now, 0
    while times < 5:
        if pool.state(task) == "assigned":
            pool.finish(task, "handed_back", "handed_back")
            times += 1
        pool.advance(0.5)
    assert pool.now - began >= 7_000, "no storm: 0, 1, 2 and 4 seconds in between"


def test_an_attempt_whose_task_ended_before_it_has_an_end_too(pool):
    pool.agent("oak")
    task = pool.submit(expires_s=10)
    pool.accept(task)
    pool.advance(11)
    assert pool.state(task) == "failed"
    pool.finish(task)
    assert pool.task(task).attempts[-1].ended_at > 0


@pytest.mark.pitfall_1
def test_what_was_told_to_stop_and_runs_on_is_told_again_by_its_beats_but_not_with_each(pool):
    incarnation = pool.agent("oak", slots=2)
    task = pool.submit()
    pool.accept(task)
    token = pool.token(task)
    pool.cancel(task)
    pool.orders["oak"].clear()  # the sidecar had read the stop, and was killed before it could obey
    pool.says["oak"] = {token: task}
    beats(pool, "oak", incarnation, 10)
    assert [stop.token for stop in pool.stops("oak")] == [token]


@pytest.mark.pitfall_4
def test_an_attempt_that_its_agents_record_lost_is_listed_again_by_its_beat(pool):
    incarnation = pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    pool.core._state.agents["oak"].running.clear()
    pool.judging = False
    beats(pool, "oak", incarnation, 3)
    assert pool.stops("oak") == []
    assert pool.agent_record("oak").running == {pool.token(task): task}


def test_a_sidecar_that_dies_with_each_task_is_noticed(pool):
    pool = FakePool(Policy(retry_delays_s=(0.0,), retry_jitter=0.0, max_attempts=50))
    for _ in range(3):
        pool.agent("oak")
        task = next(iter(pool.open), None) or pool.submit()
        pool.finish(task, "lost", "lost")
    assert pool.agent_record("oak").health == "degraded"


def test_an_agent_that_is_long_gone_is_forgotten_however_often_leaders_change(pool):
    pool = FakePool(Policy(retention_s=1_000))
    pool.agent("oak")
    pool.goodbye("oak")
    for _ in range(4):
        pool.advance(300)
        pool.restart()
    assert "oak" not in pool.agents


@pytest.mark.pitfall_10
def test_who_turns_work_away_gets_nothing_more_until_its_next_beat(pool):
    """It works on what the pool lost: all that waits must not be thrown at it, one after the other."""
    pool.agent("oak")
    tasks = [pool.submit() for _ in range(5)]
    pool.finish(tasks[0], "handed_back", "turned_away")
    assert pool.states(*tasks) == ["queued"] * 5
    assert pool.agent_record("oak").free_slots == 0
    pool.advance(2 * pool.policy.beat_s)
    assert pool.states(*tasks).count("assigned") == 1
    assert pool.agent_record("oak").ghosts == {}


@pytest.mark.pitfall_10
def test_who_turned_work_away_as_another_start_is_given_some_as_soon_as_it_has_said_hello(pool):
    """A fail-over lost its hello: orders are made out to the start before."""
    pool.agent("oak")
    tasks = [pool.submit() for _ in range(5)]
    pool.finish(tasks[0], "handed_back", "turned_away")
    assert pool.states(*tasks) == ["queued"] * 5
    pool.agent("oak")
    assert pool.states(*tasks).count("assigned") == 1


@pytest.mark.pitfall_10
def test_what_an_agent_loses_together_is_one_strike(pool):
    pool.agent("oak", slots=4)
    tasks = [pool.submit() for _ in range(4)]
    pool.advance(1)
    for task in tasks:
        pool.finish(task, "lost", "lost")
    assert (pool.agent_record("oak").strikes, pool.agent_record("oak").health) == (1, "available")


@pytest.mark.pitfall_10
def test_an_agent_that_is_there_and_loses_one_task_after_the_other_is_given_no_more():
    """Its beats come, so that its link says nothing of it."""
    pool = FakePool(Policy(retry_jitter=0.0))
    pool.agent("oak")
    for strikes in (1, 2, 3):
        task = pool.submit(max_attempts=1)
        pool.advance(1)
        pool.finish(task, "lost", "lost")
        assert pool.agent_record("oak").strikes == strikes
    assert (pool.agent_record("oak").link, pool.agent_record("oak").health) == ("online", "degraded")
