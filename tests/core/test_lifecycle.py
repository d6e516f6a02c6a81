"""The lifecycle is one table: what it must be by itself, and that its diagram is a drawing of it."""

import re
from typing import get_args

import pytest

from agentcom.model.lifecycle import ENDED, NEXT, RUNNING, WAITING, TaskState, allowed, diagram


def reachable(start):
    found, pending = {start}, [start]
    while pending:
        for after in NEXT[pending.pop()]:
            if after not in found:
                found.add(after)
                pending.append(after)
    return found


def test_the_table_has_every_state_once_and_no_other():
    assert sorted(NEXT) == sorted(get_args(TaskState))
    assert {after for steps in NEXT.values() for after in steps} | {"submitted"} == set(NEXT)


def test_every_state_can_be_reached():
    assert reachable("submitted") == set(NEXT)


@pytest.mark.parametrize("state", NEXT)
def test_from_every_state_the_task_can_come_to_an_end(state):
    assert reachable(state) & ENDED


def test_every_state_is_either_new_or_waiting_or_running_or_ended():
    kinds = ({"submitted"}, WAITING, RUNNING, ENDED)
    assert sum(map(len, kinds)) == len(NEXT)
    assert set().union(*kinds) == set(NEXT)


@pytest.mark.pitfall_1
def test_what_has_completed_or_was_refused_never_changes_again():
    assert NEXT["completed"] == NEXT["rejected"] == {}


def test_what_has_failed_or_was_canceled_can_only_be_sent_back():
    assert set(NEXT["failed"]) == set(NEXT["canceled"]) == {"queued", "blocked"}


@pytest.mark.parametrize("state", sorted(WAITING | RUNNING))
def test_every_open_task_can_be_canceled_and_can_fail(state):
    assert allowed(state, "canceled")
    assert allowed(state, "failed")


def test_only_what_waits_for_an_agent_is_assigned_and_only_what_is_assigned_works():
    assert [before for before in NEXT if allowed(before, "assigned")] == ["queued"]
    assert [before for before in NEXT if allowed(before, "working")] == ["assigned", "verifying"]
    assert [before for before in NEXT if allowed(before, "verifying")] == ["working"]


@pytest.mark.pitfall_4
def test_only_what_runs_can_complete_or_by_a_late_result_what_was_given_up_last():
    given_up = {"queued", "retry_wait", "input_required"}
    assert {before for before in NEXT if allowed(before, "completed")} == RUNNING | given_up


def test_no_state_follows_itself_and_every_step_says_why():
    for before, steps in NEXT.items():
        assert before not in steps
        assert all(steps.values())


def test_the_diagram_draws_exactly_the_table():
    first, start, *lines = diagram().splitlines()
    assert first == "stateDiagram-v2"
    assert start.strip() == "[*] --> submitted"
    drawn = [re.fullmatch(r"    (\w+) --> (\w+): ([^:;\n]+)", line) for line in lines if not line.endswith("[*]")]
    assert all(drawn)
    steps = [(before, after, why) for before, found in NEXT.items() for after, why in found.items()]
    assert [match.groups() for match in drawn] == steps
    ends = {line.split()[0] for line in lines if line.endswith("--> [*]")}
    assert ends == ENDED
