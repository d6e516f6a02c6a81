"""Agents that come, go silent, come back and take over each other's names; and their orders, none of which is lost."""

import pytest

from agentcom.capability.attributes import MOST_ATTRIBUTES
from agentcom.model.agent import Card
from agentcom.model.codec import encode
from agentcom.model.messages import Goodbye
from agentcom.scheduler.events import Emptied, Reclaimed
from agentcom.settings import Policy
from tests.stories.pool import FakePool

HOUR_S = 3_600


@pytest.fixture
def steady():
    """One leader for the whole story: a new one gives every agent a new term of silence."""
    return FakePool()


def links(pool, name):
    return [line.after for line in pool.journal if line.axis == "link" and line.agent == name]


def test_an_agent_that_beats_stays_online(steady):
    steady.agent("oak")
    steady.advance(HOUR_S)
    assert links(steady, "oak") == ["online"]


@pytest.mark.pitfall_7
def test_a_silent_agent_becomes_stale_then_offline_and_gets_no_work(steady):
    steady.agent("oak")
    steady.silence("oak")
    steady.advance(89.9)
    assert links(steady, "oak") == ["online"]
    steady.advance(0.2)
    assert links(steady, "oak") == ["online", "stale"]
    assert steady.state(steady.submit()) == "queued"
    steady.advance(30)
    assert links(steady, "oak") == ["online", "stale", "offline"]


def test_a_beat_brings_a_silent_agent_back_and_work_to_it(steady):
    incarnation = steady.agent("oak")
    steady.silence("oak")
    steady.advance(100)
    task = steady.submit()
    steady.beat("oak", incarnation)
    assert links(steady, "oak") == ["online", "stale", "online"]
    assert steady.state(task) == "assigned"
    steady.advance(91)
    assert steady.agent_record("oak").link == "stale", "and its silence counts anew"


def test_a_late_beat_keeps_an_agent_online(steady):
    incarnation = steady.agent("oak")
    steady.silence("oak")
    for _ in range(10):
        steady.advance(80)
        steady.beat("oak", incarnation)
    assert links(steady, "oak") == ["online"]


def test_a_beat_of_an_unknown_agent_or_of_an_older_start_says_nothing(steady):
    steady.beat("nobody", "sc-1")
    old = steady.agent("oak")
    steady.agent("oak")
    steady.silence("oak")
    steady.advance(100)
    steady.beat("oak", old)
    assert steady.agent_record("oak").link == "stale"


def test_a_new_leader_gives_every_agent_a_whole_term_of_silence(steady):
    steady.agent("oak")
    steady.silence("oak")
    steady.advance(80)
    steady.restart()
    steady.advance(89)
    assert steady.agent_record("oak").link == "online"
    steady.advance(2)
    assert steady.agent_record("oak").link == "stale"


# ------------------------------------------------------------ hello and goodbye


@pytest.mark.pitfall_1
@pytest.mark.pitfall_3
def test_a_newer_start_takes_the_name_over_and_an_older_one_is_refused(pool):
    old = pool.agent("oak", python=1)
    new = pool.agent("oak", python=2)
    pool.hello("oak", old, Card(attributes={"python": 1}))
    record = pool.agent_record("oak")
    assert (record.incarnation, record.card.attributes) == (new, {"python": 2})
    assert f"a newer sidecar of this name has taken over ({new})" in pool.refusals_in_journal()


def test_a_new_card_counts_at_once(pool):
    pool.agent("oak", python=1)
    task = pool.submit(requires="python >= 2")
    assert pool.state(task) == "queued"
    pool.agent("oak", python=2)
    assert pool.state(task) == "assigned"


def test_a_card_with_more_slots_gets_more_work_at_once(pool):
    pool.agent("oak", slots=1)
    tasks = [pool.submit() for _ in range(3)]
    pool.agent("oak", slots=3)
    assert pool.states(*tasks) == ["assigned"] * 3


def test_a_card_with_fewer_slots_gets_no_work_until_it_has_room(pool):
    pool.max_slots = lambda name, agent: 3
    pool.agent("oak", slots=3)
    tasks = [pool.submit() for _ in range(4)]
    pool.agent("oak", slots=1)
    pool.finish(tasks[0])
    pool.finish(tasks[1])
    assert pool.state(tasks[3]) == "queued"
    pool.finish(tasks[2])
    assert pool.state(tasks[3]) == "assigned"


