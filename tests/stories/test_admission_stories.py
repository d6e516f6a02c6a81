"""What the inbox takes on, and what it refuses: always with a reason, and never twice the same work."""

import json

import pytest

from agentcom.ids import is_id
from agentcom.model.codec import encode
from agentcom.model.messages import Submit
from agentcom.scheduler.requests import lookups
from agentcom.settings import Policy
from tests.stories.pool import START, FakePool

BAD_SPECS = {
    "empty": ({"text": ""}, "text is empty"),
    "only blanks": ({"text": " \n\t "}, "text is empty"),
    "oversized": ({"text": "x" * 70_000}, "text has 70,000 bytes, over 65,536"),
    "oversized in bytes, not in characters": ({"text": "ä" * 40_000}, "text has 80,000 bytes"),
    "long title": ({"title": "t" * 201}, "title is longer"),
    "long key": ({"key": "k" * 201}, "key is longer"),
    "many dependencies": ({"after": ["x"] * 101}, "after names more than 100"),
    "many files": ({"context": ["x"] * 101}, "context names more than 100"),
    "long path": ({"context": ["x" * 1_001]}, "a context path is longer"),
    "bad agent": ({"agent": "Oak Tree"}, "is not an agent's name"),
    "negative timeout": ({"timeout_s": -1}, "timeout_s is -1"),
    "endless timeout": ({"timeout_s": 1e300}, "timeout_s is 1e+300"),
    "negative expectation": ({"expect_s": -0.5}, "expect_s is -0.5"),
    "late expiry": ({"expires_s": 31 * 86_400}, "expires_s is"),
    "too many attempts": ({"max_attempts": 101}, "max_attempts is 101"),
    "negative attempts": ({"max_attempts": -1}, "max_attempts is -1"),
    "huge context": ({"context_tokens": 2**70}, "context_tokens is"),
    "negative context": ({"context_tokens": -5}, "context_tokens is -5"),
    "bad requirement": ({"requires": "python >="}, "requires: at "),
    "long requirement": ({"requires": "a or " * 2_000 + "a"}, "requires: at "),
    "bad preference": ({"prefer": "python : heavy"}, "prefer: at "),
    "unknown dependency": ({"after": ["01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"]}, "there is no task '01934a7e"),
    "dependency that is no id": ({"after": ["tomorrow"]}, "there is no task 'tomorrow'"),
}

UNREADABLE_SPECS = {
    "unknown field": ({"text": "a", "colour": "red"}, "unknown field `colour`"),
    "text that is no text": ({"text": 7}, "Expected `str`"),
    "no text": ({}, "missing required field `text`"),
    "unknown priority": ({"text": "a", "priority": "asap"}, "'asap'"),
    "numbers as texts": ({"text": "a", "max_attempts": "3"}, "Expected `int`"),
    "not an object": ([1, 2], "Expected `object`"),
    "nothing": (None, "Expected `object`"),
}


@pytest.mark.parametrize(("spec", "reason"), BAD_SPECS.values(), ids=BAD_SPECS)
def test_a_bad_spec_is_refused_with_a_reason_for_its_sender_and_the_journal(pool, spec, reason):
    pool.agent("oak")
    task = pool.new_id()
    entry = pool.submit_all({"id": task, "text": "do it", **spec})
    assert reason in pool.why_refused(entry)[0]
    assert pool.state(task) == "rejected"
    assert reason in pool.task(task).detail
    assert any(reason in detail for detail in pool.refusals_in_journal())
    assert pool.open == {}


@pytest.mark.parametrize(("spec", "reason"), UNREADABLE_SPECS.values(), ids=UNREADABLE_SPECS)
def test_what_is_no_spec_is_refused_without_harm_to_the_rest_of_its_submission(pool, spec, reason):
    good = pool.new_id()
    entry = pool.submit_all({"id": good, "text": "good"}, spec)
    (refusal,) = pool.refused[entry]
    assert refusal.reason.startswith("task 2 of the submission: ")
    assert reason in refusal.reason
    assert pool.state(good) == "queued"


GARBAGE = [
    b"",
    b"\xff\xfe\x00",
    b"{",
    b"[]",
    b'"submit"',
    b'{"type":"destroy"}',
    b'{"tasks":[]}',
    b'{"type":"submit","tasks":[]}',
    b'{"type":"submit","tasks":"all"}',
    b'{"type":"submit","tasks":[' + b",".join([b"{}"] * 101) + b"]}",
    b'{"type":"cancel"}',
    b'{"type":"cancel","task":"x","when":"now"}',
    b'{"type":"submit","v":2,"tasks":[{"text":"a"}]}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:30]))
def test_garbage_in_the_inbox_is_refused_with_a_reason_and_stops_nothing(pool, body):
    entry = pool.put("inbox", body)
    assert pool.why_refused(entry)[0]
    assert pool.refusals_in_journal() == pool.why_refused(entry)
    assert pool.state(pool.submit()) == "queued"


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:30]))
def test_garbage_among_the_reports_is_journalled_and_stops_nothing(pool, body):
    pool.put("reports", body)
    assert len(pool.refusals_in_journal()) == 1
    assert pool.state(pool.submit()) == "queued"


