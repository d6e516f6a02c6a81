"""`agentcom agent try`: what is wrong with an agent of this machine, before it is given work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.harness import Terminal

pytestmark = [pytest.mark.process, pytest.mark.pitfall_7]

SETTINGS = f"""
[agents.elm]
command = ["sh", "-c", "echo hi"]

[agents.oak]
command = ["sh", "-c", "echo hi"]
self_test = ["sh", "-c", "echo the login has expired; exit 1"]
repo = "{{folder}}/nowhere.git"

[agents.ash]
adapter = "acp"
command = ["{sys.executable}", "-c", "print('this is no agent')"]

[agents.birch]
runner = "python"
handler = "os:getcwd"
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    (tmp_path / "agentcom.toml").write_text(SETTINGS.format(folder=tmp_path))
    return Terminal(tmp_path, {"XDG_STATE_HOME": str(tmp_path / "state")})


def test_an_agent_that_can_work_is_seen_to(terminal: Terminal) -> None:
    said = terminal("agent", "try", "elm")
    assert (said.code, said.err) == (0, "")
    assert all(line.startswith("✓ ") for line in said.out.splitlines())
    assert "✓ the agent's program" in said.out


def test_whatever_would_keep_it_from_work_is_named_one_line_each(terminal: Terminal) -> None:
    said = terminal("agent", "try", "oak")
    wrong = [line for line in said.out.splitlines() if line.startswith("✗ ")]
    assert said.code == 1
    assert ["nowhere.git cannot be reached" in wrong[0], "the login has expired" in wrong[1]] == [True, True]


def test_a_canary_tells_whether_its_model_is_reached(terminal: Terminal) -> None:
    assert "✓ its model: its adapter knows no turn" in terminal("agent", "try", "elm", "--canary").out
    assert "✓ its model: none: it is a Python function" in terminal("agent", "try", "birch", "--canary").out
    said = terminal("agent", "try", "ash", "--canary", "--limit", "30")
    assert said.code == 1
    assert "✗ its model: " in said.out


def test_an_agent_that_is_not_described_is_a_matter_of_configuration(terminal: Terminal) -> None:
    said = terminal("agent", "try", "nobody")
    assert (said.code, said.out) == (78, "")
    assert "It describes: ash, birch, elm, oak" in said.err


def test_nothing_of_it_stays_on_the_disk_or_in_the_way_of_a_sidecar(terminal: Terminal, tmp_path: Path) -> None:
    terminal("agent", "try", "elm", "--canary")
    assert not (tmp_path / "state").exists()
