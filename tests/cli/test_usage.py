"""Bad input: one line on stderr that says what is wrong, an exit code, no traceback, and nothing done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agentcom.cli.main import hoisted
from tests.cli.harness import Terminal
from tests.cli.pool_at_work import POOL

NOT_HERE = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("bogus",), 2, "No such command 'bogus'"),
        (("submit", "x", "--bogus"), 2, "No such option: --bogus"),
        (("submit", "  "), 2, "the text is empty"),
        (("submit", "x", "--requires", "a >>"), 2, "--requires: at 3"),
        (("submit", "x", "--prefer", "a :"), 2, "--prefer: at"),
        (("submit", "x", "--priority", "soon"), 2, "expected one of urgent, high, normal, low, not 'soon'"),
        (("submit", "x", "--check", "echo 'a"), 2, "--check: expected a program and its arguments"),
        (("submit", "x", "--budget-usd", "lots"), 2, "--budget-usd: expected dollars such as"),
        (("submit", "x", "--budget-tokens", "0"), 2, "--budget-tokens: expected a number such as"),
        (("submit", "--from", "b.md", "--check", "make"), 2, "--check and --from cannot be given together"),
        (("submit", "--lines", "--budget-usd", "1"), 2, "--budget-usd and --lines cannot be given together"),
        (("retry", "tk-123456", "--add-usd", "-1"), 2, "--add-usd: expected dollars"),
        (("retry", "tk-123456", "--add-tokens", "x"), 2, "--add-tokens: expected a number"),
        (("answer", "tk-123456", " "), 2, "the answer is empty"),
        (("answer", "tk-123456", "x" * 16_001), 2, "the answer is longer than 16,000 characters"),
        (("answer", "tk-1234567890", "yes"), 1, "has no task 'tk-1234567890'"),
        (("answer", "01234567-89ab-7cde-8f01-23456789abcd", "yes"), 1, "there is no task"),
        (("costs", "--days", "0"), 2, "--days"),
        (("costs", "--redis", NOT_HERE), 1, f"cannot reach Redis at {NOT_HERE}"),
        (("submit", "x", "--expect", "3 q"), 2, "--expect: expected a duration"),
        (("submit", "x", "--max-attempts", "101"), 2, "--max-attempts"),
        (("submit", "x", "--from", "b.md"), 2, "TEXT and --from cannot be given together"),
        (("submit", "--from", "b.md", "--title", "T"), 2, "--title and --from cannot be given together"),
        (("submit", "--from", "b.md", "--lines"), 2, "--from and --lines cannot be given together"),
        (("submit", "--from", "nowhere.md"), 2, "nowhere.md cannot be read"),
        (("submit", "x", "--after", "zz"), 2, "'zz' is not a task's id"),
        (("submit", "x", "--after", "0123456789"), 1, "has no task '0123456789'"),
        (("show", "tk-123"), 2, "'tk-123' is too short"),
        (("show", "tk-1234567890"), 1, "has no task 'tk-1234567890'"),
        (("cancel", "01234567-89ab-7cde-8f01-23456789abcd"), 1, "there is no task"),
        (("wait", "01234567-89ab-7cde-8f01-23456789abcd"), 1, "has no task"),
        (("wait", "tk-123456", "--timeout", "soon"), 2, "--timeout: expected a duration"),
        (("tasks", "--state", "asleep"), 2, "--state: expected one of submitted, "),
        (("tasks", "--limit", "-1"), 2, "--limit"),
        (("explain",), 2, "give either a task's ID or --requires"),
        (("explain", "--requires", "a >"), 2, "--requires: at"),
        (("journal", "--task", "xyz"), 2, "'xyz' is not a task's id"),
        (("dead", "retry"), 2, "give either tasks' IDs or --all"),
        (("tasks", "--pool", "A B"), 78, "--pool: pool: expected 1 to 40 lower-case"),
        (("tasks", "--redis", "nonsense"), 78, "--redis: redis: expected one URL"),
        (("tasks", "--redis", NOT_HERE), 1, f"cannot reach Redis at {NOT_HERE}"),
        (("submit", "x", "--redis", NOT_HERE), 1, f"cannot reach Redis at {NOT_HERE}"),
        (("monitor", "--redis", NOT_HERE), 1, f"cannot reach Redis at {NOT_HERE}"),
        (("tasks", "--config", "nowhere.toml"), 78, "nowhere.toml cannot be read"),
        (("tasks", "--redis"), 2, "requires an argument"),
        (
            ("tasks", "--redis", "", "--data-dir", "~no-such-user/x"),
            78,
            "'~no-such-user/x' begins with the home of a user",
        ),
        (("submit", "\udcff"), 2, "is not UTF-8 text"),
    ],
)
def test_bad_input_is_told_in_one_line(agentcom: Terminal, arguments: tuple[str, ...], code: int, told: str) -> None:
    said = agentcom(*arguments)
    assert said.code == code
    assert said.out == ""
    assert told in said.err
    assert said.err.startswith("agentcom: ")
    assert len(said.err.splitlines()) == 1


def test_a_backlog_without_an_end_is_not_read_to_its_end(agentcom: Terminal) -> None:
    said = agentcom("submit", "--from", "/dev/zero")
    assert said.code == 2
    assert said.err.splitlines() == [
        "agentcom: /dev/zero:1: a backlog may have at most 1,048,576 bytes: split it",
        "agentcom: nothing was submitted",
    ]


def test_no_text_and_no_pipe_asks_for_the_text(agentcom: Terminal) -> None:
    said = agentcom("submit", tty=True)
    assert said.code == 2
    assert "there is no text" in said.err


@pytest.mark.parametrize("stdin", [b"\xff\xfe", b"", b" \n"])
def test_stdin_that_is_no_text_is_refused(agentcom: Terminal, stdin: bytes) -> None:
    said = agentcom("submit", stdin=stdin)
    assert said.code == 2
    assert len(said.err.splitlines()) == 1


def test_an_id_that_can_mean_several_names_them(quiet: Terminal, agentcom: Terminal) -> None:
    ids = agentcom("submit", "--lines", "--json", stdin=b'{"text": "sleep a"}\n{"text": "sleep b"}').ids()
    said = agentcom("show", ids[0][:8])
    assert said.code == 2
    assert all(f"tk-{task[-6:]}" in said.err for task in ids)
    assert "can mean" in said.err
    assert agentcom("cancel", *ids).code == 0


def test_an_id_is_understood_however_it_is_written(agentcom: Terminal) -> None:
    task = agentcom("submit", "x", "--wait", "--json").ids()[0]
    for written in (task, task.upper(), task.replace("-", ""), f"tk-{task[-6:]}", f"TK-{task[-6:].upper()}", task[-8:]):
        assert agentcom("show", written, "--json").document["task"]["id"] == task


def test_garbage_in_the_journal_and_the_records_keeps_nobody_from_looking(quiet: Terminal) -> None:
    import redis

    prefix = f"ac:{{{quiet.environ['AGENTCOM_POOL']}}}:"
    with redis.Redis.from_url(quiet.environ["AGENTCOM_REDIS"]) as server:
        server.xadd(f"{prefix}journal", {"l": b"\xff not json"})
        server.xadd(f"{prefix}journal", {"other": b"field"})
        server.xadd(f"{prefix}dead", {"m": b"[]"})
        server.hset(f"{prefix}agents", "oak", b"{")
        server.zadd(f"{prefix}open", {"no-id": 1})
        server.set(f"{prefix}task:no-id", b"nonsense")
        server.set(f"{prefix}beat:oak", b"nonsense")
    for command in (("tasks", "--all"), ("agents",), ("journal",), ("dead",), ("monitor",), ("monitor", "--json")):
        said = quiet(*command)
        assert said.code == 0, said
        assert "Traceback" not in said.err


# ------------------------------------------------- options, signals and pipes


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        (["tasks", "--redis", "u"], ["--redis", "u", "tasks"]),
        (["tasks", "--pool=p", "--json"], ["--pool=p", "tasks", "--json"]),
        (["submit", "x", "--config", "c", "--data-dir", "d"], ["--config", "c", "--data-dir", "d", "submit", "x"]),
        (["--pool", "p", "tasks"], ["--pool", "p", "tasks"]),
        (["submit", "--", "--redis", "x"], ["submit", "--", "--redis", "x"]),
        (["tasks", "--redis"], ["--redis"]),
        (["submit", "--poolx"], ["submit", "--poolx"]),
        ([], []),
    ],
)
def test_global_options_are_understood_behind_the_command(typed: list[str], understood: list[str]) -> None:
    assert hoisted(typed) == understood


def test_what_others_wrote_can_neither_move_the_cursor_nor_be_markup(agentcom: Terminal) -> None:
    title = "[bold red]T[/] \x1b[2J\x1b]0;x\x07\u202eevil"
    task = agentcom("submit", "sleep [link=x]y[/link]\x1b[31m", "--title", title, "--json").ids()[0]
    for command in (("tasks",), ("show", task), ("monitor",), ("explain", task), ("journal",)):
        out = agentcom(*command).out
        assert not set("\x1b\x07\u202e") & set(out)
    assert "[bold red]T[/] evil" in agentcom("tasks").out
    assert "sleep [link=x]y[/link]" in agentcom("show", task).out
    assert "\\u202e" in agentcom("show", task, "--json").out
    assert agentcom("cancel", task, "--why", title).code == 0


@contextmanager
def started(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command as a process of its own, with pipes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agentcom", *arguments],
        env=os.environ | {"AGENTCOM_REDIS": url, "AGENTCOM_POOL": POOL},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """What it prints, up to the line that contains something."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or wanted not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], f"it ended without {wanted!r}: {lines}"
    return lines


@pytest.mark.process
def test_who_stops_waiting_is_told_that_the_work_goes_on(agentcom: Terminal, pool: str) -> None:
    with started(pool, "submit", "sleep on", "--agent", "oak", "--wait") as process:
        name = lines_until(process, "working on oak")[0].split()[0]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err == f"agentcom: {name} goes on. Look: agentcom show {name}; end it: agentcom cancel {name}\n"
    assert agentcom("show", name, "--json").document["task"]["state"] == "working"
    assert agentcom("cancel", name).code == 0


@pytest.mark.process
def test_following_the_journal_shows_what_is_written_and_ends_quietly(agentcom: Terminal, pool: str) -> None:
    with started(pool, "journal", "-f", "-n", "1") as process:
        lines_until(process, ":")
        name = agentcom("submit", "x", "--wait", "--json").document["tasks"][0]["short"]
        lines_until(process, f"{name}  submitted")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


@pytest.mark.process
def test_a_reader_that_has_enough_ends_the_output_quietly(pool: str) -> None:
    with started(pool, "config") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 1
