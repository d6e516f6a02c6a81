"""One task, several attempts: one branch, and what each attempt is told of those before it."""

import pytest
from msgspec.structs import replace

from agentcom.ids import is_id
from agentcom.model.messages import Cordon, Resume
from agentcom.model.task import Evidence, Outcome, PullRequest, Usage
from agentcom.scheduler.livelock import SIGN
from tests.stories.pool import CALM, FakePool

PR = PullRequest("https://forge/pull/7", 7)


def full(summary="half of it is done", head="", **more):
    evidence = Evidence(base_sha="a0", head_sha=head) if head else None
    return Outcome("failed", "context_exhausted", summary=summary, evidence=evidence, session="s1", **more)


# --------------------------------------------------------------------- branch


def test_a_task_has_one_branch_for_ever_named_after_its_first_agent(pool):
    pool.agent("ash")
    task = pool.submit()
    assert pool.order(task).branch == f"ash/{task}" == pool.task(task).branch
    pool.agent("elm")
    pool.end(task, Outcome("failed", "exit_code"))
    assert pool.where(task) == "elm"
    assert pool.order(task).branch == f"ash/{task}"
    pool.end(task, Outcome("failed", "invalid_task"))
    pool.retry(task)
    assert pool.order(task).branch == f"ash/{task}"


@pytest.mark.parametrize(("name", "first"), [("a..b", "a--b"), ("a.lock", "a.lock-"), ("a...", "a--."), ("a.b", "a.b")])
def test_a_branch_has_a_name_that_git_takes(pool, name, first):
    pool.agent(name)
    task = pool.submit()
    assert is_id(task)
    assert pool.task(task).branch == f"{first}/{task}"


@pytest.mark.parametrize("result", ["completed", "failed"])
def test_the_pull_request_of_an_attempt_is_the_tasks(pool, result):
    pool.agent("oak")
    task = pool.submit()
    assert pool.order(task).pull_request is None
    pool.end(task, Outcome(result, "" if result == "completed" else "exit_code", pull_request=PR))
    assert pool.task(task).pull_request == PR
    if result == "failed":
        assert pool.order(task).pull_request == PR
        pool.end(task, Outcome("failed", "exit_code"))
        assert pool.task(task).pull_request == PR, "an attempt that says nothing of it takes nothing back"


def test_so_is_that_of_one_that_comes_late(pool):
    pool.agent("oak")
    task = pool.submit()
    late = pool.token(task)
    pool.advance(61)
    pool.agent("elm")
    pool.report(task, late, "oak", Outcome("failed", "exit_code", pull_request=PR))
    assert pool.task(task).pull_request == PR


# -------------------------------------------------------------------- session


@pytest.mark.parametrize("reason", ["timeout", "verification_failed", "uncommitted", "lost"])
def test_an_agent_resumes_its_session(pool, reason):
    pool.agent("oak")
    task = pool.submit()
    assert pool.order(task).session == ""
    result = "lost" if reason == "lost" else "failed"
    pool.end(task, Outcome(result, reason, session="s1", session_usage=Usage(cost_usd=1.5)))
    assert (pool.order(task).session, pool.order(task).session_usage) == ("s1", Usage(cost_usd=1.5))


@pytest.mark.parametrize("reason", ["exit_code", "stalled", "wake_failed", "context_exhausted"])
def test_it_begins_a_new_one_where_the_old_one_would_not_help(pool, reason):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, Outcome("failed", reason, session="s1"))
    pool.advance(400)
    assert (pool.task(task).generation, pool.order(task).session) == (2, "")


def test_a_session_that_is_lost_is_not_asked_for_again(pool):
    """Not even that of the attempt before, which is the same one: the task would use up its attempts on it."""
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, Outcome("failed", "timeout", session="s1"))
    assert pool.order(task).session == "s1"
    pool.end(task, Outcome("failed", "session_lost", session="s1"))
    pool.advance(400)
    assert (pool.task(task).generation, pool.order(task).session) == (3, "")


def test_another_agent_never_gets_a_session_that_is_not_its_own(pool):
    pool.agent("ash")
    task = pool.submit()
    pool.ask(Cordon(agent="ash"))
    pool.agent("elm")
    pool.end(task, Outcome("failed", "timeout", session="s1"))
    assert (pool.where(task), pool.order(task).session) == ("elm", "")
    pool.ask(Resume(agent="ash"))
    pool.ask(Cordon(agent="elm"))
    pool.end(task, Outcome("failed", "timeout"))
    pool.advance(40)
    assert (pool.where(task), pool.order(task).session) == ("ash", ""), "elm has changed what that session knew"


def test_a_session_outlives_an_attempt_that_never_began(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, Outcome("failed", "timeout", session="s1"))
    pool.end(task, Outcome("handed_back", "handed_back"))
    assert pool.order(task).session == "s1"


def test_a_session_that_is_only_told_of_late_is_resumed_too(pool):
    pool.agent("oak")
    task = pool.submit()
    late = pool.token(task)
    pool.accept(task)
    pool.silence("oak")
    pool.advance(200)
    pool.sweep()
    pool.report(task, late, "oak", Outcome("failed", "timeout", session="s1"))
    pool.agent("oak")
    pool.advance(1)
    assert pool.order(task).session == "s1"


# --------------------------------------------------------------- continuation