def test_a_message_of_a_future_protocol_is_explained_as_such(pool):
    entry = pool.put("inbox", b'{"type":"teleport","v":7,"to":"mars"}')
    assert "protocol version 7" in pool.why_refused(entry)[0]
    assert "upgrade" in pool.why_refused(entry)[0]


def test_an_id_that_is_not_one_makes_no_record_and_is_shown_shortened(pool):
    entry = pool.submit_all({"id": "../" * 5_000, "text": "a"})
    (refusal,) = pool.refused[entry]
    assert "is not a UUIDv7" in refusal.reason
    assert len(refusal.task) <= 64
    assert len(encode(pool.journal)) < 1_000
    assert pool.records == {}


def test_a_huge_name_in_a_request_is_not_repeated_in_full(pool):
    entry = pool.cancel("z" * 100_000)
    pool.retry("z" * 100_000)
    assert "there is no task 'zzz" in pool.why_refused(entry)[0]
    assert len(encode(pool.journal)) < 2_000


def test_a_task_that_nobody_could_ever_do_is_taken_on_and_says_so(pool):
    pool.agent("oak", python=2)
    pool.agent("elm", rust=3)
    hopeless = pool.task(pool.submit(requires="python >= 3"))
    assert hopeless.state == "queued"
    assert hopeless.note.startswith("0 of 2 agents: ")
    assert "1 python 2 < 3" in hopeless.note


def test_a_task_that_somebody_could_do_later_carries_no_note_although_all_are_busy(pool):
    pool.agent("oak", python=3)
    pool.submit(requires="python >= 3")
    assert pool.task(pool.submit(requires="python >= 3")).note == ""


def test_the_note_says_when_no_agent_is_registered_and_goes_when_one_takes_the_task(pool):
    task = pool.submit()
    assert pool.task(task).note == "no agent is registered"
    pool.agent("oak")
    assert pool.task(task).note == ""


def test_a_task_pinned_to_an_unknown_agent_says_so(pool):
    pool.agent("oak")
    assert pool.task(pool.submit(agent="elm")).note == "0 of 1 agent: 1 not elm"


# --------------------------------------------------------------- idempotency


@pytest.mark.pitfall_1
def test_the_same_submission_sent_again_changes_nothing_whatever_became_of_it(pool):
    pool.agent("oak")
    task = pool.submit("once", key="k")
    for prepare in (lambda: None, lambda: pool.accept(task), lambda: pool.finish(task), pool.restart):
        prepare()
        before = (dict(pool.records), dict(pool.open), len(pool.journal))
        entry = pool.submit_all({"id": task, "text": "once", "key": "k"})
        assert (pool.records, pool.open, len(pool.journal)) == before
        assert entry not in pool.refused
    assert pool.assigned() == [task]


@pytest.mark.parametrize("stage", ["queued", "running", "completed", "completed, other leader"])
def test_another_task_under_a_taken_id_is_refused(pool, stage):
    task = pool.submit("first")
    if stage != "queued":
        pool.agent("oak")
    if stage.startswith("completed"):
        pool.finish(task)
    if stage.endswith("leader"):
        pool.restart()
    entry = pool.submit_all({"id": task, "text": "second"})
    assert pool.why_refused(entry) == ["another task has this id already: make a new one"]
    assert pool.task(task).spec.text == "first"


def test_another_task_under_an_id_that_ended_in_the_same_commit_is_refused(pool):
    task = pool.submit("first")
    with pool.one_commit():
        pool.cancel(task)
        entry = pool.submit_all({"id": task, "text": "second"})
    assert pool.why_refused(entry) == ["another task has this id already: make a new one"]


@pytest.mark.pitfall_10
@pytest.mark.parametrize("spec", [{"text": ""}, {"text": "x" * 70_000}, {"text": "a", "after": ["no"]}])
def test_a_refused_task_sent_again_is_refused_again_for_the_same_reason(pool, spec):
    task = pool.new_id()
    first = pool.submit_all({"id": task, **spec})
    again = pool.submit_all({"id": task, **spec})
    pool.restart()
    later = pool.submit_all({"id": task, **spec})
    assert pool.why_refused(first) == pool.why_refused(again) == pool.why_refused(later) != []


