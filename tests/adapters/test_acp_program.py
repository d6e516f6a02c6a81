"""The program around agents of the Agent Client Protocol, with an agent that speaks it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentcom.adapters import acp_program
from agentcom.adapters.acp import PROGRAM, Acp
from agentcom.adapters.base import Did, Event, Over, Prompt, Said, Session, Trouble, Turn
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

pytestmark = pytest.mark.process

AGENT = Path(__file__).with_name("acp_agent.py")
ADAPTER = Acp()
PATIENCE_S = 120.0

Result = tuple[int, list[Event], Turn, str]
Run = Callable[..., Result]


def settings_for(how: str, *arguments: str, model: str = "") -> AgentSettings:
    command = (sys.executable, "-I", "-S", str(AGENT), how)
    return AgentSettings(adapter="acp", command=command, arguments=arguments, model=model)


def events_in(output: bytes) -> list[Event]:
    return [event for line in output.splitlines() for event in ADAPTER.parse(line)]


@pytest.fixture
def run(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs the program in this process, as to start another takes longer than all else."""

    def run_in_here(
        how: str, *arguments: str, session: str = "", model: str = "", command: tuple[str, ...] = ()
    ) -> Result:
        settings = settings_for(how, *arguments, model=model)
        if command:
            settings = AgentSettings(adapter="acp", command=command)
        launch = ADAPTER.argv(Prompt(text="", workspace=str(tmp_path), agent="oak", session=session), settings)
        code = acp_program.main(["--text", "do it", *launch.argv[len(PROGRAM) :]])
        output, errors = capfdbinary.readouterr()
        turn = Turn()
        for event in events_in(output):
            turn.take(event)
        return code, events_in(output), turn, errors.decode()

    return run_in_here


def test_a_turn_is_told_event_by_event(run: Run) -> None:
    code, events, turn, _ = run("well")
    assert code == 0
    assert turn.alive
    assert turn.session == "s-1"
    assert turn.version == "Fake 1.2"
    assert turn.over == Over(ok=True, summary="I was told: do it")
    assert turn.usage == Usage(input_tokens=40, output_tokens=20, cache_read_tokens=7)
    assert turn.session_cost_usd == 0.25
    assert (turn.context_used, turn.context_size) == (900, 1_000)
    assert Said("I was told: do it") in events, "one message, though it came in pieces"
    assert events.count(Did("write a file")) == 1, "said once, though it is told again and again"
    assert list(turn.unknown) == ["AvailableCommandsUpdate"]


def test_the_session_is_told_before_anything_that_the_agent_does(run: Run) -> None:
    _, events, _, _ = run("dies")
    kinds = [type(event).__name__ for event in events]
    assert kinds.index("Session") < kinds.index("Alive")


def test_a_session_that_is_loaded_does_not_tell_its_past_again(run: Run) -> None:
    _, events, turn, _ = run("well", session="s-0")
    assert Session("s-0") in events
    assert Said("the old answer") not in events
    assert turn.over is not None
    assert turn.over.ok


@pytest.mark.parametrize(("how", "session"), [("no-load", "s-0"), ("well", "gone")])
def test_a_session_that_cannot_be_loaded_is_lost(run: Run, how: str, session: str) -> None:
    code, _, turn, _ = run(how, session=session)
    assert code == 1
    assert turn.over is not None
    assert turn.over.reason == "session_lost"
    assert not turn.alive


def test_a_model_is_chosen_where_the_agent_lets_one_be(run: Run) -> None:
    assert run("well", model="small")[2].model == "small"
    over = run("no-model", model="small")[2].over
    assert over is not None
    assert over.reason == "misconfigured"


@pytest.mark.parametrize("how", ["asks", "asks-and-heeds"])
def test_a_permission_is_a_question_to_a_person(run: Run, how: str) -> None:
    _, _, turn, _ = run(how)
    assert turn.question == "May it do this: rm -rf /?"
    assert turn.over is not None
    assert (turn.over.ok, turn.over.reason) == (False, "input_required")


