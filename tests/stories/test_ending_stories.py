"""Cancel, send back, expire, and what becomes of those that wait."""

import pytest

from agentcom.model.messages import Requeue
from agentcom.model.task import Evidence, Outcome
from agentcom.settings import Policy
from tests.stories.pool import FakePool


def bring(pool, state):
    """A task in this state."""
    if state == "blocked":
        return pool.submit(after=[pool.submit("first", requires="nobody_can")])
    if state == "queued":
        return pool.submit(requires="nobody_can")
    pool.agent("oak")
    task = pool.submit(max_attempts=1 if state == "failed" else 3)
    if state == "retry_wait":
        pool.finish(task, "failed", "exit_code")
        pool.finish(task, "failed", "exit_code")
    elif state == "working":
        pool.accept(task)
    elif state in ("completed", "failed"):
        pool.finish(task, state, "" if state == "completed" else "exit_code")
    elif state == "canceled":
        pool.cancel(task)
        pool.obey("oak")
    assert pool.state(task) == state
    return task


OPEN = ["blocked", "queued", "retry_wait", "assigned", "working"]


# --------------------------------------------------------------------- cancel


@pytest.mark.parametrize("how", ["cancel", "requeue"])
def test_where_the_work_of_an_attempt_that_was_ended_was_saved_is_kept(pool, how):
    task = bring(pool, "working")
    token, saved = pool.token(task), Evidence(rescue="rescue/oak/1", head_sha="b1")
    if how == "cancel":
        pool.cancel(task)
    else:
        pool.ask(Requeue(task=task))
    pool.report(task, token, "oak", Outcome("canceled", "canceled", evidence=saved))
    assert pool.task(task).attempts[0].late.evidence == saved


@pytest.mark.parametrize("state", OPEN)
def test_an_open_task_can_be_canceled_in_every_state(pool, state):
    task = bring(pool, state)
    entry = pool.cancel(task, "not needed")
    record = pool.task(task)
    assert (record.state, record.reason, record.detail) == ("canceled", "canceled", "not needed")
    assert entry not in pool.refused
    pool.advance(1_000)
    assert pool.state(task) == "canceled"


@pytest.mark.parametrize("state", ["assigned", "working"])
def test_canceling_what_runs_tells_its_agent_to_stop_and_keeps_the_slot_until_it_has(pool, state):
    task = bring(pool, state)
    pool.cancel(task, "not needed")
    (stop,) = pool.stops("oak")
    assert (stop.task, stop.token, stop.why) == (task, pool.token(task), "not needed")
    following = pool.submit()
    assert pool.state(following) == "queued"
    pool.obey("oak")
    assert pool.state(following) == "assigned"
    assert task not in pool.open
    assert pool.refusals_in_journal() == [], "an expected end is no refused report"


@pytest.mark.pitfall_1
@pytest.mark.parametrize("result", ["completed", "failed", "lost", "handed_back"])
def test_what_a_canceled_attempt_still_brings_changes_only_its_slot(pool, result):
    task = bring(pool, "working")
    pool.cancel(task)
    pool.finish(task, result)
    assert pool.state(task) == "canceled"
    assert pool.agent_record("oak").running == {}
    assert (result == "completed") == any("its task is canceled now" in why for why in pool.refusals_in_journal()) or (
        result == "failed"
    )


def test_canceling_a_canceled_task_again_is_no_error(pool):
    task = bring(pool, "canceled")
    assert pool.cancel(task) not in pool.refused


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_what_has_ended_cannot_be_canceled(pool, state):
    task = bring(pool, state)
    assert pool.why_refused(pool.cancel(task)) == [f"it has ended already: {state}"]
    assert pool.state(task) == state


def test_a_cancel_that_comes_with_the_end_in_one_commit_is_too_late(pool):
    task = bring(pool, "working")
    with pool.one_commit():
        pool.finish(task)
        entry = pool.cancel(task)
    assert pool.state(task) == "completed"
    assert pool.why_refused(entry) == ["it has ended already: completed"]


def test_a_long_reason_for_canceling_is_cut(pool):
    task = bring(pool, "working")
    pool.cancel(task, "w" * 100_000)
    assert len(pool.stops("oak")[0].why) == 500
    assert len(pool.task(task).detail) == 500


# ------------------------------------------------------------------- sent back


