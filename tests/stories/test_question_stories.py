"""An agent asks a person: what it asked is kept, told, answered once, and goes back to who asked."""

import pytest
from msgspec.structs import replace

from agentcom.model.messages import Answer, Cordon, Drain
from agentcom.model.task import Outcome
from tests.stories.pool import CALM, FakePool


def asked(question="which of the two?", session="s1", **more):
    return Outcome("failed", "input_required", question=question, session=session, **more)


def say(pool, task, text="the second"):
    return pool.why_refused(pool.ask(Answer(task=task, text=text)))


def waiting(pool, **spec):
    """A task whose agent, oak, has asked something."""
    pool.agent("oak")
    task = pool.submit(**spec)
    pool.end(task, asked())
    return task


def test_a_task_that_asks_waits_for_a_person_and_frees_its_slot(pool):
    task = waiting(pool)
    record = pool.task(task)
    assert (record.state, record.reason, record.question) == ("input_required", "input_required", "which of the two?")
    assert (pool.agent_record("oak").running, pool.agent_record("oak").failed) == ({}, 0)
    assert pool.state(pool.submit()) == "assigned"


def test_the_answer_goes_to_the_session_that_asked(pool):
    task = waiting(pool, max_attempts=1)
    assert say(pool, task) == []
    order = pool.order(task)
    assert (order.question, order.answer, order.session) == ("which of the two?", "the second", "s1")
    assert pool.where(task) == "oak"
    pool.finish(task)
    assert pool.state(task) == "completed"


def test_answered_twice_in_the_same_words_nothing_changes(pool):
    task = waiting(pool)
    say(pool, task)
    before = pool.records[task]
    assert say(pool, task, " the second\n") == []
    assert pool.records[task] == before


def test_another_answer_comes_too_late(pool):
    task = waiting(pool)
    say(pool, task)
    assert say(pool, task, "the first") == ["it waits for no answer: it is assigned"]
    pool.finish(task)
    assert say(pool, task, "the first") == ["it waits for no answer: it is completed"]


@pytest.mark.parametrize("text", ["", " \n", "x" * 16_001])
def test_an_answer_has_words_but_not_too_many(pool, text):
    task = waiting(pool)
    assert "characters, not 1 to 16,000" in say(pool, task, text)[0]
    assert pool.state(task) == "input_required"


def test_what_waits_for_something_else_takes_no_answer(pool):
    pool.agent("oak")
    task = pool.submit()
    assert say(pool, task) == ["it waits for no answer: it is assigned"]
    pool.end(task, Outcome("failed", "auth_failed", "not logged in"))
    assert say(pool, task) == ["it waits for no answer, but for a person: auth_failed: not logged in"]
    assert "there is no task" in say(pool, pool.new_id())[0]


def test_it_may_ask_again(pool):
    task = waiting(pool)
    say(pool, task)
    pool.end(task, asked("and which colour?"))
    assert (pool.task(task).question, pool.task(task).answer) == ("and which colour?", "")
    assert say(pool, task, "red") == []
    assert (pool.order(task).question, pool.order(task).answer) == ("and which colour?", "red")


def test_an_answer_is_not_lost_with_the_attempt_that_was_given_it(pool):
    task = waiting(pool)
    say(pool, task)
    pool.agent("elm")
    pool.end(task, Outcome("lost", "lost"))
    assert (pool.where(task), pool.order(task).answer, pool.order(task).session) == ("elm", "the second", "")


def test_sent_on_without_an_answer_it_is_told_of_no_question(pool):
    task = waiting(pool)
    pool.retry(task)
    assert (pool.order(task).question, pool.order(task).answer) == ("", "")


def test_an_answered_task_goes_first(pool):
    task = waiting(pool)
    pool.submit("busy now", agent="oak")
    others = [pool.submit(f"waits {n}") for n in range(3)]
    say(pool, task)
    pool.finish(next(iter(pool.agent_record("oak").running.values())))
    assert pool.state(task) == "assigned"
    assert {pool.state(other) for other in others} == {"queued"}


def test_others_leave_it_to_the_agent_that_asked_but_not_for_ever(pool):
    task = waiting(pool)
    busy = pool.submit("busy now")
    pool.agent("elm")
    say(pool, task)
    assert (pool.where(busy), pool.state(task)) == ("oak", "queued")
    pool.advance(31)
    assert (pool.where(task), pool.order(task).session, pool.order(task).answer) == ("elm", "", "the second")


