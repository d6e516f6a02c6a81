from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.cli.harness import Terminal, eventually


@pytest.fixture
def sleeper(agentcom: Terminal) -> Iterator[str]:
    """A task that works until it is canceled, at the latest behind the test; its short id."""
    name: str = agentcom("submit", "sleep tight", "--agent", "oak", "--json").document["tasks"][0]["short"]
    eventually(lambda: agentcom("show", name, "--json"), lambda said: said.document["task"]["state"] == "working")
    yield name
    agentcom("cancel", name)


def test_tasks_lists_what_is_open_and_with_all_what_ended(agentcom: Terminal, sleeper: str) -> None:
    done = agentcom("submit", "do the dishes", "--wait", "--json").document["tasks"][0]["short"]
    listed = agentcom("tasks").out
    assert re.search(f"{sleeper} .*working", listed)
    assert done not in listed
    assert re.search(f"{done} .* completed", agentcom("tasks", "--all", "--limit", "0").out)


def test_tasks_can_be_asked_for_by_state_and_agent(agentcom: Terminal, sleeper: str) -> None:
    working = agentcom("tasks", "--state", "working", "--agent", "oak", "--json").document
    assert sleeper in [task["short"] for task in working["tasks"]]
    assert agentcom("tasks", "--state", "working", "--agent", "birch").err == "no such tasks\n"


def test_a_list_that_is_cut_says_so(agentcom: Terminal) -> None:
    for _ in range(3):
        assert agentcom("submit", "x", "--wait").code == 0
    said = agentcom("tasks", "--state", "completed", "--limit", "2")
    assert len(said.out.splitlines()) == 3
    assert said.err.startswith("first 2 of ")


def test_a_running_task_is_canceled_and_the_reason_kept(agentcom: Terminal, sleeper: str) -> None:
    assert agentcom("cancel", sleeper, "--why", "the release was moved").out == f"{sleeper} canceled\n"
    shown = agentcom("show", sleeper)
    assert "canceled: the release was moved" in shown.out
    freed = eventually(
        lambda: agentcom("agents", "--json"),
        lambda said: all(not agent["running"] for agent in said.document["agents"]),
    )
    assert freed.code == 0


def test_what_ended_cannot_be_canceled_but_sent_back_if_it_failed(agentcom: Terminal) -> None:
    failed = agentcom("submit", "fail", "--max-attempts", "1", "--wait", "--json").document["tasks"][0]["short"]
    refused = agentcom("cancel", failed)
    assert (refused.code, refused.err) == (1, f"agentcom: {failed}: it has ended already: failed\n")
    assert agentcom("retry", failed).out == f"{failed} sent back\n"
    assert agentcom("wait", failed).code == 1
    attempts = agentcom("show", failed, "--json").document["task"]["attempts"]
    assert [attempt["outcome"]["reason"] for attempt in attempts] == ["handler_raised", "handler_raised"]


def test_wait_gives_up_in_time_and_the_work_goes_on(agentcom: Terminal, sleeper: str) -> None:
    said = agentcom("wait", sleeper, "--timeout", "0.2")
    assert said.code == 1
    assert said.err == "agentcom: not all ended within 0.2; the work goes on\n"
    assert agentcom("show", sleeper, "--json").document["task"]["state"] == "working"


def test_wait_takes_the_full_id_of_what_is_still_in_the_inbox(quiet: Terminal) -> None:
    task = quiet("submit", "x", "--json").ids()[0]
    assert quiet("wait", task, "--timeout", "0.2").code == 1
    assert quiet("show", task).code == 1


def test_show_tells_of_every_attempt(agentcom: Terminal) -> None:
    task = agentcom("submit", "fail twice", "--title", "Try it", "--json").document["tasks"][0]["short"]
    shown = eventually(lambda: agentcom("show", task), lambda said: "retry_wait for" in said.out)
    assert f"{task}  Try it" in shown.out
    assert "tried again in" in shown.out
    assert shown.out.count("handler_raised") >= 2
    assert agentcom("cancel", task).code == 0


# --------------------------------------------------------------------- logs


def test_logs_print_what_an_agent_printed_without_what_moves_the_cursor(agentcom: Terminal) -> None:
    text = "print \x1b[2Jone\x07\r\ntwo \x1b]0;title\x07three"
    task = agentcom("submit", "-", "--wait", "--json", stdin=text.encode()).ids()[0]
    said = eventually(lambda: agentcom("logs", task), lambda said: said.out != "")
    assert said.out == "one\ntwo three\n"
    assert "\x1b[2J" in agentcom("logs", task, "--raw").out


def test_logs_follow_until_the_task_ended(agentcom: Terminal) -> None:
    task = agentcom("submit", "print to the end", "--json").ids()[0]
    assert agentcom("logs", task, "-f").out == "to the end\n"


def test_logs_of_another_attempt_are_left_out(agentcom: Terminal) -> None:
    task = agentcom("submit", "print x", "--wait", "--json").ids()[0]
    eventually(lambda: agentcom("logs", task), lambda said: said.out == "x\n")
    said = agentcom("logs", task, "--attempt", "2")
    assert (said.out, said.err) == ("", "no output is kept of attempt 2\n")


# ------------------------------------------------------------------ explain


def test_explain_says_who_could_and_who_could_not(agentcom: Terminal) -> None:
    said = agentcom("explain", "--requires", "python >= 3")
    assert said.code == 0
    assert said.out.splitlines()[0] == "1 of 2 agents: 1 python 1 < 3"
    assert ["oak", "now"] in [line.split() for line in said.out.splitlines()]
    assert ["birch", "no", "python", "1", "<", "3"] in [line.split() for line in said.out.splitlines()]


def test_explain_ends_with_4_if_nobody_ever_could(agentcom: Terminal) -> None:
    assert agentcom("explain", "--requires", "cobol").code == 4
    task = agentcom("submit", "x", "--requires", "cobol", "--json").ids()[0]
    said = agentcom("explain", task, "--json")
    assert said.code == 4
    assert said.document["nobody"] is True
    assert {agent["name"]: agent["why"] for agent in said.document["agents"]} == {
        "birch": ["no cobol"],
        "oak": ["no cobol"],
    }
    assert agentcom("cancel", task).code == 0


def test_explain_of_a_blocked_task_names_what_it_waits_for(agentcom: Terminal, sleeper: str) -> None:
    task = agentcom("submit", "x", "--after", sleeper, "--json").ids()[0]
    assert f"it is blocked: waits for {sleeper}" in agentcom("explain", task).out
    assert agentcom("cancel", sleeper).code == 0
    assert agentcom("explain", task).out.splitlines()[0].startswith("it is failed: dependency_failed")
