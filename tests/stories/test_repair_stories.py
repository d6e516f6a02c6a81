"""What was found damaged is looked at again: what the scheduler knows it writes again, what it does not it mends, and
what is not so any more it refuses."""

import json

import pytest

from agentcom.model.codec import decode_order, encode
from agentcom.model.messages import MAX_FIXES_PER_REPAIR, Fix, Repair
from agentcom.settings import Policy
from tests.stories.pool import FakePool

pytestmark = pytest.mark.pitfall_4


def repair(pool, *fixes):
    """Ask for these; what was refused."""
    return pool.why_refused(pool.put("inbox", encode(Repair(fixes=list(fixes)))))


def rewrite(pool, task, **changes):
    """A record is changed behind the scheduler's back, and another leader reads it."""
    pool.records[task] = json.dumps(json.loads(pool.records[task]) | changes).encode()


def said(pool):
    return [line.detail for line in pool.journal if line.trigger == "repair"]


@pytest.fixture
def pool():
    """Without the judge, who would see the damage before it is mended."""
    return FakePool(judging=False)


def judged(pool):
    pool.judge()
    return True


# ---------------------------------------------------------- what memory knows


def test_a_record_that_is_gone_is_written_again_from_memory(pool):
    task = pool.submit()
    kept = pool.records.pop(task)
    assert repair(pool, Fix("close", task=task)) == []
    assert pool.records[task] == kept
    assert said(pool) == ["close: written again as the scheduler knows it"]
    assert judged(pool)


@pytest.mark.parametrize("kind", ["open", "close", "drop", "expire"])
def test_whatever_is_said_of_an_open_task_its_record_and_place_are_written_again(pool, kind):
    task = pool.submit()
    kept = pool.records[task]
    pool.records[task] = b"garbage" if kind == "drop" else kept
    del pool.open[task]
    assert repair(pool, Fix(kind, task=task)) == []
    assert (pool.records[task], list(pool.open)) == (kept, [task])
    assert judged(pool)


def test_an_agent_that_was_lost_from_the_store_is_written_again(pool):
    pool.agent("oak")
    task = pool.submit()
    kept = pool.agents.pop("oak")
    assert repair(pool, Fix("lose", task=task, token=pool.token(task)), Fix("forget", agent="oak")) == []
    assert pool.agents["oak"] == kept
    assert pool.state(task) == "assigned"
    assert judged(pool)


def test_a_slot_that_memory_knows_to_be_free_is_written_free(pool):
    pool.agent("oak")
    kept = pool.agents["oak"]
    pool.agents["oak"] = json.dumps(json.loads(kept) | {"running": {"9.x": "t"}}).encode()
    assert repair(pool, Fix("release", agent="oak", token="9.x")) == []
    assert pool.agents["oak"] == kept


def test_a_current_attempt_is_not_released(pool):
    pool.agent("oak")
    task = pool.submit()
    assert repair(pool, Fix("release", agent="oak", token=pool.token(task))) == []
    assert pool.state(task) == "assigned"
    assert pool.agent_record("oak").running == {pool.token(task): task}
    assert judged(pool)


def test_an_idempotency_key_is_written_again_or_forgotten(pool):
    task = pool.submit(key="k")
    kept = pool.keys["k"]
    pool.keys |= {"k": "garbage", "other": "garbage"}
    assert repair(pool, Fix("forget_key", name="k"), Fix("forget_key", name="other")) == []
    assert pool.keys == {"k": kept}
    assert pool.why_refused(pool.submit_all({"id": pool.new_id(), "text": "x", "key": "k"}))
    assert pool.state(task) == "queued"


def test_a_key_that_is_not_kept_is_bound_again_also_by_a_leader_that_does_not_know_it(pool):
    pool.agent("oak")
    done, queued = pool.submit(key="of done"), pool.submit(key="of queued")
    pool.finish(done)
    kept = dict(pool.keys)
    del pool.keys["of queued"]
    assert repair(pool, Fix("bind", task=queued)) == []
    assert pool.keys == kept
    pool.keys.clear()
    pool.restart()
    pool.advance(10)
    assert repair(pool, Fix("bind", task=done), Fix("bind", task=queued)) == []
    assert pool.keys == kept, "since when it is bound, too"
    for key in kept:
        assert pool.why_refused(pool.submit_all({"id": pool.new_id(), "text": "x", "key": key}))
    assert repair(pool, Fix("bind", task=pool.submit())) != []