@pytest.mark.parametrize(
    ("name", "card", "why"),
    [
        ("Oak", Card(), "'Oak' is not an agent's name"),
        ("", Card(), "'' is not an agent's name"),
        ("oak", Card(host="h" * 900_000), "its host is longer than 255 characters"),
        ("oak", Card(version="1" * 256), "its version is longer than 255 characters"),
        ("o" * 10_000, Card(), "is not an agent's name"),
        ("oak", Card(slots=0), "0 slots, not 1 to 1000"),
        ("oak", Card(slots=2**70), "slots, not 1 to 1000"),
        ("oak", Card(beat_s=0), "a beat every 0"),
        ("oak", Card(beat_s=1e9), "a beat every 1"),
        ("oak", Card(context_tokens=-1), "a context window of -1 tokens"),
        ("oak", Card(attributes={"py thon": 1}), "a name has only letters"),
        ("oak", Card(attributes={"a": 1e300}), "between -10^15 and 10^15"),
        ("oak", Card(attributes={f"a{n}": 1 for n in range(MOST_ATTRIBUTES + 1)}), "attributes, at most"),
        ("oak", Card(accepts="python >="), "accepts: at "),
    ],
)
def test_a_card_that_makes_no_sense_is_refused_with_a_reason(pool, name, card, why):
    pool.hello(name, "sc-1", card)
    assert pool.agents == {}
    assert why in pool.refusals_in_journal()[-1]
    assert len(encode(pool.journal[-1])) < 500


@pytest.mark.parametrize("incarnation", ["", "9" * 10_000])
def test_an_incarnation_is_bounded(pool, incarnation):
    pool.hello("oak", incarnation, Card())
    assert "an incarnation of" in pool.refusals_in_journal()[-1]
    assert len(encode(pool.journal[-1])) < 500


def test_an_agent_that_says_goodbye_gets_no_work(pool):
    pool.agent("oak")
    pool.goodbye("oak")
    assert pool.agent_record("oak").link == "offline"
    assert pool.state(pool.submit()) == "queued"
    pool.agent("oak")
    assert list(pool.core.agents) == ["oak"]
    assert pool.core.waiting() == 0


@pytest.mark.pitfall_7
def test_a_beat_that_is_read_after_the_goodbye_brings_nobody_back(pool):
    incarnation = pool.agent("oak")
    pool.goodbye("oak")
    pool.beat("oak", incarnation)
    assert pool.agent_record("oak").link == "offline"
    pool.restart()
    pool.beat("oak", incarnation)
    assert pool.state(pool.submit()) == "queued"
    pool.hello("oak", incarnation, Card())
    assert pool.core.waiting() == 0, "a hello does"


def test_the_goodbye_of_an_older_start_does_not_end_the_newer_one(pool):
    old = pool.agent("oak")
    pool.agent("oak")
    pool.put("reports", encode(Goodbye(agent="oak", incarnation=old)))
    pool.put("reports", encode(Goodbye(agent="nobody", incarnation=old)))
    assert pool.agent_record("oak").link == "online"
    assert len(pool.refusals_in_journal()) == 2


def test_a_goodbye_that_comes_twice_is_one(pool):
    incarnation = pool.agent("oak")
    pool.goodbye("oak")
    pool.put("reports", encode(Goodbye(agent="oak", incarnation=incarnation)))
    assert links(pool, "oak") == ["online", "offline"]


def test_an_agent_that_comes_and_goes_leaves_no_timers_behind(steady):
    for _ in range(50):
        steady.agent("oak")
        steady.goodbye("oak")
        steady.now += 10
    steady.agent("oak")
    steady.advance(200)
    kinds = [timer[2] for timer in steady.core._state._timers]
    assert kinds.count("link") == 1


# ------------------------------------------------------------------- forgetting


def test_an_agent_that_stays_away_is_forgotten_with_its_orders():
    pool = FakePool(Policy(retention_s=HOUR_S))
    pool.agent("oak")
    pool.silence("oak")
    pool.advance(HOUR_S + 119)
    assert "oak" in pool.agents
    pool.advance(3)
    assert pool.agents == {}
    assert pool.task(pool.submit()).note == "no agent is registered"
    pool.agent("oak")
    assert pool.core.waiting() == 0


def test_an_agent_that_came_back_is_not_forgotten():
    pool = FakePool(Policy(retention_s=HOUR_S))
    pool.agent("oak")
    pool.goodbye("oak")
    pool.advance(HOUR_S - 10)
    pool.agent("oak")
    pool.advance(20)
    assert "oak" in pool.agents
    pool.goodbye("oak")
    pool.advance(HOUR_S - 1)
    assert "oak" in pool.agents
    pool.advance(2)
    assert "oak" not in pool.agents


