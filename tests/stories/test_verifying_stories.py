"""Work that is checked by somebody other than the agent: what the journal shows of it, and what ends it."""

import pytest

from agentcom.model.messages import Beat
from agentcom.model.task import Check, Evidence, Outcome
from agentcom.scheduler.events import Beaten
from tests.stories.pool import FakePool

CHECKED = Outcome(
    "completed",
    evidence=Evidence(branch="oak/x", head_sha="b2", base_sha="a1", commits=1, pushed=True),
    checks=(Check("make test", by="oak", sha="b2", passed=True, exit_code=0),),
)


def trail(pool, task):
    return [line.after for line in pool.journal if line.what == "task" and line.task == task]


def at_work(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    return task


def beat(pool, verifying):
    """The sidecar beats at once when an attempt goes to its checks, or comes back from them."""
    pool.checking = {verifying} if verifying else set()
    pool.beat("oak", pool.beating["oak"])


def test_a_beat_tells_that_work_is_being_checked_and_that_it_went_back_to_the_agent(pool):
    task = at_work(pool)
    beat(pool, pool.token(task))
    assert pool.state(task) == "verifying"
    beat(pool, "")
    assert pool.state(task) == "working"
    beat(pool, pool.token(task))
    pool.end(task, CHECKED)
    assert trail(pool, task) == [
        "queued", "assigned", "working", "verifying", "working", "verifying", "completed",
    ]  # fmt: skip
    assert pool.task(task).outcome == CHECKED


def test_no_beat_is_needed_for_the_journal_to_show_that_work_was_checked(pool):
    task = at_work(pool)
    pool.end(task, CHECKED)
    assert trail(pool, task) == ["queued", "assigned", "working", "verifying", "completed"]


def test_neither_is_an_acceptance(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.end(task, CHECKED)
    assert trail(pool, task) == ["queued", "assigned", "working", "verifying", "completed"]
    assert pool.task(task).attempts[-1].accepted_at == 0


def test_a_beat_that_is_ahead_of_the_acceptance_stands_for_it(pool):
    pool.agent("oak")
    task = pool.submit()
    beat(pool, pool.token(task))
    assert trail(pool, task) == ["queued", "assigned", "working", "verifying"]
    assert pool.task(task).attempts[-1].accepted_at == pool.now
    pool.accept(task)
    pool.advance(61)
    assert pool.state(task) == "verifying", "nobody takes it for never accepted"


def test_work_that_nobody_checked_is_not_said_to_have_been(pool):
    task = at_work(pool)
    pool.finish(task)
    assert trail(pool, task) == ["queued", "assigned", "working", "completed"]


def test_work_that_fails_its_checks_is_tried_again_where_it_is(pool):
    pool.agent("elm")
    task = pool.submit()
    pool.agent("oak")
    pool.end(task, Outcome("failed", "verification_failed", checks=(Check("make test", exit_code=2),)))
    assert trail(pool, task)[-4:] == ["working", "verifying", "queued", "assigned"]
    assert pool.where(task) == "elm"


def test_what_is_being_checked_can_be_canceled(pool):
    task = at_work(pool)
    beat(pool, pool.token(task))
    pool.cancel(task)
    assert (pool.state(task), len(pool.stops("oak"))) == ("canceled", 1)


def test_what_a_silent_agent_was_checking_is_lost():
    pool = FakePool()
    task = at_work(pool)
    beat(pool, pool.token(task))
    pool.silence("oak")
    pool.advance(200)
    pool.sweep()
    assert pool.state(task) == "queued"
    assert pool.task(task).attempts[-1].outcome.reason == "lost"


def test_a_new_leader_goes_on_with_what_is_being_checked(pool):
    task = at_work(pool)
    beat(pool, pool.token(task))
    pool.restart()
    assert pool.state(task) == "verifying"
    pool.end(task, CHECKED)
    assert pool.state(task) == "completed"


@pytest.mark.parametrize("lie", ["a stranger's token", "another start of the sidecar", "a task of another agent"])
def test_beats_move_only_what_their_own_agent_runs(pool, lie):
    task = at_work(pool)
    name, incarnation, token = "oak", pool.beating["oak"], pool.token(task)
    if lie == "a stranger's token":
        token = "1.x"
    elif lie == "another start of the sidecar":
        incarnation = "sc-0"
    else:
        incarnation, name = pool.agent("elm"), "elm"
    said = Beat(
        agent=name, incarnation=incarnation, count=10_000, at=0, state="working", running={token: task},
        verifying=(token,),
    )  # fmt: skip
    pool.core.apply(Beaten(said, 0), pool.now)
    pool.commit()
    assert pool.state(task) == "working"


@pytest.mark.pitfall_5
@pytest.mark.pitfall_7
def test_the_time_to_show_life_begins_when_the_agent_is_woken_and_not_while_git_is_made_ready(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.preparing = {pool.token(task)}
    pool.advance(pool.policy.accept_s * 4)
    assert pool.state(task) == "assigned"
    pool.preparing = set()
    pool.advance(pool.policy.accept_s + 2 * pool.policy.beat_s)
    assert pool.task(task).attempts[0].outcome.reason == "accept_timeout"


@pytest.mark.pitfall_7
def test_no_agent_is_made_ready_for_ever(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.preparing = {pool.token(task)}
    pool.advance(pool.policy.prepare_s)
    assert pool.state(task) == "assigned"
    pool.advance(pool.policy.accept_s + 1)
    assert pool.task(task).attempts[0].outcome.reason == "accept_timeout"
