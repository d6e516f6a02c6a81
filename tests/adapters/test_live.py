"""Real coding agents, where they are installed, against the stand-in for their model: do they still do as recorded?"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agentcom.adapters.base import Adapter, Over, Prompt
from agentcom.adapters.registry import BUILT_IN
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings
from tests.adapters.scenarios import PATIENCE_S, SCENARIOS, TEXT, Played, find_program, play, turn_in
from tests.standin import Model, Say

pytestmark = pytest.mark.process

PROGRAMS = ("claude", "codex", "opencode")


def program_of(name: str) -> str:
    """The program; where continuous integration runs, at least one is really there."""
    program = find_program(name)
    if program is None and name == "claude" and os.environ.get("CI") == "true":
        pytest.fail("claude is not installed: see .ci/run")
    if program is None:
        pytest.skip(f"{name} is not installed")
    return program


@pytest.fixture(scope="module")
def done() -> dict[str, Played]:
    """What each program made of the same task, once."""
    return {}


@pytest.fixture(params=PROGRAMS)
def played(request: pytest.FixtureRequest, done: dict[str, Played], tmp_path_factory: pytest.TempPathFactory) -> Played:
    name = request.param
    if name not in done:
        done[name] = play(name, program_of(name), SCENARIOS["ok"], tmp_path_factory.mktemp(name) / "place")
    return done[name]


def git(played: Played, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=played.workspace, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_it_does_its_task_and_commits_it(played: Played) -> None:
    assert played.turn.over is not None, played.output[-2_000:] + played.errors[-2_000:]
    assert played.turn.over.ok, played.turn.over
    assert played.code == 0
    assert git(played, "log", "-1", "--format=%s") == "Write a.txt"
    assert git(played, "show", "HEAD:a.txt") == "hello"
    assert git(played, "status", "--porcelain") == ""


def test_it_is_told_its_task_as_text_and_no_shell_reads_it(played: Played) -> None:
    assert TEXT in strings_in(played.requests[0].body)
    assert not (played.workspace / "pwned").exists()


def strings_in(value: object) -> str:
    """All texts of a request, one after another."""
    match value:
        case str():
            return value
        case dict():
            return "\n".join(map(strings_in, value.values()))
        case list():
            return "\n".join(map(strings_in, value))
    return ""


def test_it_keeps_to_the_protocol_of_its_model(played: Played) -> None:
    assert played.complaints == []
    assert len(played.requests) == 3


def test_its_session_tokens_and_words_are_known(played: Played) -> None:
    turn = played.turn
    assert turn.alive
    assert turn.session
    assert turn.summary == "Done."
    assert turn.added(Usage()).tokens == 3 * 1_540
    assert sum(turn.unknown.values()) <= 10, turn.unknown


@pytest.mark.parametrize("title", ["refused", "lost-session"])
def test_claude_says_why_it_could_not(title: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[title]
    played = play("claude", program_of("claude"), scenario, tmp_path / "place")
    assert played.turn.over is not None
    assert played.turn.over.reason == scenario.reason
    assert not played.turn.alive


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_tells_its_version_and_tests_itself_without_a_token(name: str, tmp_path: Path) -> None:
    adapter: Adapter = BUILT_IN[name]
    program = program_of(name)
    with Model() as model:
        settings = AgentSettings(adapter=name, command=(program,), arguments=tuple(model.arguments_for(name)))
        environ = {"PATH": os.environ["PATH"]} | model.environ_for(name, tmp_path / "home")
        told = ended(adapter.version(settings), environ, tmp_path)
        assert told.returncode == 0
        assert any(character.isdigit() for character in told.stdout)
        tested = ended(adapter.self_test(settings), environ, tmp_path)
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert model.requests == []


def test_claudes_self_test_fails_where_nobody_is_logged_in(tmp_path: Path) -> None:
    settings = AgentSettings(adapter="claude", command=(program_of("claude"),))
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert ended(BUILT_IN["claude"].self_test(settings), environ, tmp_path).returncode != 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_its_canary_reaches_the_model(name: str, tmp_path: Path) -> None:
    adapter: Adapter = BUILT_IN[name]
    program = program_of(name)
    with Model() as model:
        model.script([Say("OK")])
        arguments = tuple(model.arguments_for(name))
        settings = AgentSettings(adapter=name, command=(program,), model=model.model_for(name), arguments=arguments)
        launch = adapter.canary(settings)
        environ = {"PATH": os.environ["PATH"]} | dict(launch.env) | model.environ_for(name, tmp_path / "home")
        made = ended(launch.argv, environ, tmp_path)
        assert made.returncode == 0, made.stdout + made.stderr
        assert "OK" in made.stdout
        assert len(model.requests) == 1


def ended(
    argv: tuple[str, ...], environ: dict[str, str], folder: Path, told: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=folder,
        env=environ,
        input=told,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_an_agent_is_driven_by_its_protocol(tmp_path: Path) -> None:
    program, adapter = program_of("opencode"), BUILT_IN["acp"]
    with Model() as model:
        model.script([Say("Done.")])
        settings = AgentSettings(adapter="acp", command=(program, "acp"), model=model.model_for("opencode"))
        launch = adapter.argv(Prompt(text=TEXT, workspace=str(tmp_path), agent="oak"), settings)
        environ = {"PATH": os.environ["PATH"]} | model.environ_for("opencode", tmp_path / "home")
        made = ended(launch.argv, environ, tmp_path, TEXT)
        turn = turn_in(adapter, made.returncode, made.stdout.encode(), made.stderr)
        assert turn.over == Over(ok=True, summary="Done.")
        assert TEXT in strings_in(model.requests[0].body)
        assert (turn.model, turn.context_size) == (settings.model, 100_000)
        assert turn.session