@pytest.mark.parametrize(("policy", "answer", "denied"), [("allow", "yes", []), ("deny", "no", ["rm -rf /"])])
def test_or_it_is_answered_by_policy(run: Run, policy: str, answer: str, denied: list[str]) -> None:
    _, _, turn, _ = run("asks", "--permissions", policy)
    assert turn.over == Over(ok=True, summary=f"answer: {answer}")
    assert turn.denied == denied


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("max_tokens", "context_exhausted"),
        ("max_turn_requests", "context_exhausted"),
        ("refusal", "agent_failed"),
        ("dies", "agent_failed"),
        ("login", "auth_failed"),
        ("fails", "rate_limited"),
        ("other-version", "misconfigured"),
        ("nonsense", "agent_failed"),
    ],
)
def test_every_other_end_has_its_reason(run: Run, how: str, reason: str) -> None:
    code, _, turn, errors = run(how)
    assert code == 1
    assert turn.over is not None
    assert (turn.over.ok, turn.over.reason) == (False, reason)
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith(f"{reason}: ")


@pytest.mark.parametrize("how", ["garbage", "noisy"])
def test_what_is_no_message_holds_nothing_up(run: Run, how: str) -> None:
    code, _, turn, _ = run(how)
    assert code == 0
    assert turn.over is not None
    assert turn.over.ok


@pytest.mark.parametrize("command", [("no-such-agent-at-all",), ("/",)])
def test_an_agent_that_cannot_be_started_is_set_up_wrongly(run: Run, command: tuple[str, ...]) -> None:
    code, events, _, errors = run("", command=command)
    assert (code, events) == (78, [])
    assert errors.startswith("the agent cannot be started: ")
    assert errors.count("\n") == 1
    assert ADAPTER.exited(code, errors).reason == "misconfigured"


@pytest.mark.parametrize(("how", "code"), [("dies", 0), ("other-version", 1)])
def test_its_self_test_greets_the_agent_and_no_more(how: str, code: int) -> None:
    argv = ADAPTER.self_test(settings_for(how))
    assert acp_program.main(argv[len(PROGRAM) :]) == code


def test_its_canary_makes_a_turn_without_stdin(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    launch = ADAPTER.canary(settings_for("well"))
    assert not launch.stdin
    assert acp_program.main(launch.argv[len(PROGRAM) :]) == 0
    assert Over(ok=True, summary="I was told: Reply with the one word OK. Use no tools.") in events_in(
        capfdbinary.readouterr().out
    )


@pytest.mark.parametrize(("how", "detail"), [("heeds", "its turn was canceled"), ("hangs", "did not heed that")])
def test_sigterm_cancels_the_turn_and_then_ends_the_agent(tmp_path: Path, how: str, detail: str) -> None:
    launch = ADAPTER.argv(Prompt(text="", workspace=str(tmp_path), agent="oak"), settings_for(how))
    # A repository may hold modules of any name; none of them is imported.
    for name in ("agentcom", "acp", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')")
    pipe = subprocess.PIPE
    with subprocess.Popen(launch.argv, cwd=tmp_path, stdin=pipe, stdout=pipe, start_new_session=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(b"do it")
        program.stdin.close()
        program.stdin = None
        seen = b""
        while b"write a file" not in seen:
            line = program.stdout.readline()
            assert line, "it ended too early"
            seen += line
        os.killpg(program.pid, signal.SIGTERM)
        rest, _ = program.communicate(timeout=PATIENCE_S)
    over = events_in(rest)[-1]
    assert isinstance(over, Over)
    assert detail in over.detail
    until = time.monotonic() + PATIENCE_S
    while _has_members(program.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _has_members(program.pid)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    launch = ADAPTER.argv(Prompt(text="", workspace=str(tmp_path), agent="oak"), settings_for("well"))
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(launch.argv, cwd=tmp_path, check=False, input=b"x", stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert ended.stderr == b"what the agent says cannot be written: [Errno 28] No space left on device\n"


def test_without_its_package_it_says_what_to_install(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['acp'] = None; import runpy; runpy.run_module('agentcom.adapters.acp_program')"
    argv = [sys.executable, "-P", "-c", blocked]
    ended = subprocess.run(argv, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ended.returncode == 78
    assert ended.stderr == "this agent needs the package agent-client-protocol: pip install 'agentcom[acp]'\n"
    assert ADAPTER.exited(78, ended.stderr).reason == "misconfigured"


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        acp_program.main(["--permissions", "maybe", "--", "x"])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert "invalid choice: 'maybe'" in errors
    assert ADAPTER.exited(2, errors).reason == "misconfigured"


def test_what_its_agent_retries_is_no_end() -> None:
    assert ADAPTER.parse(b'{"event": "Trouble", "reason": "rate_limited"}') == (Trouble("rate_limited"),)
