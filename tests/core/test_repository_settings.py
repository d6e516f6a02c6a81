"""The checks that a repository names in a file of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.settings.repository import checks_in, command_problem


def test_the_repository_names_its_checks_beside_whatever_else_its_file_has() -> None:
    assert checks_in(b'[checks]\ncommands = ["make test", "ruff check ."]\n[agents.oak]\nslots = 2') == (
        "make test",
        "ruff check .",
    )
    assert checks_in(b"[policy]\nbeat_s = 3") == ()


@pytest.mark.parametrize(
    "text",
    [
        b"[checks",
        b"[checks]\ncommands = 3",
        b'[checks]\ncommands = ["a \'b"]',
        b'[checks]\ncommands = [""]',
        b"[checks]\ncommands = [\"'' --flag\"]",
        b"\xff",
    ],
)
def test_checks_that_cannot_be_read_are_said_in_one_line_and_never_skipped(text: bytes) -> None:
    problem = checks_in(text)
    assert isinstance(problem, str)
    assert problem.startswith("agentcom.toml of the repository: ")
    assert "\n" not in problem


def test_a_line_that_cannot_be_split_is_named() -> None:
    assert command_problem("make test") == ""
    assert "every quote closed, not 'sh -c 'x'" in command_problem("sh -c 'x")
    assert "expected a program" in command_problem("  ")


@given(st.binary())
def test_whatever_the_file_holds_the_answer_is_commands_or_one_line(text: bytes) -> None:
    found = checks_in(text)
    assert isinstance(found, tuple) or (isinstance(found, str) and "\n" not in found)