@pytest.mark.pitfall_10
def test_a_ring_sent_again_is_refused_again_and_never_blocks_the_pool(pool):
    a, b = pool.new_id(), pool.new_id()
    ring = ({"id": a, "text": "a", "after": [b]}, {"id": b, "text": "b", "after": [a]})
    for _ in range(2):
        entry = pool.submit_all(*ring)
        assert ["in a ring" in reason for reason in pool.why_refused(entry)] == [True, True]
    assert pool.states(a, b) == ["rejected", "rejected"]


def test_a_ring_under_the_ids_of_open_tasks_leaves_these_alone(pool):
    a = pool.submit("the real one")
    b = pool.new_id()
    pool.submit_all({"id": a, "text": "a", "after": [b]}, {"id": b, "text": "b", "after": [a]})
    assert pool.task(a).spec.text == "the real one"
    assert pool.state(a) == "queued"


def test_the_same_id_twice_in_one_submission_is_taken_on_once(pool):
    task = pool.new_id()
    entry = pool.submit_all({"id": task, "text": "a"}, {"id": task, "text": "b"})
    assert pool.why_refused(entry) == ["its id stands twice in the submission"]
    assert pool.task(task).spec.text == "a"


@pytest.mark.pitfall_10
def test_an_id_from_a_clock_that_is_ahead_can_be_sent_again_at_any_time(pool):
    pool.now += 3_600_000
    ahead = pool.new_id()
    pool.now -= 3_600_000
    pool.agent("oak")
    pool.submit("early", id=ahead)
    pool.finish(ahead)
    pool.restart()
    for minutes in (1, 30, 120):
        pool.advance(60 * minutes)
        entry = pool.submit_all({"id": ahead, "text": "early"})
        assert entry not in pool.refused
    assert pool.assigned() == [ahead]
    assert pool.commits_refused <= 1


def test_an_id_is_looked_up_unless_it_was_surely_made_under_this_leader():
    pool = FakePool()
    pool.now += 10
    fresh = pool.new_id()
    request = Submit(tasks=[json.dumps({"id": fresh, "text": "a"}).encode()])
    state = pool.core._state
    assert lookups(state, request, loaded_at=START, now=pool.now) == [], "made under this leader"
    assert lookups(state, request, loaded_at=pool.now, now=pool.now) == [fresh], "loaded since"
    assert lookups(state, request, loaded_at=START, now=pool.now - 5_000) == [fresh], "from the future"
    assert lookups(state, request, loaded_at=START, now=0) == [fresh], "nobody says what time it is"


def test_an_id_is_made_for_a_task_without_one_and_is_the_same_when_the_entry_is_read_again(pool):
    with pool.one_commit():
        pool.submit_all({"text": "a"}, {"text": "b"})
        pool.restart()
    assert len(pool.records) == 2
    assert all(is_id(task) for task in pool.records)
    assert sorted(pool.open.values()) == [1, 2]

    other = FakePool()
    other.submit_all({"text": "a"}, {"text": "b"})
    assert set(other.records) == set(pool.records)


def test_equal_tasks_of_different_entries_get_different_ids(pool):
    pool.submit_all({"text": "a"})
    pool.submit_all({"text": "a"})
    assert len(pool.records) == 2


# ----------------------------------------------------------------------- keys


@pytest.mark.pitfall_1
def test_a_second_task_with_the_same_key_is_refused_and_names_the_first(pool):
    first = pool.submit("a", key="nightly")
    second = pool.new_id()
    entry = pool.submit_all({"id": second, "text": "b", "key": "nightly"})
    (refusal,) = pool.refused[entry]
    assert (refusal.task, refusal.existing) == (second, first)
    assert second not in pool.records


def test_a_key_is_bound_beyond_the_end_of_its_task_and_of_its_leader(pool):
    pool.agent("oak")
    first = pool.submit("a", key="nightly")
    pool.finish(first)
    pool.restart()
    entry = pool.submit_all({"text": "b", "key": "nightly"})
    assert pool.refused[entry][0].existing == first


def test_two_tasks_of_one_submission_with_one_key_are_one(pool):
    a = pool.new_id()
    entry = pool.submit_all({"id": a, "text": "a", "key": "k"}, {"text": "b", "key": "k"})
    assert pool.refused[entry][0].existing == a
    assert set(pool.records) == {a}


def test_a_refused_task_does_not_take_its_key(pool):
    pool.submit_all({"text": "", "key": "k"})
    task = pool.submit("a", key="k")
    assert pool.state(task) == "queued"


@pytest.mark.parametrize("reload", [False, True])
def test_no_more_keys_are_kept_than_the_policy_says_and_the_oldest_go_first(reload):
    pool = FakePool(Policy(max_keys=3), reload=reload)
    for number in range(5):
        pool.now += 1
        pool.submit(key=f"k{number}")
    assert list(pool.keys) == ["k2", "k3", "k4"]
    assert pool.state(pool.submit(key="k0")) == "queued"