@pytest.mark.parametrize("state", ["failed", "canceled"])
def test_a_failed_or_canceled_task_can_be_sent_back(pool, state):
    task = bring(pool, state)
    assert pool.retry(task) not in pool.refused
    assert pool.state(task) == "assigned"
    pool.finish(task)
    assert pool.state(task) == "completed"


@pytest.mark.parametrize("state", [*OPEN, "completed"])
def test_no_other_task_can_be_sent_back(pool, state):
    task = bring(pool, state)
    (reason,) = pool.why_refused(pool.retry(task))
    assert reason == f"only a failed or canceled task can be sent back, and it is {state}"


def test_a_refused_task_cannot_be_sent_back(pool):
    task = pool.submit("")
    assert pool.why_refused(pool.retry(task)) == ["only a failed or canceled task can be sent back, and it is rejected"]


def test_what_does_not_exist_can_be_neither_canceled_nor_sent_back(pool):
    nobody = pool.new_id()
    assert pool.why_refused(pool.cancel(nobody)) == [f"there is no task '{nobody}'"]
    assert pool.why_refused(pool.retry(nobody)) == [f"there is no task '{nobody}'"]


@pytest.mark.pitfall_4
def test_a_canceled_task_is_not_sent_back_before_its_agent_has_let_go(pool):
    task = bring(pool, "working")
    pool.cancel(task)
    assert "try again in a moment" in pool.why_refused(pool.retry(task))[0]
    pool.obey("oak")
    assert pool.retry(task) not in pool.refused


def test_canceled_and_sent_back_in_one_commit_it_is_open_and_stays_so_under_the_next_leader(pool):
    task = bring(pool, "queued")
    with pool.one_commit():
        pool.cancel(task)
        pool.retry(task)
    assert task in pool.open
    pool.restart()
    assert pool.state(task) == "queued"
    pool.agent("elm", nobody_can=1)
    assert pool.state(task) == "assigned"


def test_sent_back_and_canceled_and_sent_back_in_one_commit(pool):
    task = bring(pool, "failed")
    pool.submit("keeps the agent busy")
    with pool.one_commit():
        pool.retry(task)
        pool.cancel(task)
        pool.retry(task)
    assert pool.state(task) == "queued"
    with pool.one_commit():
        pool.cancel(task)
        pool.retry(task)
        pool.cancel(task)
    assert pool.state(task) == "canceled"


def test_failed_and_sent_back_in_one_commit(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=1)
    with pool.one_commit():
        pool.finish(task, "failed", "exit_code")
        pool.retry(task)
    assert pool.state(task) == "assigned"


def test_a_task_sent_back_waits_for_what_is_sent_back_with_it(pool):
    pool.agent("oak")
    first = pool.submit(max_attempts=1)
    second = pool.submit(after=[first])
    pool.finish(first, "failed", "exit_code")
    assert pool.states(first, second) == ["failed", "failed"]
    pool.retry(first)
    pool.retry(second)
    assert pool.states(first, second) == ["assigned", "blocked"]
    pool.finish(first)
    assert pool.state(second) == "assigned"


def test_a_task_sent_back_while_one_that_it_waits_for_has_failed_still_waits_for_the_others(pool):
    pool.agent("oak")
    failed = pool.submit(max_attempts=1)
    open_ = pool.submit(requires="nobody_can")
    heir = pool.submit(after=[failed, open_])
    with pool.one_commit():
        pool.finish(failed, "failed", "exit_code")
        pool.retry(heir)
    assert pool.state(heir) == "blocked"
    assert pool.task(heir).waiting_for == (open_,)


# --------------------------------------------------------------------- expiry


@pytest.mark.parametrize("state", OPEN)
def test_an_open_task_expires_in_every_state(state):
    pool = FakePool(Policy(retry_delays_s=(0, 1_000)))
    if state == "blocked":
        task = pool.submit(expires_s=50, after=[pool.submit(requires="nobody_can")])
    else:
        if state != "queued":
            pool.agent("oak")
        task = pool.submit(expires_s=50)
        if state == "working":
            pool.accept(task)
        if state == "retry_wait":
            pool.finish(task, "failed", "exit_code")
            pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == state
    pool.advance(49.9)
    assert pool.state(task) == state
    pool.advance(0.2)
    assert (pool.state(task), pool.task(task).reason) == ("failed", "expired")
    assert pool.dead == []