def test_a_question_is_bounded(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, asked("x" * 50_000))
    assert len(pool.task(task).question) == 4_000


# ------------------------------------------------------------------- deadline


@pytest.fixture(params=[False, True])
def hasty(request):
    """A pool whose tasks wait for an answer for a minute."""
    return FakePool(replace(CALM, answer_s=60.0), reload=request.param)


def test_a_question_that_nobody_answers_in_time_fails_its_task(hasty):
    task = waiting(hasty)
    hasty.advance(59)
    assert hasty.state(task) == "input_required"
    hasty.advance(2)
    record = hasty.task(task)
    assert (record.state, record.reason, record.detail) == ("failed", "unanswered", "nobody answered within 60 s")
    assert say(hasty, task) == ["it waits for no answer: it is failed"]


def test_an_answer_in_time_ends_the_deadline(hasty):
    task = waiting(hasty)
    hasty.advance(50)
    say(hasty, task)
    hasty.accept(task)
    assert hasty.task(task).answer_by == 0
    hasty.advance(50)
    hasty.end(task, asked("another?"))
    hasty.advance(50)
    assert hasty.state(task) == "input_required", "each question has its own time"
    hasty.advance(11)
    assert hasty.state(task) == "failed"


def test_only_a_question_has_a_deadline(hasty):
    hasty.agent("oak")
    task = hasty.submit()
    hasty.end(task, Outcome("failed", "auth_failed"))
    hasty.advance(1_000)
    assert hasty.state(task) == "input_required"


# ------------------------------------------------------------------- the slot


@pytest.fixture(params=[False, True])
def keeping(request):
    """A pool in which a task keeps its agent's slot while it waits for an answer."""
    return FakePool(replace(CALM, input_holds_slot=True), reload=request.param)


def test_by_policy_a_task_keeps_its_slot_until_it_is_answered(keeping):
    task = waiting(keeping)
    other = keeping.submit("waits", priority="urgent")
    assert (keeping.state(other), keeping.agent_record("oak").reserved) == ("queued", (task,))
    say(keeping, task)
    assert (keeping.state(task), keeping.where(task), keeping.state(other)) == ("assigned", "oak", "queued")
    assert keeping.agent_record("oak").reserved == ()
    keeping.finish(task)
    assert keeping.state(other) == "assigned"


@pytest.mark.parametrize("how", ["canceled", "sent on", "expired"])
def test_the_slot_is_free_when_the_question_is_none_any_more(keeping, how):
    task = waiting(keeping, expires_s=100)
    if how == "canceled":
        keeping.cancel(task)
    elif how == "sent on":
        keeping.retry(task)
        keeping.finish(task)
    else:
        keeping.advance(101)
    assert keeping.agent_record("oak").reserved == ()
    assert keeping.state(keeping.submit()) == "assigned"


@pytest.mark.parametrize("how", ["goodbye", "cordon", "drain"])
def test_the_slot_is_not_kept_at_an_agent_that_goes_away(keeping, how):
    task = waiting(keeping)
    if how == "goodbye":
        keeping.goodbye("oak")
    else:
        keeping.ask((Cordon if how == "cordon" else Drain)(agent="oak"))
    assert keeping.agent_record("oak").reserved == ()
    keeping.agent("elm")
    say(keeping, task)
    assert keeping.where(task) == "elm"


def test_nor_at_one_that_falls_silent():
    keeping = FakePool(replace(CALM, input_holds_slot=True))
    waiting(keeping)
    keeping.silence("oak")
    keeping.advance(300)
    assert (keeping.agent_record("oak").link, keeping.agent_record("oak").reserved) == ("offline", ())


def test_a_sidecar_that_is_started_anew_keeps_it(keeping):
    task = waiting(keeping)
    keeping.now += 1
    keeping.agent("oak")
    assert keeping.agent_record("oak").reserved == (task,)
    say(keeping, task)
    assert keeping.where(task) == "oak"


def test_a_slot_that_is_kept_is_not_given_while_its_agent_rests(keeping):
    task = waiting(keeping, max_attempts=9)
    keeping.problems["oak"] = ("no disk",)
    keeping.advance(301)
    assert keeping.agent_record("oak").health == "degraded"
    say(keeping, task)
    assert keeping.state(task) == "queued"
    keeping.problems.clear()
    keeping.advance(301)
    assert keeping.where(task) == "oak"