@pytest.mark.parametrize("reload", [False, True])
def test_keys_are_forgotten_after_their_retention(reload):
    pool = FakePool(Policy(key_retention_s=100), reload=reload)
    pool.submit(key="old")
    pool.now += 101_000
    pool.submit(key="new")
    assert list(pool.keys) == ["new"]


# --------------------------------------------------------------- dependencies


def test_a_task_may_wait_for_one_that_comes_later_in_its_submission(pool):
    pool.agent("oak", slots=2)
    a, b = pool.new_id(), pool.new_id()
    pool.submit_all({"id": a, "text": "second", "after": [b]}, {"id": b, "text": "first"})
    assert pool.states(a, b) == ["blocked", "assigned"]


def test_a_task_that_waits_for_itself_is_refused(pool):
    task = pool.new_id()
    entry = pool.submit_all({"id": task, "text": "a", "after": [task]})
    assert pool.why_refused(entry)


def test_only_the_members_of_a_ring_and_what_hangs_on_them_are_refused(pool):
    a, b, c, d = (pool.new_id() for _ in range(4))
    entry = pool.submit_all(
        {"id": a, "text": "a", "after": [b]},
        {"id": b, "text": "b", "after": [a]},
        {"id": c, "text": "c", "after": [a]},
        {"id": d, "text": "d"},
    )
    assert len(pool.why_refused(entry)) == 3
    assert pool.state(d) == "queued"


def test_a_task_that_waits_for_a_refused_one_of_its_submission_fails_instead_of_running(pool):
    pool.agent("oak")
    bad, heir = pool.new_id(), pool.new_id()
    pool.submit_all({"id": bad, "text": ""}, {"id": heir, "text": "b", "after": [bad]})
    assert pool.states(bad, heir) == ["rejected", "failed"]
    assert pool.task(heir).reason == "dependency_failed"


def test_a_task_that_waits_for_what_ended_in_the_same_commit_does_not_wait_for_ever(pool):
    pool.agent("oak")
    done, failed = pool.submit("a"), pool.submit("b")
    with pool.one_commit():
        pool.finish(done)
        pool.cancel(failed)
        after_done = pool.submit("c", after=[done])
        after_failed = pool.submit("d", after=[failed])
    assert pool.states(after_done, after_failed) == ["assigned", "failed"]


def test_a_task_may_wait_for_what_completed_long_ago_under_another_leader(pool):
    pool.agent("oak")
    done = pool.submit("a")
    pool.finish(done)
    pool.restart()
    assert pool.state(pool.submit("b", after=[done])) == "assigned"


def test_a_task_cannot_wait_for_one_whose_record_is_gone(pool):
    pool.agent("oak")
    done = pool.submit("a")
    pool.finish(done)
    del pool.records[done]
    pool.judging = False
    assert pool.state(pool.submit("b", after=[done])) == "rejected"


def test_a_task_whose_record_is_gone_is_not_done_a_second_time_under_the_leader_who_saw_it_end():
    pool = FakePool(judging=False)
    pool.agent("oak")
    task = pool.submit()
    pool.finish(task)
    del pool.records[task]
    pool.submit(id=task)
    assert pool.assigned() == [task]


def test_the_same_dependency_named_twice_is_one(pool):
    pool.agent("oak")
    first = pool.submit("a")
    second = pool.submit("b", after=[first, first])
    assert pool.task(second).waiting_for == (first,)
    pool.finish(first)
    assert pool.state(second) == "assigned"


# ------------------------------------------------------------------- look-ups


def test_nothing_is_looked_up_for_what_this_leader_knows_or_cannot_have_missed():
    pool = FakePool()
    pool.now += 1
    known = pool.submit()
    assert pool.core.lookups(Submit(tasks=[f'{{"id":"{known}","text":"a"}}'.encode()]), pool.now) == []


def test_ids_that_an_earlier_leader_may_have_ended_and_all_dependencies_are_looked_up():
    pool = FakePool()
    old = pool.new_id()
    pool.now += 1_000
    other = pool.new_id()
    pool.core = pool._load()
    request = Submit(tasks=[json.dumps({"id": old, "text": "a", "after": [other, "not-an-id"]}).encode()])
    assert pool.core.lookups(request, pool.now) == [old, other]


def test_ids_beyond_the_memory_of_ended_tasks_are_looked_up(monkeypatch):
    monkeypatch.setattr("agentcom.scheduler.state.ENDED_REMEMBERED", 2)
    pool = FakePool()
    pool.now += 1
    tasks = [pool.submit() for _ in range(4)]
    for task in tasks:
        pool.cancel(task)
    assert len(pool.core._state.ended) == 2
    for task in tasks:
        entry = pool.submit_all({"id": task, "text": "do it"})
        assert entry not in pool.refused
