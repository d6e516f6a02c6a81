from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from agentcom.ids import IdMaker
from tests.cli.harness import Terminal

NEVER = "cobol >= 5"


def new_id() -> str:
    return IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom).make()


def test_a_submitted_task_is_told_by_its_short_id_and_state(agentcom: Terminal) -> None:
    said = agentcom("submit", "sleep well")
    assert said.code == 0
    name, state, *title = said.out.split()
    assert name.startswith("tk-")
    assert state in ("queued", "assigned", "working")
    assert title == ["sleep", "well"]
    assert agentcom("cancel", name).code == 0


def test_waiting_ends_with_0_when_the_task_completed_and_tells_how(agentcom: Terminal) -> None:
    said = agentcom("submit", "do it", "--wait")
    assert said.code == 0
    assert "completed by" in said.out
    assert "did do it" in said.out


def test_waiting_ends_with_1_when_the_task_failed_and_tells_why(agentcom: Terminal) -> None:
    said = agentcom("submit", "fail badly", "--max-attempts", "1", "--wait")
    assert said.code == 1
    assert "failed on" in said.out
    assert "handler_raised: ValueError: badly" in said.out


def test_a_task_that_nobody_can_take_stays_and_the_exit_code_is_4(agentcom: Terminal) -> None:
    said = agentcom("submit", "x", "--requires", NEVER)
    assert said.code == 4
    assert "0 of 2 agents: 2 no cobol" in said.err
    name = said.out.split()[0]
    assert agentcom("show", name, "--json").document["task"]["state"] == "queued"
    assert agentcom("cancel", name).code == 0


