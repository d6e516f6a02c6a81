"""What a task asks, and how a person answers it."""

from __future__ import annotations

import re
import time

from tests.cli.harness import Terminal
from tests.patience import PATIENCE_S


def asking(agentcom: Terminal, question: str = "tabs or spaces?") -> str:
    """A task whose agent asked that; its short id."""
    submitted = agentcom("submit", f"state input_required {question}", "--agent", "birch", "--json")
    name: str = submitted.document["tasks"][0]["short"]
    until(agentcom, name, "input_required")
    return name


def until(agentcom: Terminal, name: str, state: str, attempts: int = 1) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (task := agentcom("show", name, "--json").document["task"])["state"] != state or task["attempts"] == []:
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    while len(agentcom("show", name, "--json").document["task"]["attempts"]) < attempts:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_question_is_shown_and_listed_and_answered(agentcom: Terminal) -> None:
    name = asking(agentcom)
    shown = agentcom("show", name).out
    assert re.search(r"^  question +tabs or spaces\?$", shown, re.MULTILINE)
    assert re.search("^  to do +answer it with `agentcom answer`$", shown, re.MULTILINE)
    assert "asks: tabs or spaces?; answer it with" in agentcom("tasks", "--state", "input_required").out
    said = agentcom("check", "--json").document
    (finding,) = [one for one in said["findings"] if one["rule"] == "waits_for_person" and name[3:9] in one["text"]]
    assert finding["next_step"] == f"answer it with agentcom answer {name} TEXT"
    assert agentcom("answer", name, "spaces").out == f"{name} answered\n"
    until(agentcom, name, "input_required", attempts=2)
    assert agentcom("cancel", name).code == 0


def test_an_answer_may_come_from_stdin_and_twice_changes_nothing(agentcom: Terminal) -> None:
    name = asking(agentcom)
    assert agentcom("answer", name, "-", stdin=b"spaces\nof course\n").code == 0
    until(agentcom, name, "input_required", attempts=2)
    task = agentcom("show", name, "--json").document["task"]
    assert (task["question"], task["answer"]) == ("tabs or spaces?", ""), "it asked again"
    assert agentcom("cancel", name).code == 0


def test_what_does_not_wait_takes_no_answer(agentcom: Terminal) -> None:
    name = agentcom("submit", "done at once", "--wait", "--json").document["tasks"][0]["short"]
    said = agentcom("answer", name, "yes")
    assert (said.code, said.err) == (1, f"agentcom: {name}: it waits for no answer: it is completed\n")


def test_a_budget_is_added_only_where_there_is_one(agentcom: Terminal) -> None:
    name = asking(agentcom)
    said = agentcom("retry", name, "--add-usd", "2")
    assert (said.code, said.err) == (1, f"agentcom: {name}: it has no budget of money to add to\n")
    assert agentcom("cancel", name).code == 0