@pytest.mark.parametrize("reload", [False, True])
def test_expiring_work_is_stopped_and_its_late_result_not_taken(reload):
    pool = FakePool(reload=reload)
    pool.agent("oak")
    task = pool.submit(expires_s=10)
    pool.accept(task)
    pool.advance(11)
    assert pool.stops("oak")[0].why == "expired"
    pool.finish(task)
    assert pool.state(task) == "failed"


def test_what_ended_in_time_does_not_expire(pool):
    pool.agent("oak")
    task = pool.submit(expires_s=10)
    pool.finish(task)
    pool.advance(20)
    assert pool.state(task) == "completed"


def test_a_task_sent_back_has_its_time_before_it_again(pool):
    task = pool.submit(expires_s=10)
    pool.advance(11)
    pool.retry(task)
    pool.advance(9)
    assert pool.state(task) == "queued"
    pool.advance(2)
    assert pool.state(task) == "failed"


def test_what_expired_while_nobody_led_is_said_so_by_the_next_leader(pool):
    task = pool.submit(expires_s=10)
    pool.now += 60_000
    pool.restart()
    assert pool.task(task).reason == "expired"


# ----------------------------------------------------------------- dependants


def test_dependants_are_released_when_all_that_they_wait_for_completed(pool):
    pool.agent("oak", slots=2)
    a, b = pool.submit(), pool.submit()
    c = pool.submit(after=[a, b])
    pool.finish(a)
    assert pool.task(c).waiting_for == (b,)
    assert pool.state(c) == "blocked"
    pool.finish(b)
    assert pool.state(c) == "assigned"


@pytest.mark.pitfall_10
@pytest.mark.parametrize("ending", ["fails", "is canceled", "expires"])
def test_all_that_hangs_on_a_task_fails_with_it_down_the_chain(pool, ending):
    pool.agent("oak")
    head = pool.submit(max_attempts=1, expires_s=10)
    chain = [head]
    for _ in range(5):
        chain.append(pool.submit(after=[chain[-1]]))
    both = pool.submit(after=[chain[2], chain[4]])
    unharmed = pool.submit()
    if ending == "fails":
        pool.finish(head, "failed", "exit_code")
    elif ending == "is canceled":
        pool.cancel(head)
    else:
        pool.advance(11)
    assert {pool.state(task) for task in (*chain[1:], both)} == {"failed"}
    assert {pool.task(task).reason for task in (*chain[1:], both)} == {"dependency_failed"}
    assert chain[0] in pool.task(chain[1]).detail
    assert pool.state(unharmed) in ("queued", "assigned")


def test_a_chain_of_a_thousand_fails_in_one_commit():
    pool = FakePool(judging=False)
    chain = [pool.submit()]
    for _ in range(1_000):
        chain.append(pool.submit(after=[chain[-1]]))
    commits = len(pool.commits)
    pool.cancel(chain[0])
    assert len(pool.commits) == commits + 1
    assert pool.open == {}


def test_a_dependant_can_be_canceled_without_harm_to_the_others(pool):
    pool.agent("oak")
    first = pool.submit()
    second, third = pool.submit(after=[first]), pool.submit(after=[first])
    pool.cancel(second)
    pool.finish(first)
    assert pool.states(second, third) == ["canceled", "assigned"]


def test_a_retried_dependency_keeps_its_dependants_waiting(pool):
    pool.agent("oak")
    first = pool.submit()
    second = pool.submit(after=[first])
    pool.finish(first, "failed", "exit_code")
    assert pool.state(second) == "blocked"


def test_a_task_submitted_after_a_failed_one_fails_at_once(pool):
    task = bring(pool, "failed")
    heir = pool.submit(after=[task])
    assert (pool.state(heir), pool.task(heir).reason) == ("failed", "dependency_failed")
    assert task in pool.task(heir).detail


def test_a_slow_stop_of_an_attempt_given_up_does_not_hold_the_finished_task_open(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    first, token = pool.where(task), pool.token(task)
    pool.advance(61)
    pool.finish(task)
    assert task not in pool.open
    pool.restart()
    pool.report(task, token, first, Outcome("canceled", "canceled"))
    assert pool.agent_record(first).running == {}
    assert pool.state(task) == "completed"
