"""The scheduler's small pure rules, each by itself: retry, order of a submission, lanes, profiles, explanations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agentcom.capability import parse, parse_preferences
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.commit import Commit
from agentcom.model.reasons import CLASS_OF, blames_agent
from agentcom.model.task import Outcome, TaskRecord, TaskSpec
from agentcom.scheduler.admission import in_order, problem_of
from agentcom.scheduler.explain import explain, hindrance, obstacles
from agentcom.scheduler.lanes import GHOSTS, Lane, rank
from agentcom.scheduler.pool import Profile, Slots, bits
from agentcom.scheduler.retry import Decision, Past, decide
from agentcom.scheduler.work import Demand, Demands, make_work
from agentcom.settings import Policy

POLICY = Policy(retry_delays_s=(0.0, 30.0, 120.0), retry_jitter=0.0, max_handbacks=2, max_waits=3)
AGAIN_NOW, AGAIN_30, AGAIN_120 = (Decision("again", delay_ms=ms) for ms in (0, 30_000, 120_000))
DEAD, NEVER, BACK = Decision("give_up", dead=True), Decision("give_up"), Decision("handed_back")


@pytest.mark.parametrize(
    ("result", "reason", "counted", "handbacks", "expected"),
    [
        ("failed", "exit_code", 1, 0, AGAIN_NOW),
        ("failed", "exit_code", 2, 0, AGAIN_30),
        ("failed", "exit_code", 3, 0, AGAIN_120),
        ("failed", "exit_code", 4, 0, AGAIN_120),
        ("failed", "exit_code", 5, 0, DEAD),
        ("failed", "exit_code", 9, 0, DEAD),
        ("lost", "lost", 1, 0, AGAIN_NOW),
        ("failed", "accept_timeout", 5, 0, DEAD),
        ("failed", "some new reason", 1, 0, AGAIN_NOW),
        ("failed", "refused", 1, 0, NEVER),
        ("failed", "refused", 9, 0, NEVER),
        ("canceled", "canceled", 1, 0, NEVER),
        ("handed_back", "handed_back", 1, 0, BACK),
        ("handed_back", "handed_back", 5, 1, Decision("handed_back", delay_ms=1_000)),
        ("handed_back", "handed_back", 1, 2, AGAIN_NOW),
        ("handed_back", "handed_back", 5, 2, DEAD),
        ("handed_back", "refused", 1, 2, NEVER),
        ("failed", "context_exhausted", 9, 0, Decision("continue")),
    ],
)
def test_what_follows_an_attempt(result, reason, counted, handbacks, expected):
    assert decide(Outcome(result, reason), Past(counted, handbacks), 5, POLICY) == expected


@given(counted=st.integers(1, 500), cap=st.integers(1, 100), reason=st.sampled_from([*CLASS_OF, "", "new"]))
def test_no_reason_is_tried_beyond_the_cap(counted, cap, reason):
    past = Past(counted, 0, POLICY.max_waits, POLICY.max_parts)
    decision = decide(Outcome("failed", reason), past, cap, POLICY)
    assert decision.step in ("give_up", "ask_person") or counted < cap
    assert decision.dead <= (decision.step == "give_up")


def test_a_reason_that_is_not_retried_blames_no_agent():
    for reason, class_ in CLASS_OF.items():
        assert not blames_agent(reason) or class_ not in ("never", "human")


# ------------------------------------------------------------------- submission


def specs(**after):
    return {name: TaskSpec(id=name, text=name, after=tuple(others)) for name, others in after.items()}


@pytest.mark.parametrize(
    ("given_specs", "ordered", "ring"),
    [
        ({}, [], []),
        (specs(a=[], b=[]), ["a", "b"], []),
        (specs(a=["b"], b=[]), ["b", "a"], []),
        (specs(a=["b", "c"], b=["c"], c=[]), ["c", "b", "a"], []),
        (specs(a=["elsewhere"], b=["a"]), ["a", "b"], []),
        (specs(a=["a"]), [], ["a"]),
        (specs(a=["b"], b=["a"], c=[]), ["c"], ["a", "b"]),
        (specs(a=["b"], b=["c"], c=["b"], d=[]), ["d"], ["a", "b", "c"]),
    ],
)
def test_the_order_within_a_submission(given_specs, ordered, ring):
    found, in_ring = in_order(given_specs)
    assert (found, list(in_ring)) == (ordered, ring)


@given(st.dictionaries(st.integers(0, 9), st.frozensets(st.integers(0, 9), max_size=3)))
def test_everything_is_either_placed_behind_what_it_waits_for_or_in_a_ring(graph):
    given_specs = specs(**{f"t{n}": [f"t{other}" for other in sorted(after)] for n, after in graph.items()})
    ordered, ring = in_order(given_specs)
    assert sorted([*ordered, *ring]) == sorted(given_specs)
    for place, name in enumerate(ordered):
        assert all(other in ordered[:place] or other not in given_specs for other in given_specs[name].after)
    assert all(any(other in ring for other in given_specs[name].after) for name in ring)


GOOD_ID = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
AT_THE_BOUNDS = TaskSpec(
    id=GOOD_ID,
    text="x" * 65_536,
    title="t" * 200,
    key="k" * 200,
    after=("o",) * 100,
    context=("c" * 1_000,) * 100,
    context_tokens=100_000_000,
    expect_s=30 * 86_400,
    timeout_s=30 * 86_400,
    expires_s=30 * 86_400,
    max_attempts=100,
    agent="a" * 64,
    checks=("c" * 1_000,) * 20,
    budget_tokens=10**12,
    budget_usd=1e6,
)


def test_the_bounds_themselves_are_allowed():
    assert problem_of(AT_THE_BOUNDS, Policy()) == ""
    assert problem_of(TaskSpec(id=GOOD_ID, text="x"), Policy()) == ""


@pytest.mark.parametrize(
    ("given_spec", "problem"),
    [
        ({"checks": ("x",) * 21}, "checks holds 21 commands, over 20"),
        ({"checks": ("x" * 1_001,)}, "a check is longer than 1,000 characters"),
        (
            {"checks": ("make test", "echo 'a")},
            "check: expected a program and its arguments, with every quote closed, not 'echo 'a'",
        ),
        ({"checks": (" ",)}, "check: expected a program and its arguments, with every quote closed, not ''"),
        ({"budget_usd": -1.0}, "budget_usd is -1.0, not between 0 and 1,000,000"),
        ({"budget_usd": float("nan")}, "budget_usd is nan, not between 0 and 1,000,000"),
        ({"budget_tokens": 10**12 + 1}, "budget_tokens is 1000000000001, not between 0 and 1,000,000,000,000"),
    ],
)
def test_checks_and_budgets_are_judged(given_spec, problem):
    assert problem_of(TaskSpec(id=GOOD_ID, text="x", **given_spec), Policy()) == problem


@given(st.text(), st.text(), st.text(), st.floats(), st.integers())
def test_judging_a_spec_never_raises_and_never_answers_at_length(text, requires, agent, seconds, number):
    spec = TaskSpec(
        id=GOOD_ID,
        text=text,
        requires=requires,
        prefer=requires,
        agent=agent,
        timeout_s=seconds,
        max_attempts=number,
        checks=(text, requires),
        budget_usd=seconds,
    )
    problem = problem_of(spec, Policy())
    assert len(problem) < 500
    assert "\n" not in problem


# ------------------------------------------------------------------------ lanes


DEMAND = Demand(parse(""), parse_preferences(""), 0, "")


def work(seq, *, priority="normal", retried=False, ready_at=0):
    spec = TaskSpec(id=f"t{seq}", text="a", priority=priority)
    record = TaskRecord(
        spec=Raw(b"{}"), seq=seq, state="queued", submitted_at=0, changed_at=0, ready_at=ready_at, retried=retried
    )
    return make_work(record, spec, DEMAND, 3, 60.0)


def drained(lane, now=0, age_ms=1_000):
    found = []
    while (head := lane.head(now, age_ms)) is not None:
        lane.take(head)
        found.append(head.id)
    return found


def test_a_lane_is_one_queue_per_priority():
    lane = Lane(0, DEMAND, frozenset())
    for seq, priority in enumerate(["low", "normal", "urgent", "high", "urgent"]):
        lane.push(work(seq, priority=priority))
    assert lane.waiting == 5
    assert drained(lane) == ["t2", "t4", "t3", "t1", "t0"]
    assert lane.waiting == 0


def test_fresh_work_is_before_retried_work_until_that_has_aged():
    for now, expected in ((999, ["t2", "t1"]), (1_000, ["t1", "t2"])):
        lane = Lane(0, DEMAND, frozenset())
        lane.push(work(1, retried=True, ready_at=0))
        lane.push(work(2))
        assert drained(lane, now) == expected


def test_the_heads_of_lanes_are_ranked_by_priority_then_freshness_then_admission():
    urgent_retried = work(9, priority="urgent", retried=True, ready_at=5_000)
    late, aged, fresh = work(1, retried=True, ready_at=5_000), work(3, retried=True), work(2)
    ranked = sorted([late, aged, fresh, urgent_retried], key=lambda waits: rank(waits, 5_500, 1_000))
    assert ranked == [urgent_retried, fresh, aged, late]


@given(st.lists(st.sampled_from(["push", "first", "forget", "take"]), max_size=400), st.randoms(use_true_random=False))
def test_a_lane_counts_what_waits_and_forgets_what_left(steps, random):
    lane = Lane(0, DEMAND, frozenset())
    waiting = []
    for seq, step in enumerate(steps):
        if step in ("push", "first"):
            new = work(seq)
            lane.push(new, first=step == "first")
            waiting.insert(0 if step == "first" else len(waiting), new)
        elif waiting and step == "forget":
            lane.forget(waiting.pop(random.randrange(len(waiting))))
        elif waiting:
            assert lane.head(0, 1_000) is waiting[0]
            lane.take(waiting.pop(0))
        assert lane.waiting == len(waiting)
        assert sum(map(len, lane.fresh)) <= 2 * len(waiting) + GHOSTS
    assert drained(lane) == [waits.id for waits in waiting]


@given(st.integers(0, 2**200), st.integers(0, 220))
def test_bits_are_visited_once_each_rising_from_the_start_and_then_from_zero(mask, start):
    visited = list(bits(mask, start))
    expected = [n for n in range(200 + 1) if mask >> n & 1]
    assert visited == [n for n in expected if n >= start] + [n for n in expected if n < start]


def test_indexes_are_handed_out_again():
    slots = Slots()
    assert [slots.take(), slots.take()] == [0, 1]
    slots.give_back(0)
    assert [slots.take(), slots.take()] == [0, 2]


# ---------------------------------------------------------------------- demands


def test_equal_demands_are_one_object_and_forgotten_with_the_last_task():
    demands = Demands()
    first = demands.of(TaskSpec(text="a", requires="python >= 3, gpu"))
    assert demands.of(TaskSpec(text="b", requires="gpu and python>=3.0")) is first
    assert demands.of(TaskSpec(text="b", requires="gpu and python>=3.0", agent="oak")) is not first
    assert demands.of(TaskSpec(text="b", requires="gpu and python>=3.0", context_tokens=5)) is not first
    assert demands.of(TaskSpec(text="b", requires="gpu and python>=3.0", prefer="rust")) is not first
    assert len(demands._known) >= 1
    del first
    assert len(demands._known) == 0


def test_facts_of_a_task_are_what_it_requires_its_context_and_whether_it_is_pinned():
    demand = Demands().of(TaskSpec(text="a", requires="python >= 3 or not gpu", context_tokens=7, agent="oak"))
    assert dict(demand.facts) == {"python": True, "gpu": True, "context_tokens": 7, "pinned": True}


REQUIREMENTS = st.sampled_from(["", "python", "python >= 3", "os == linux", "not gpu", "rust or python, not os == mac"])


@given(
    requires=REQUIREMENTS,
    accepts=st.sampled_from(["", "python", "not pinned", "context_tokens < 500"]),
    attributes=st.dictionaries(st.sampled_from(["python", "rust", "gpu"]), st.integers(0, 5)),
    window=st.sampled_from([0, 100, 1_000]),
    tokens=st.sampled_from([0, 79, 80, 81, 600]),
)
def test_an_agent_could_do_a_task_exactly_when_nothing_speaks_against_it(requires, accepts, attributes, window, tokens):
    card = Card(attributes=attributes, accepts=accepts, context_tokens=window)
    demand = Demands().of(TaskSpec(text="a", requires=requires, context_tokens=tokens))
    agent = AgentRecord(name="oak", incarnation="i", card=card)
    assert Profile(0, "", card).could_do(demand) == (obstacles(demand, agent) == ())


def agent_of(name, *, link="online", busy=False, **attributes):
    running = {"1.a": "t"} if busy else {}
    return AgentRecord(name=name, incarnation="i", card=Card(attributes=attributes), link=link, running=running)


@pytest.mark.parametrize(
    ("requires", "pinned", "expected"),
    [
        ("python >= 3", "", "1 of 5 agents: 1 python 2 < 3, 1 no python, 1 busy, 1 stale"),
        ("", "", "3 of 5 agents: 1 busy, 1 stale"),
        ("", "elm", "0 of 5 agents: 4 not elm, 1 stale"),
        ("", "nobody", "0 of 5 agents: 5 not nobody"),
    ],
)
def test_why_nobody_takes_it_is_said_in_one_line(requires, pinned, expected):
    demand = Demands().of(TaskSpec(text="a", requires=requires, agent=pinned))
    agents = [
        agent_of("ash", python=2),
        agent_of("bay"),
        agent_of("oak", busy=True, python=3),
        agent_of("elm", link="stale", python=3),
        agent_of("fir", python=4),
    ]
    found = explain(demand, agents)
    head, _, reasons = found.partition(": ")
    expected_head, _, expected_reasons = expected.partition(": ")
    assert head == expected_head
    assert sorted(reasons.split(", ")) == sorted(expected_reasons.split(", "))


def test_one_agent_and_none_are_said_so():
    demand = Demands().of(TaskSpec(text="a"))
    assert explain(demand, []) == "no agent is registered"
    assert explain(demand, [agent_of("oak")]) == "1 of 1 agent"
    assert hindrance(demand, agent_of("oak")) == ""


def test_an_agent_that_is_not_heard_from_has_no_free_slot():
    assert agent_of("oak").free_slots == 1
    assert agent_of("oak", busy=True).free_slots == 0
    assert agent_of("oak", link="stale").free_slots == agent_of("oak", link="offline").free_slots == 0


def test_a_commit_is_empty_until_it_has_something_to_write():
    assert Commit().empty
    assert not Commit(keys={"k": None}).empty
    assert not Commit(inbox_at="1-1").empty
    assert not Commit(closed=["t"]).empty