def test_every_option_reaches_the_spec(agentcom: Terminal, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x" * 4_000)
    first = agentcom("submit", "one", "--json").document["tasks"][0]
    said = agentcom(
        "submit", "sleep", "--title", "T", "--requires", "python >= 1", "--prefer", "review", "--priority", "urgent",
        "--after", first["short"], "--context", "notes.md", "--expect", "20m", "--timeout", "1h", "--expires", "2d",
        "--max-attempts", "3", "--key", "the-key", "--agent", "oak", "--check", "make test", "--check", "make lint",
        "--budget-usd", "$2.50", "--budget-tokens", "200k", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    task = said.document["tasks"][0]
    spec = agentcom("show", task["id"], "--json").document["task"]["spec"]
    assert spec == {
        "id": task["id"],
        "text": "sleep",
        "title": "T",
        "requires": "python >= 1",
        "prefer": "review",
        "priority": "urgent",
        "after": [first["id"]],
        "context": ["notes.md"],
        "context_tokens": 1_100,
        "expect_s": 1_200.0,
        "timeout_s": 3_600.0,
        "expires_s": 172_800.0,
        "max_attempts": 3,
        "key": "the-key",
        "agent": "oak",
        "checks": ["make test", "make lint"],
        "budget_usd": 2.5,
        "budget_tokens": 200_000,
    }
    assert said.err == "agentcom: context estimated at 1,100 tokens\n"
    assert agentcom("cancel", task["id"]).code == 0


@pytest.mark.pitfall_9
def test_context_tokens_that_are_given_are_not_estimated(agentcom: Terminal, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x" * 4_000)
    task = agentcom("submit", "x", "--context", "notes.md", "--context-tokens", "7", "--json").ids()[0]
    assert agentcom("show", task, "--json").document["task"]["spec"]["context_tokens"] == 7


@pytest.mark.pitfall_9
def test_a_context_file_that_is_not_here_is_not_counted_and_that_is_said(agentcom: Terminal, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x" * 40_000)
    (tmp_path / "folder").mkdir()
    said = agentcom("submit", "x", "--context", "notes.md", "--context", "gone.md", "--context", "folder", "--json")
    assert said.err == (
        "agentcom: context estimated at 11,000 tokens\n"
        "agentcom: not counted, as they are no files here: gone.md, folder\n"
    )
    spec = agentcom("show", said.ids()[0], "--json").document["task"]["spec"]
    assert (spec["context_tokens"], spec["context"]) == (11_000, ["notes.md", "gone.md", "folder"])


@pytest.mark.pitfall_9
def test_a_backlogs_context_is_estimated_too_from_where_the_backlog_is(agentcom: Terminal, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.md").write_text("x" * 4_000)
    (tmp_path / "docs" / "BACKLOG.md").write_text(
        "- [ ] One {#one} {context: notes.md} {check: make test} {budget: $2} {tokens: 200k}\n"
        "- [ ] Two {#two} {context: notes.md, gone.md} {context-tokens: 7}\n"
        "- [ ] Three {#three}\n"
    )
    said = agentcom("submit", "--from", "docs/BACKLOG.md", "--json")
    assert said.err == "agentcom: context estimated at 1,100 tokens\n"
    one, two, three = (agentcom("show", id_, "--json").document["task"]["spec"] for id_ in said.ids())
    assert [spec["context_tokens"] for spec in (one, two, three)] == [1_100, 7, 0]
    assert (one["checks"], one["budget_usd"], one["budget_tokens"]) == (["make test"], 2.0, 200_000)


def test_a_line_with_a_check_that_is_no_command_is_named(agentcom: Terminal) -> None:
    said = agentcom(
        "submit", "--lines", stdin=b'{"text": "a", "checks": ["make test"]}\n{"text": "b", "checks": ["a \\""]}'
    )
    assert said.code == 2
    assert said.err.splitlines()[0] == (
        "agentcom: line 2: check: expected a program and its arguments, with every quote closed, not 'a \"'"
    )


@pytest.mark.pitfall_1
def test_a_key_makes_one_task_however_often_it_is_submitted(agentcom: Terminal) -> None:
    first = agentcom("submit", "x", "--key", "once", "--json").document["tasks"][0]
    again = agentcom("submit", "x", "--key", "once", "--json").document["tasks"][0]
    assert (first["existing"], again["existing"]) == (False, True)
    assert again["id"] == first["id"]
    assert "was submitted before with this key" in agentcom("submit", "x", "--key", "once").out


def test_what_the_scheduler_refuses_is_one_line_and_exit_code_1(agentcom: Terminal) -> None:
    said = agentcom("submit", "x", "--title", "t" * 201)
    assert (said.code, said.out) == (1, "")
    assert said.err == "agentcom: refused: title is longer than 200 characters\n"


def test_without_a_scheduler_the_task_waits_in_the_inbox_and_that_is_no_failure(quiet: Terminal) -> None:
    said = quiet("submit", "x")
    assert said.code == 0
    assert said.out.endswith(" waits in the inbox\n")
    assert said.err == "agentcom: no scheduler answered within 5 s: it waits in the inbox until one runs\n"


def test_tasks_that_are_stranded_or_refused_alike_are_told_of_together(agentcom: Terminal) -> None:
    line = '{"text": "n", "requires": "cobol >= 5"}\n{"text": "r", "context_tokens": -1}\n'
    said = agentcom("submit", "--lines", stdin=(line * 5).encode())
    assert said.code == 1
    refused, stranded = said.err.splitlines()
    assert re.match(r"agentcom: refused 'r', 'r', 'r' and 2 more: context_tokens is -1", refused)
    assert re.match(r"agentcom: nobody can take tk-\w+, tk-\w+, tk-\w+ and 2 more: .* They stay", stranded)
    assert said.out.endswith("5 tasks submitted, 5 refused\n")
    assert agentcom("cancel", *re.findall(r"tk-\w+", said.out)).code == 0


# -------------------------------------------------------------------- stdin


def test_the_text_comes_from_stdin_when_it_is_piped_or_asked_for(agentcom: Terminal) -> None:
    piped = agentcom("submit", "--json", stdin="fix the größe\nof it".encode())
    assert piped.document["tasks"][0]["title"] == "fix the größe"
    asked = agentcom("submit", "-", "--json", stdin=b"from a pipe")
    assert asked.document["tasks"][0]["title"] == "from a pipe"


def test_json_lines_are_a_task_each_and_may_name_each_other(agentcom: Terminal) -> None:
    first = new_id()
    lines = f'{{"text": "one", "id": "{first}"}}\n\n{{"text": "two", "after": ["{first}"], "priority": "low"}}\n'
    said = agentcom("submit", "--lines", "--wait", "--json", stdin=lines.encode())
    assert said.code == 0, said.err
    assert [task["title"] for task in said.document["tasks"]] == ["one", "two"]
    assert {task["state"] for task in said.document["tasks"]} == {"completed"}


def test_one_bad_json_line_keeps_all_of_them_from_being_submitted(quiet: Terminal) -> None:
    lines = (
        b'{"text": "fine"}\n{"text": 1}\n\nnonsense\n{"text": "x", "colour": "red"}\n{"text": "x", "requires": "a >"}'
    )
    said = quiet("submit", "--lines", stdin=lines)
    assert (said.code, said.out) == (2, "")
    numbers = [line.partition(":")[2].partition(":")[0].strip() for line in said.err.splitlines()]
    assert numbers == ["line 2", "line 4", "line 5", "line 6", "nothing was submitted"]
    assert quiet("monitor", "--json").document["inbox"] == 0


# ------------------------------------------------------------------- backlog

BACKLOG = """\
# Accounts
- [ ] Add a login form {#login} {expect: 20m}
  Make it so.
- [ ] Remember the session {after: login} {priority: high}
"""


def test_a_backlog_submitted_again_adds_only_what_is_new(agentcom: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "BACKLOG.md"
    file.write_text(BACKLOG)
    first = agentcom("submit", "--from", "BACKLOG.md", "--wait")
    assert first.code == 0, first.err
    assert "2 added, 0 already there" in first.out
    again = agentcom("submit", "--from", str(file))
    assert (again.code, again.out) == (0, "0 added, 2 already there\n")
    file.write_text(BACKLOG + "- [ ] Log out {after: login}\n")
    more = agentcom("submit", "--from", "BACKLOG.md", "--json").document
    assert [task["existing"] for task in more["tasks"]] == [False, True, True]
    added = agentcom("show", more["tasks"][0]["id"], "--json").document["task"]
    login = next(task["id"] for task in more["tasks"] if task["title"] == "Add a login form")
    assert added["spec"]["after"] == [login]


def test_a_backlog_with_a_problem_names_file_and_line_and_nothing_is_submitted(quiet: Terminal, tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("- [ ] a {priority: soon}\n- [ ] b {after: nothing}\n")
    said = quiet("submit", "--from", "b.md")
    assert (said.code, said.out) == (2, "")
    lines = said.err.splitlines()
    assert lines[0].startswith("agentcom: b.md:1: priority: expected one of")
    assert lines[1].startswith("agentcom: b.md:2: after names 'nothing'")
    assert lines[2] == "agentcom: nothing was submitted"
    assert quiet("monitor", "--json").document["inbox"] == 0


def test_a_backlog_is_the_same_in_every_clone_of_its_repository(agentcom: Terminal, tmp_path: Path) -> None:
    for clone, origin in (("one", "git@example.org:acme/shop.git"), ("two", "https://me:pw@example.org/acme/shop")):
        folder = tmp_path / clone
        folder.mkdir()
        (folder / "TODO.md").write_text("- [ ] The same work in two clones\n")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        subprocess.run(["git", "remote", "add", "origin", origin], cwd=folder, check=True)
    assert agentcom("submit", "--from", "one/TODO.md").out.endswith("1 added, 0 already there\n")
    assert agentcom("submit", "--from", "two/TODO.md").out == "0 added, 1 already there\n"