def test_a_key_is_not_bound_to_what_was_rejected_nor_revived_nor_squeezed_in():
    pool = FakePool(Policy(max_keys=2, key_retention_s=3_600))
    old = pool.submit(key="old")
    rejected = pool.submit(key="rejected", requires="(((")
    assert pool.state(rejected) == "rejected"
    assert repair(pool, Fix("bind", task=rejected)) != []
    pool.advance(3_601)
    assert repair(pool, Fix("bind", task=old)) != [], "it has passed"
    first, *_ = [pool.submit(key=key) for key in ("a", "b", "c")]
    kept = dict(pool.keys)
    assert repair(pool, Fix("bind", task=first)) != [], "it has made room"
    assert pool.keys == kept


# ----------------------------------------------------- what memory knows not


def test_an_open_task_that_no_leader_knew_is_taken_up_where_it_stood(pool):
    queued, waiting = pool.submit(), pool.submit(agent="elm")
    pool.open.clear()
    pool.restart()
    pool.agent("oak")
    assert repair(pool, Fix("open", task=queued), Fix("open", task=waiting)) == []
    assert pool.states(queued, waiting) == ["assigned", "queued"]
    assert judged(pool)


def test_a_running_task_that_no_leader_knew_goes_on_with_its_agent_or_elsewhere(pool):
    pool.agent("oak", slots=2)
    kept, lost = pool.submit(), pool.submit()
    pool.open.clear()
    record = json.loads(pool.agents["oak"])
    del record["running"][pool.token(lost)]
    pool.agents["oak"] = json.dumps(record).encode()
    pool.restart()
    assert repair(pool, Fix("open", task=kept), Fix("open", task=lost)) == []
    pool.finish(kept)
    assert pool.state(kept) == "completed"
    assert pool.task(lost).attempts[0].outcome.result == "lost"
    assert pool.task(lost).generation == 2
    pool.finish(lost)
    assert pool.state(lost) == "completed"


def test_what_waits_for_a_task_that_was_dropped_fails_and_is_told_why(pool):
    gone = pool.submit()
    heir = pool.submit(after=[gone])
    del pool.open[gone]
    pool.restart()
    pool.records[gone] = b"garbage"
    assert repair(pool, Fix("drop", task=gone)) == []
    assert pool.state(heir) == "failed"
    assert pool.task(heir).detail == f"it waits for {gone}, which did not complete"


@pytest.mark.parametrize(("ended", "after"), [("completed", "queued"), ("failed", "failed"), ("nothing", "failed")])
def test_what_waits_for_a_task_that_ended_goes_on_or_fails_with_it(pool, ended, after):
    other = pool.submit()
    heir = pool.submit(after=[other])
    del pool.open[other]
    if ended == "nothing":
        del pool.records[other]
    else:
        rewrite(pool, other, state=ended, ended_at=1)
    pool.restart()
    assert repair(pool, Fix("wait", task=heir, other=other)) == []
    assert pool.state(heir) == after


def test_what_waits_for_nobody_goes_on(pool):
    other = pool.submit()
    heir = pool.submit(after=[other])
    rewrite(pool, heir, waiting_for=[])
    pool.restart()
    assert repair(pool, Fix("wait", task=heir)) == []
    assert pool.states(other, heir) == ["queued", "queued"]
    assert judged(pool)