def test_an_agent_that_ran_out_of_context_goes_on_with_what_it_said_of_the_work(pool):
    pool.agent("ash")
    task = pool.submit()
    pool.agent("elm")
    pool.end(task, full("the parser is done"))
    order = pool.order(task)
    assert pool.where(task) == "ash", "its worktree is as it left it"
    assert (order.part, order.summary, order.session, order.attempt) == (2, "the parser is done", "", 1)
    pool.finish(task)
    assert pool.state(task) == "completed"
    assert pool.agent_record("ash").failed == 0, "to run out of context is no failure of the agent"


def test_parts_count_against_no_cap_but_their_own(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=1)
    for part in range(1, 5):
        assert pool.order(task).part == part
        pool.end(task, full(f"part {part}"))
    pool.end(task, full("part 5"))
    assert (pool.state(task), pool.task(task).reason) == ("failed", "context_exhausted")
    assert [(letter.task, letter.reason, letter.attempts) for letter in pool.dead] == [(task, "context_exhausted", 1)]
    assert "5 parts" in pool.task(task).detail


def test_a_person_may_let_it_go_on_past_the_bound(pool):
    pool.agent("oak")
    task = pool.submit()
    for part in range(1, 6):
        pool.end(task, full(f"part {part}"))
    pool.retry(task)
    assert (pool.order(task).part, pool.order(task).summary) == (6, "part 5")
    for part in range(6, 10):
        pool.end(task, full(f"part {part}"))
        assert pool.state(task) == "assigned"
    pool.end(task, full())
    assert pool.state(task) == "failed"


def test_failures_between_parts_count_as_ever(pool):
    pool.agent("oak")
    task = pool.submit(max_attempts=2)
    pool.end(task, Outcome("failed", "exit_code"))
    pool.end(task, full())
    assert (pool.order(task).attempt, pool.order(task).part) == (2, 2)
    pool.end(task, Outcome("failed", "exit_code"))
    assert pool.state(task) == "failed"


def test_a_part_that_says_nothing_leaves_what_the_one_before_said(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, full("the parser is done"))
    pool.end(task, full(""))
    assert (pool.order(task).part, pool.order(task).summary) == (3, "the parser is done")


def test_a_summary_is_bounded(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, full("x" * 50_000))
    assert len(pool.order(task).summary) == 4_000


def test_others_leave_a_continuation_to_the_agent_that_knows_it_but_not_for_ever(pool):
    pool.agent("ash")
    task = pool.submit()
    with pool.one_commit():
        urgent = pool.submit("at once", priority="urgent")
        pool.end(task, full())
    assert pool.where(urgent) == "ash"
    pool.agent("elm")
    assert pool.state(task) == "queued"
    pool.advance(29)
    assert pool.state(task) == "queued"
    pool.advance(2)
    assert (pool.where(task), pool.order(task).part) == ("elm", 2)


def test_the_agent_that_knows_it_takes_it_when_it_is_free_in_time(pool):
    pool.agent("ash")
    task = pool.submit()
    with pool.one_commit():
        urgent = pool.submit("at once", priority="urgent")
        pool.end(task, full())
    pool.agent("elm")
    pool.advance(20)
    pool.finish(urgent)
    assert (pool.where(task), pool.order(task).part) == ("ash", 2)


def test_nobody_waits_for_an_agent_that_is_out_of_service(pool):
    pool.agent("ash")
    task = pool.submit()
    pool.agent("elm")
    pool.ask(Cordon(agent="ash"))
    pool.end(task, full())
    assert pool.where(task) == "elm"


def test_what_is_left_to_an_agent_can_be_canceled_meanwhile_and_is_forgotten(pool):
    pool.agent("ash")
    task = pool.submit()
    with pool.one_commit():
        pool.submit("at once", priority="urgent")
        pool.end(task, full())
    pool.cancel(task)
    pool.agent("elm")
    pool.advance(60)
    assert pool.state(task) == "canceled"


def test_no_task_is_taken_twice_from_the_queue_that_it_left(pool):
    pool.agent("ash", slots=1)
    tasks = [pool.submit()]
    with pool.one_commit():
        urgent = pool.submit("at once", priority="urgent")
        pool.end(tasks[0], full())
    pool.advance(31)
    pool.finish(urgent)
    assert pool.where(tasks[0]) == "ash"
    pool.end(tasks[0], Outcome("failed", "exit_code"))
    pool.finish(tasks[0])
    assert pool.state(tasks[0]) == "completed"


# ------------------------------------------------------------------- livelock


def rounds(ends, requeues):
    """The signs of a pool in which attempts at one task end so, one after the other."""
    pool = FakePool(replace(CALM, livelock_requeues=requeues, max_parts=100))
    pool.agent("oak")
    task = pool.submit()
    for outcome in ends:
        pool.end(task, outcome)
    return pool.signs


def test_parts_that_get_the_work_on_are_no_livelock():
    assert SIGN not in rounds([full(f"part {n}", head=f"b{n}") for n in range(8)], 2)
    assert SIGN not in rounds([full("the same", head=f"b{n}") for n in range(8)], 2)
    assert SIGN not in rounds([full(f"part {n}") for n in range(8)], 2)


def test_parts_that_bring_nothing_are_one():
    assert SIGN in rounds([full("nothing yet", head="a0") for _ in range(2)], 2)
    assert SIGN in rounds([full(f"part {n}", head="b1") for n in range(3)], 2), "the first of them committed something"
    assert SIGN in rounds([full("") for _ in range(2)], 2)
    assert SIGN in rounds([full("the same") for _ in range(3)], 2)
