"""An attempt from its assignment to its end: its token, its acceptance, and what follows when it did not complete."""

import pytest

from agentcom.model.codec import decode_order, encode
from agentcom.model.lifecycle import RUNNING
from agentcom.model.messages import Accepted, Assign, Finished
from agentcom.model.task import ATTEMPTS_KEPT, Evidence, Outcome
from agentcom.settings import Policy
from tests.stories.pool import FakePool


def snapshot(pool):
    return dict(pool.records), dict(pool.open), dict(pool.agents), list(pool.dead), dict(pool.orders)


def trail(pool, task):
    return [line.after for line in pool.journal if line.what == "task" and line.task == task]


@pytest.mark.pitfall_2
def test_the_happy_path(pool):
    pool.agent("oak")
    task = pool.submit("make it so", timeout_s=90)
    (body,) = pool.orders["oak"].values()
    order = decode_order(body)
    assert isinstance(order, Assign)
    assert (order.task, order.attempt, order.timeout_s) == (task, 1, 90)
    assert order.incarnation == pool.beating["oak"]
    pool.accept(task)
    pool.finish(task)
    assert trail(pool, task) == ["queued", "assigned", "working", "completed"]
    assert pool.task(task).outcome == Outcome("completed")
    assert pool.agent_record("oak").running == {}
    assert pool.agent_record("oak").completed == 1


@pytest.mark.pitfall_2
def test_work_that_ends_before_its_acceptance_is_due_needs_no_acceptance(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task)
    assert trail(pool, task) == ["queued", "assigned", "completed"]


def test_the_pools_time_limit_holds_where_a_task_names_none(pool):
    pool.agent("oak")
    pool.submit()
    (body,) = pool.orders["oak"].values()
    assert decode_order(body).timeout_s == pool.policy.timeout_s


# --------------------------------------------------------------------- tokens


@pytest.mark.pitfall_1
def test_every_attempt_has_a_token_of_its_own(pool):
    pool.agent("oak")
    task = pool.submit()
    first = pool.token(task)
    pool.finish(task, "failed", "exit_code")
    second = pool.token(task)
    assert first.startswith("1.")
    assert second.startswith("2.")
    assert first[2:] != second[2:]


@pytest.mark.pitfall_1
@pytest.mark.pitfall_4
def test_a_report_that_comes_twice_changes_nothing_the_second_time(pool):
    pool.agent("oak")
    task = pool.submit()
    sent = pool.report(task, pool.token(task), "oak", Outcome("completed", summary="done"))
    pool.submit("the slot has other work now")
    before = snapshot(pool)
    pool.put("reports", sent)
    assert snapshot(pool) == before
    assert (
        "its task has ended" in pool.refusals_in_journal()[-1] or "no such open task" in pool.refusals_in_journal()[-1]
    )


@pytest.mark.pitfall_4
@pytest.mark.parametrize("result", ["completed", "failed", "canceled", "lost", "handed_back"])
def test_a_late_report_of_an_attempt_that_was_given_up_changes_nothing_but_the_slot(pool, result):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    late, at = pool.token(task), pool.where(task)
    pool.advance(61)
    assert pool.where(task) != at
    pool.report(task, late, at, Outcome(result))
    assert pool.state(task) == "assigned"
    assert f"its token is {late}" in pool.refusals_in_journal()[-1]
    assert pool.agent_record(at).running == {}
    pool.finish(task)
    assert pool.state(task) == "completed"