def test_a_new_leader_forgets_whom_the_old_one_would_have():
    pool = FakePool(Policy(retention_s=HOUR_S))
    pool.agent("oak")
    pool.goodbye("oak")
    pool.restart()
    pool.advance(HOUR_S + 1)
    assert pool.agents == {}


def test_an_agent_is_not_forgotten_while_it_holds_work_and_is_once_it_does_not():
    pool = FakePool(Policy(retention_s=HOUR_S))
    pool.agent("oak")
    task = pool.submit()
    pool.accept(task)
    pool.silence("oak")
    pool.advance(2 * HOUR_S)
    assert "oak" in pool.agents
    pool.sweep()
    pool.advance(2 * HOUR_S)
    assert pool.agents == {}
    assert pool.state(task) == "queued"


# -------------------------------------------------------------------- reclaim


@pytest.mark.pitfall_7
def test_what_a_silent_agent_worked_on_is_reclaimed_and_done_elsewhere(steady):
    steady.agent("ash")
    task = steady.submit()
    steady.accept(task)
    steady.agent("elm")
    steady.silence("ash")
    steady.sweep()
    assert steady.where(task) == "ash", "nothing is taken from an agent that is heard"
    steady.advance(100)
    assert steady.core.silent_holders() == ["ash"]
    steady.sweep()
    assert steady.where(task) == "elm"
    assert steady.task(task).attempts[0].outcome.reason == "lost"
    assert steady.orders["ash"] == {}
    assert steady.agent_record("ash").running == {}
    assert steady.core.silent_holders() == []


@pytest.mark.pitfall_4
def test_what_comes_from_it_after_all_changes_nothing(steady):
    incarnation = steady.agent("ash")
    task = steady.submit()
    token = steady.token(task)
    steady.agent("elm")
    steady.silence("ash")
    steady.accept(task)
    steady.advance(100)
    steady.sweep()
    steady.beat("ash", incarnation)
    steady.finish(task, token=token, agent="ash")
    assert (steady.state(task), steady.where(task)) == ("assigned", "elm")


def test_a_lost_attempt_counts_against_the_cap(steady):
    steady.agent("oak")
    task = steady.submit(max_attempts=1)
    steady.silence("oak")
    steady.accept(task)
    steady.advance(100)
    steady.sweep()
    assert (steady.state(task), steady.task(task).reason) == ("failed", "lost")
    assert len(steady.dead) == 1


@pytest.mark.pitfall_7
def test_when_a_silent_agent_has_no_order_left_all_that_it_seemed_to_run_is_lost(steady):
    steady.agent("oak", slots=2)
    tasks = [steady.submit(), steady.submit()]
    for task in tasks:
        steady.accept(task)
    steady.silence("oak")
    steady.orders["oak"].clear()
    steady.advance(100)
    steady.sweep()
    assert steady.states(*tasks) == ["queued", "queued"]
    assert steady.agent_record("oak").running == {}


def test_emptiness_says_nothing_of_an_agent_that_is_heard(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.core.apply(Emptied("oak"), pool.now)
    pool.core.apply(Emptied("nobody"), pool.now)
    pool.commit()
    assert pool.state(task) == "assigned"


def test_reclaimed_orders_of_unknown_agents_tokens_and_kinds_are_settled_and_nothing_else(pool):
    pool.agent("oak")
    task = pool.submit()
    for name, token in (("nobody", "1.a"), ("oak", "7.b"), ("oak", "")):
        pool.core.apply(Reclaimed(name, "5-5", token), pool.now)
    commit = pool.core.take(pool.now)
    assert commit.settled == [("nobody", "5-5"), ("oak", "5-5"), ("oak", "5-5")]
    assert commit.records == {}
    assert pool.state(task) == "assigned"


def test_a_canceled_task_whose_agent_died_is_closed_by_the_reclaim(steady):
    steady.agent("oak")
    task = steady.submit()
    steady.accept(task)
    steady.silence("oak")
    steady.cancel(task)
    steady.advance(100)
    assert task in steady.open
    steady.sweep()
    assert task not in steady.open
    assert steady.state(task) == "canceled"
    assert steady.core.open_tasks == 0


def test_a_goodbye_with_work_in_hand_leaves_it_to_the_sweep(pool):
    pool.agent("ash")
    task = pool.submit()
    pool.accept(task)
    pool.goodbye("ash")
    pool.agent("elm")
    pool.sweep()
    assert pool.where(task) == "elm"