def test_an_attempt_that_nobody_has_is_lost_and_the_task_goes_on(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.agents["oak"] = json.dumps(json.loads(pool.agents["oak"]) | {"running": {}}).encode()
    pool.orders["oak"].clear()
    pool.restart()
    assert repair(pool, Fix("lose", task=task, token=pool.token(task))) == []
    assert pool.task(task).generation == 2
    assert pool.task(task).attempts[0].outcome.reason == "lost"
    assert judged(pool)


def test_an_attempt_whose_order_is_gone_is_lost_and_its_agent_told(pool):
    pool.agent("oak")
    task = pool.submit()
    token = pool.token(task)
    pool.orders["oak"].clear()
    assert repair(pool, Fix("reclaim", agent="oak", token=token)) == []
    assert [stop.token for stop in pool.stops("oak")] == [token]
    pool.advance(16)
    assert pool.task(task).generation == 2
    assert judged(pool)


def test_an_order_that_nobody_can_renew_is_removed_with_its_attempt(pool):
    pool.agent("oak")
    task = pool.submit()
    (entry,) = pool.orders["oak"]
    assert repair(pool, Fix("reclaim", agent="oak", token=pool.token(task), entry=entry)) == []
    assert entry not in pool.orders["oak"]
    assert pool.task(task).attempts[0].outcome.result == "lost"
    assert judged(pool)


def test_a_slot_of_an_ended_task_is_free_again_and_used(pool):
    pool.agent("oak")
    done = pool.submit()
    pool.finish(done)
    pool.agents["oak"] = json.dumps(json.loads(pool.agents["oak"]) | {"running": {"9.x": done}}).encode()
    pool.restart()
    waiting = pool.submit()
    assert pool.state(waiting) == "queued"
    assert repair(pool, Fix("release", agent="oak", token="9.x")) == []
    assert pool.state(waiting) == "assigned"
    assert judged(pool)


def test_an_agent_that_works_on_what_is_no_task_is_told_to_stop(pool):
    pool.agent("oak")
    task = pool.submit()
    token = pool.token(task)
    del pool.records[task], pool.open[task]
    pool.restart()
    assert repair(pool, Fix("stop", agent="oak", token=token, task=task)) == []
    assert [(stop.task, stop.token) for stop in pool.stops("oak")] == [(task, token)]
    assert pool.agent_record("oak").running == {token: task}, "its slot is free when it has stopped"


def test_a_stream_that_is_used_up_is_made_anew_and_its_work_goes_on(pool):
    pool.agent("oak", slots=2)
    tasks = [pool.submit(), pool.submit()]
    assert repair(pool, Fix("remake", agent="oak")) == []
    assert json.loads(pool.commits[-1])["remade"] == ["oak"]
    pool.orders["oak"].clear()
    pool.advance(16)
    assert [pool.task(task).generation for task in tasks] == [2, 2]


def test_two_tasks_in_one_place_get_places_of_their_own(pool):
    first, second = pool.submit(), pool.submit()
    rewrite(pool, second, seq=1)
    pool.open[second] = 1
    pool.restart()
    assert repair(pool, Fix("renumber", task=second)) == []
    assert [pool.task(task).seq for task in (first, second)] == [1, 3]
    assert judged(pool)


def test_an_order_of_nobody_is_removed_and_one_of_a_current_attempt_is_not(pool):
    pool.agent("oak")
    task = pool.submit()
    (entry,) = pool.orders["oak"]
    pool.orders["oak"]["1-1"] = b"garbage"
    refused = repair(
        pool, Fix("settle", agent="oak", entry="1-1"), Fix("settle", agent="oak", token=pool.token(task), entry=entry)
    )
    assert refused == [f"settle {pool.token(task)}: the agent has this attempt"]
    assert list(pool.orders["oak"]) == [entry]
    assert judged(pool)


def test_an_agent_that_is_none_is_forgotten_with_its_orders(pool):
    pool.agents["ghost"] = b"garbage"
    pool.orders["ghost"] = {"1-1": b"garbage"}
    assert repair(pool, Fix("forget", agent="ghost")) == []
    assert "ghost" not in pool.agents
    assert "ghost" not in pool.orders


def test_keys_that_pass_get_an_end_of_life_and_others_do_not(pool):
    refused = repair(pool, Fix("bound", name="beat:oak"), Fix("bound", name="journal"), Fix("bound", name="task:x"))
    assert refused == ["bound journal: this is no key that passes", "bound task:x: this is no key that passes"]
    assert json.loads(pool.commits[-1])["bounded"] == ["beat:oak"]


def test_positions_are_written_again(pool):
    assert repair(pool, Fix("reposition")) == []
    assert json.loads(pool.commits[-1])["restated"] is True


# ------------------------------------------------------ what is not so any more


def test_what_is_not_so_is_refused_with_a_reason_and_changes_nothing(pool):
    pool.agent("oak")
    done, missing = pool.submit(), pool.new_id()
    pool.finish(done)
    open_elsewhere = pool.submit()
    del pool.open[open_elsewhere]
    pool.restart()
    before = dict(pool.records), dict(pool.agents), dict(pool.open)
    refused = {
        Fix("open", task=done): "it is not open",
        Fix("open", task=missing): "there is no record of it",
        Fix("close", task=open_elsewhere): "it is open",
        Fix("expire", task=open_elsewhere): "it has not ended",
        Fix("expire", task=missing): "there is no record of it",
        Fix("wait", task=done, other=missing): "it does not wait for others",
        Fix("lose", task=done, token="1.x"): "it is not open",
        Fix("renumber", task=done): "it is not open",
        Fix("release", agent="elm", token="1.x"): "there is no such agent",
        Fix("reclaim", agent="elm", token="1.x"): "the agent does not list it",
        Fix("stop", agent="oak", token="1.x"): "the agent does not list it",
        Fix("settle", agent="oak", entry="nonsense"): "this is no entry of a stream",
        Fix("remake", agent="elm"): "there is no such agent",
    }
    for fix, reason in refused.items():
        (said_why,) = repair(pool, fix)
        assert said_why.endswith(f": {reason}"), fix
    assert (dict(pool.records), dict(pool.agents), dict(pool.open)) == before


def test_a_task_that_waits_for_one_that_is_open_goes_on_waiting(pool):
    other = pool.submit()
    heir = pool.submit(after=[other])
    assert repair(pool, Fix("wait", task=heir, other=other), Fix("wait", task=heir, other=pool.new_id())) == []
    assert pool.states(other, heir) == ["queued", "blocked"]
    assert judged(pool)


def test_a_task_that_waits_for_one_that_is_open_and_unknown_is_left_until_that_is_known(pool):
    other = pool.submit()
    heir = pool.submit(after=[other])
    del pool.open[other]
    pool.restart()
    (refused,) = repair(pool, Fix("wait", task=heir, other=other))
    assert refused.endswith(f"{other} is open by its record")
    assert repair(pool, Fix("open", task=other)) == []
    assert pool.states(other, heir) == ["queued", "blocked"]
    assert judged(pool)


def test_a_spec_that_this_version_cannot_read_is_left_alone(pool):
    task = pool.submit()
    record = json.loads(pool.records[task])
    for change in ({"new_in_the_next_version": 1}, {"requires": "python ???"}):
        pool.records[task] = json.dumps(record | {"spec": record["spec"] | change}).encode()
        pool.open.clear()
        pool.restart()
        (refused,) = repair(pool, Fix("open", task=task))
        assert "this version cannot read it" in refused


def test_too_many_fixes_at_once_are_refused_whole(pool):
    fix = Fix("bound", name="beat:oak")
    (refused,) = repair(pool, *[fix] * (MAX_FIXES_PER_REPAIR + 1))
    assert "over 500" in refused
    assert said(pool) == []


def test_a_repair_that_is_sent_twice_changes_nothing_the_second_time(pool):
    pool.agent("oak")
    task = pool.submit()
    pool.orders["oak"].clear()
    fix = Fix("reclaim", agent="oak", token=pool.token(task))
    assert repair(pool, fix) == []
    orders = [decode_order(body).token for body in pool.orders["oak"].values()]
    before = pool.task(task)
    (refused,) = repair(pool, fix)
    assert refused.endswith("the agent does not list it")
    assert pool.task(task) == before
    assert [decode_order(body).token for body in pool.orders["oak"].values()] == orders