@pytest.mark.pitfall_1
def test_a_late_result_is_adopted_while_no_newer_attempt_was_made(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.advance(61)
    assert pool.state(task) == "queued", "it waits for its only agent, who has not let go of it yet"
    pool.finish(task, "completed")
    assert trail(pool, task)[-3:] == ["assigned", "queued", "completed"]
    assert pool.task(task).outcome == Outcome("completed")
    assert pool.agent_record("oak").running == {}
    assert pool.stops("oak"), "told to stop before; its answer changes nothing any more"
    pool.obey("oak")
    assert pool.state(task) == "completed"


@pytest.mark.pitfall_1
def test_a_late_failure_is_not_counted_twice(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.advance(61)
    pool.finish(task, "failed", "exit_code")
    assert "its task is queued now" in pool.refusals_in_journal()[-1]
    assert pool.task(task).generation == 1


@pytest.mark.pitfall_1
def test_a_result_that_comes_after_a_newer_attempt_was_made_is_kept_as_evidence(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    late, at = pool.token(task), pool.where(task)
    pool.advance(61)
    pool.report(task, late, at, Outcome("completed", summary="branch ash/1", value={"large": 1}))
    assert pool.state(task) == "assigned"
    first, second = pool.task(task).attempts
    assert first.late == Outcome("completed", summary="branch ash/1")
    assert second.late is None
    assert "it said: branch ash/1" in pool.refusals_in_journal()[-1]
    pool.report(task, late, at, Outcome("completed", summary="something else"))
    assert pool.task(task).attempts[0].late == first.late, "what was said first stays"


def test_a_late_acceptance_changes_nothing(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    late, at = pool.token(task), pool.where(task)
    pool.advance(61)
    before = snapshot(pool)
    pool.accept(task, late, at)
    assert snapshot(pool) == before
    assert "report 'accepted' changes nothing" in pool.refusals_in_journal()[-1]


def test_an_acceptance_that_comes_twice_changes_nothing_the_second_time(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    pool.now += 5_000
    before = snapshot(pool)
    pool.accept(task)
    assert snapshot(pool) == before


@pytest.mark.pitfall_4
@pytest.mark.parametrize("token", ["", "1.", "1.0000000000000000", "99.ffff", "x" * 10_000])
def test_a_guessed_token_changes_nothing_and_the_journal_says_why(pool, token):
    pool.agent("oak")
    task = pool.submit()
    before = snapshot(pool)
    sent = Finished(agent="oak", incarnation="", task=task, token=token, outcome=Outcome("completed"))
    pool.put("reports", encode(sent))
    assert snapshot(pool) == before
    assert "the current one is" in pool.refusals_in_journal()[-1]
    assert len(pool.refusals_in_journal()[-1]) < 300


@pytest.mark.pitfall_4
def test_an_agent_cannot_end_what_another_one_works_on_even_with_its_token(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    at = pool.where(task)
    before = snapshot(pool)
    pool.put(
        "reports",
        encode(
            Finished(
                agent="elm" if at == "ash" else "ash",
                incarnation="",
                task=task,
                token=pool.token(task),
                outcome=Outcome("completed"),
            )
        ),
    )
    assert snapshot(pool) == before
    assert f"its attempt is one of {at}" in pool.refusals_in_journal()[-1]


@pytest.mark.pitfall_4
def test_a_report_that_mixes_two_attempts_up_frees_no_slot(pool):
    pool.agent("oak", slots=2)
    a, b = pool.submit(), pool.submit()
    before = snapshot(pool)
    sent = Finished(agent="oak", incarnation="", task=a, token=pool.token(b), outcome=Outcome("completed"))
    pool.put("reports", encode(sent))
    assert snapshot(pool) == before


@pytest.mark.parametrize("task", ["", "nonsense", "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4", "x" * 10_000])
def test_a_report_about_no_task_is_journalled(pool, task):
    sent = Finished(agent="nobody", incarnation="", task=task, token="1.a", outcome=Outcome("completed"))
    pool.put("reports", encode(sent))
    assert "there is no such open task" in pool.refusals_in_journal()[-1]
    assert len(encode(pool.journal[-1])) < 500


# ----------------------------------------------------------------- acceptance


@pytest.mark.pitfall_7
def test_an_agent_that_beats_but_never_shows_life_on_its_task_loses_it(pool):
    pool.agent("ash")
    pool.agent("elm")
    task = pool.submit()
    at = pool.where(task)
    pool.advance(59.9)
    assert pool.where(task) == at
    pool.advance(0.2 if not pool.reload else 13)
    assert pool.where(task) != at
    assert pool.task(task).attempts[0].outcome.reason == "accept_timeout"
    assert [(stop.task, stop.token) for stop in pool.stops(at)] == [(task, pool.task(task).attempts[0].token)]


@pytest.mark.pitfall_7
def test_its_slot_stays_occupied_until_it_says_that_it_stopped(pool):
    pool.agent("oak", slots=2)
    pool.submit()
    pool.advance(61)
    assert len(pool.agent_record("oak").running) == 1
    pool.obey("oak")
    assert pool.agent_record("oak").running == {}


def test_an_accepted_attempt_may_take_its_time(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    pool.advance(3_000)
    assert pool.state(task) == "working"


def test_whoever_never_accepts_uses_the_attempts_up(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=2)
    for _ in range(2):
        pool.advance(61)
        pool.obey("oak")
        pool.advance(660)
    assert pool.state(task) == "failed"
    assert pool.task(task).reason == "accept_timeout"


# -------------------------------------------------------------------- retries


@pytest.mark.pitfall_10
def test_retries_wait_longer_and_longer_and_end_in_a_dead_letter(pool):
    pool.agent("oak")
    task = pool.submit("a title\nand more")
    for delay_s in (0, 30, 120):
        pool.finish(task, "failed", "exit_code")
        if delay_s:
            assert pool.state(task) == "retry_wait"
            pool.advance(delay_s - 0.1)
            assert pool.state(task) == "retry_wait"
            pool.advance(0.1)
        assert pool.state(task) == "assigned"
    pool.report(task, pool.token(task), "oak", Outcome("failed", "exit_code", "it broke"))
    assert pool.state(task) == "failed"
    (letter,) = pool.dead
    assert (letter.task, letter.title, letter.attempts, letter.detail) == (task, "a title", 4, "it broke")


@pytest.mark.parametrize(
    "reason", ["exit_code", "handler_raised", "wake_failed", "lost", "timeout", "", "never heard of"]
)
@pytest.mark.pitfall_10
def test_the_cap_holds_whatever_fails(pool, reason):
    pool.agent("oak")
    task = pool.submit(max_attempts=3)
    for _ in range(3):
        pool.finish(task, "failed", reason)
        pool.advance(660)
    assert pool.state(task) == "failed"
    assert pool.task(task).generation == 3
    assert len(pool.dead) == 1


@pytest.mark.parametrize("reason", ["refused", "canceled"])
def test_what_no_attempt_can_change_is_not_tried_again_and_is_no_dead_letter(pool, reason):
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task, "failed", reason)
    assert pool.state(task) == "failed"
    assert pool.dead == []


def test_an_agent_that_cancels_by_itself_has_lost_the_task_which_goes_on(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task, "canceled", "canceled")
    assert pool.task(task).attempts[0].outcome.result == "lost"
    assert (pool.state(task), pool.task(task).generation) == ("assigned", 2)


@pytest.mark.pitfall_10
def test_handing_back_burns_no_attempt_up_to_a_bound(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=1)
    for _ in range(pool.policy.max_handbacks):
        pool.finish(task, "handed_back", "handed_back")
        pool.accept(task)
        pool.advance(20)
        assert pool.state(task) in RUNNING
    pool.finish(task, "handed_back", "handed_back")
    assert pool.state(task) == "failed"
    assert pool.task(task).generation == pool.policy.max_handbacks + 1
    assert len(pool.dead) == 1


def test_handing_back_blames_nobody(pool):
    pool.agent("ash")
    task = pool.submit()
    pool.agent("elm", rust=9)
    pool.finish(task, "handed_back", "handed_back")
    record = pool.agent_record("ash")
    assert (record.failed, record.success) == (0, 1.0)
    assert pool.where(task) == "ash"


def test_a_task_that_is_sent_back_has_all_its_attempts_and_delays_before_it_again(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=2)
    for _ in range(3):
        pool.finish(task, "failed", "exit_code")
        assert pool.state(task) == "assigned", "the first retry is due at once"
        pool.finish(task, "failed", "exit_code")
        assert pool.state(task) == "failed"
        pool.retry(task)
    assert pool.state(task) == "assigned"
    assert [letter.attempts for letter in pool.dead] == [2, 4, 6]


def test_a_task_that_is_sent_back_may_go_to_whom_it_avoided_before(pool):
    pool.agent("ash")
    task = pool.submit(max_attempts=1)
    pool.finish(task, "failed", "exit_code")
    blocker = pool.submit(agent="ash")
    pool.agent("elm")
    pool.submit(agent="elm")
    pool.retry(task)
    assert pool.state(task) == "queued"
    pool.finish(blocker)
    assert pool.state(task) == "assigned"


@pytest.mark.pitfall_6
def test_a_record_remembers_a_bounded_number_of_attempts_and_still_counts_them_all(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=1)
    for _ in range(ATTEMPTS_KEPT + 10):
        pool.finish(task, "failed", "exit_code")
        pool.retry(task)
    record = pool.task(task)
    assert len(record.attempts) == ATTEMPTS_KEPT
    assert record.generation == ATTEMPTS_KEPT + 11
    pool.finish(task, "failed", "exit_code")
    assert pool.state(task) == "failed"


@pytest.mark.parametrize("reload", [False, True])
def test_a_retry_that_was_due_while_nobody_led_is_made_at_once(reload):
    pool = FakePool(Policy(retry_delays_s=(50,)), reload=reload)
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task, "failed", "exit_code")
    pool.now += 400_000
    pool.restart()
    assert pool.state(task) == "assigned"


@pytest.mark.pitfall_1
def test_an_acceptance_that_was_due_while_nobody_led_is_waited_for_until_the_sidecars_are_back():
    pool = FakePool()
    pool.agent("oak")
    task = pool.submit()
    pool.now += 400_000
    pool.restart()
    assert pool.state(task) == "assigned"
    pool.advance(13)
    assert pool.task(task).reason == "accept_timeout"


@pytest.mark.pitfall_1
def test_nobody_is_late_while_there_are_reports_to_read():
    pool = FakePool()
    pool.agent("oak")
    task, other = pool.submit(), pool.submit(expires_s=100)
    pool.now += 400_000
    commit = pool.core.take(pool.now, caught_up=False)
    assert not [line for line in commit.lines if line.trigger in ("accept_timeout", "expiry")]
    pool.now += 200
    commit = pool.core.take(pool.now)
    assert {line.task for line in commit.lines if line.trigger in ("accept_timeout", "expiry")} == {task, other}


@pytest.mark.pitfall_1
@pytest.mark.parametrize("state", ["queued", "assigned", "completed"])
def test_a_report_without_a_token_is_about_no_attempt(pool, state):
    task = pool.submit()
    if state != "queued":
        pool.agent("oak")
    if state == "completed":
        pool.finish(task)
    for report in (Accepted, Finished):
        more = {"outcome": Outcome("completed")} if report is Finished else {}
        pool.put("reports", encode(report(agent="oak", incarnation="", task=task, token="", **more)))
        assert "changes nothing" in pool.refusals_in_journal()[-1]
    assert len(pool.refusals_in_journal()) == 2
    assert pool.state(task) == state


@pytest.mark.pitfall_1
def test_where_the_work_of_a_late_result_is_stays_known_when_its_task_has_ended(pool):
    evidence = Evidence("ash/x", "main", "a" * 40, "b" * 40, rescue="rescue/ash/1")
    pool.agent("ash")
    task = pool.submit()
    late = pool.token(task)
    pool.silence("ash")
    pool.advance(300)
    pool.agent("elm")
    pool.finish(task)
    assert pool.state(task) == "completed"
    pool.report(task, late, "ash", Outcome("completed", summary="did it, too", evidence=evidence))
    told = pool.refusals_in_journal()[-1]
    assert f"its work: ash/x at {'b' * 12}, rescue/ash/1; it said: did it, too" in told
