"""What real programs are put through, to record what they print, and to see whether they still do.

Each is run as the sidecar would run it, against the stand-in for its model, in a repository of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentcom.adapters.base import Adapter, Prompt, Turn
from agentcom.adapters.registry import BUILT_IN
from agentcom.git.inspecting import WRITTEN_BY_COMMITS
from agentcom.settings import AgentSettings
from tests.standin import Call, Fail, Garbage, Hang, Model, Run, Say, Step, Write, limited, overflow, refused
from tests.standin.model import Request

PATIENCE_S = 240.0
TEXT = 'Write a.txt. Not a command: "; touch pwned #" $(touch pwned)'
NEW_SESSION = "11111111-1111-4111-8111-111111111111"
NO_SESSION = {"opencode": "ses_0000000000000000000000000"}
BUILT = Path(__file__).parents[2] / "build" / "agents" / "node_modules" / ".bin"
FIRST: Sequence[Step] = (Say("First."),)


@dataclass(frozen=True)
class Scenario:
    """One situation.

    Attributes:
        steps: of the model.
        code: the exit code that is expected; None where versions differ.
        reason: why the turn ended, by its adapter; empty: well.
        alive: the agent itself showed life.
        programs: which can come into it.
        arguments, without: what is added to the settings' arguments, and variables that are left out.
        usd_left: as of the prompt.
        files: what else is in the workspace, by name.
        session: "resumed": that of a turn before; "lost": one that never was.
        stop: it is asked to end as soon as the model has its request.
    """

    steps: Sequence[Step]
    code: int | None = 1
    reason: str = ""
    alive: bool = False
    programs: tuple[str, ...] = ("claude", "codex", "opencode")
    arguments: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    usd_left: float = 0.0
    files: Mapping[str, str] = field(default_factory=dict)
    session: str = ""
    stop: bool = False


COMMITS = (Write("a.txt", "hello\n"), Run("git add -A && git commit -qm 'Write a.txt'"), Say("Done."))

SCENARIOS: Mapping[str, Scenario] = {
    "ok": Scenario(COMMITS, code=0, alive=True),
    "refused": Scenario((refused(),), reason="auth_failed"),
    "limited": Scenario((limited(7_200),), reason="rate_limited", programs=("claude", "codex")),
    "limited-until": Scenario(
        (limited(7_200, resets_at_s=1_900_000_000),),
        reason="rate_limited",
        programs=("claude",),
        without=("ANTHROPIC_API_KEY",),
    ),
    "logged-out": Scenario(
        (Say("x"),), reason="auth_failed", programs=("claude", "codex"), without=("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
    ),
    "overflow": Scenario((overflow(),), reason="context_exhausted", programs=("claude", "codex")),
    "overloaded": Scenario(
        (Fail(529, "overloaded_error", "Overloaded"),), reason="retry_later", programs=("claude", "codex")
    ),
    "no-credit": Scenario(
        (
            Fail(
                429,
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            ),
        ),
        reason="misconfigured",
        programs=("codex",),
    ),
    "garbage": Scenario((Garbage(),), reason="agent_failed", programs=("claude",)),
    "cut-off": Scenario((Garbage(),), reason="retry_later", programs=("codex",)),
    "budget": Scenario(
        (Call("Write", {"file_path": "a.txt", "content": "x"}), Say("Done.")),
        reason="budget_exceeded",
        alive=True,
        programs=("claude",),
        usd_left=0.001,
    ),
    "denied": Scenario(
        (Run("curl http://127.0.0.1:9/"), Say("I was not allowed.")), code=0, alive=True, programs=("claude",)
    ),
    "denied-and-gone": Scenario(
        (Run("curl http://127.0.0.1:9/"), Say("x")),
        code=0,
        reason="permission_denied",
        alive=True,
        programs=("opencode",),
        files={"opencode.json": '{"permission": {"bash": "ask"}}'},
    ),
    "summed-up": Scenario((overflow(), Say("Done.")), code=1, alive=True, programs=("opencode",)),
    "limited-briefly": Scenario((limited(1),), reason="rate_limited", programs=("opencode",)),
    "turns": Scenario(
        (Call("Read", {"file_path": "a.txt"}),),
        reason="context_exhausted",
        alive=True,
        programs=("claude",),
        arguments=("--max-turns", "2"),
    ),
    "bad-flag": Scenario((Say("x"),), code=None, reason="misconfigured", arguments=("--no-such-flag",)),
    "stopped": Scenario((Hang(),), code=None, reason="exit_code", stop=True),
    "resumed": Scenario((Say("Second."),), code=0, alive=True, session="resumed"),
    "lost-session": Scenario((Say("x"),), reason="session_lost", session="lost"),
}


@dataclass(frozen=True)
class Played:
    """What came of it: how the program ended, what it printed, what the model got, and the repository."""

    code: int
    output: bytes
    errors: bytes
    requests: list[Request]
    complaints: list[str]
    workspace: Path
    home: Path
    url: str
    turn: Turn = field(default_factory=Turn)


def find_program(name: str) -> str | None:
    """Where a program is: where `.ci/run` installs it, or on PATH."""
    return shutil.which(name, path=f"{BUILT}{os.pathsep}{os.environ.get('PATH', '')}")


def play(name: str, program: str, scenario: Scenario, folder: Path) -> Played:
    """Put a program through a scenario."""
    home, workspace = folder / "home", _worktree(folder)
    for file, content in scenario.files.items():
        (workspace / file).write_text(content)
    session = {"": "", "lost": NO_SESSION.get(name, "22222222-2222-4222-8222-222222222222")}.get(scenario.session)
    with Model() as model:
        if session is None:
            model.script(FIRST)
            first = _turn_of(name, program, Scenario(FIRST), model, home, workspace, "")
            session = first.turn.session
            model.requests.clear()
        model.script(scenario.steps)
        return _turn_of(name, program, scenario, model, home, workspace, session)


def turn_in(adapter: Adapter, code: int, output: bytes, errors: str) -> Turn:
    """What the output of a program adds up to, with its end."""
    turn = Turn()
    for line in output.splitlines():
        for event in adapter.parse(line):
            turn.take(event)
    turn.over = turn.ended(adapter.exited(code, errors))
    return turn


def _turn_of(
    name: str, program: str, scenario: Scenario, model: Model, home: Path, workspace: Path, session: str
) -> Played:
    adapter = BUILT_IN[name]
    environ = model.environ_for(name, home)
    if "ANTHROPIC_API_KEY" in scenario.without and scenario.reason == "rate_limited":
        environ["CLAUDE_CODE_OAUTH_TOKEN"] = environ["ANTHROPIC_API_KEY"]
    environ = {key: value for key, value in environ.items() if key not in scenario.without}
    arguments = (*model.arguments_for(name), *scenario.arguments)
    settings = AgentSettings(adapter=name, command=(program,), model=model.model_for(name), arguments=arguments)
    prompt = Prompt(
        text=TEXT,
        workspace=str(workspace),
        agent="oak",
        session=session,
        new_session=NEW_SESSION,
        usd_left=scenario.usd_left,
        writable=tuple(str(workspace.parent / "clone.git" / part) for part in ("worktrees/work", *WRITTEN_BY_COMMITS)),
    )
    launch = adapter.argv(prompt, settings)
    code, output, errors = _run(launch.argv, workspace, _base_environ() | dict(launch.env) | environ, scenario, model)
    turn = turn_in(adapter, code, output, errors.decode("utf-8", "replace"))
    return Played(code, output, errors, list(model.requests), list(model.complaints), workspace, home, model.url, turn)


def _run(
    argv: Sequence[str], workspace: Path, environ: Mapping[str, str], scenario: Scenario, model: Model
) -> tuple[int, bytes, bytes]:
    pipe = subprocess.PIPE
    program = subprocess.Popen(
        argv, cwd=workspace, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        if scenario.stop:
            assert program.stdin is not None
            program.stdin.write(TEXT.encode())
            program.stdin.close()
            program.stdin = None
            _wait_for(lambda: bool(model.requests) or program.poll() is not None)
            os.killpg(program.pid, signal.SIGTERM)
        output, errors = program.communicate(None if scenario.stop else TEXT.encode(), timeout=PATIENCE_S)
    finally:
        # A program may leave helpers behind, which nobody else ends here.
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    return program.returncode, output, errors


def _wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def _worktree(folder: Path) -> Path:
    """A worktree of a bare clone, as the sidecar makes one."""
    source, clone = folder / "source", folder / "clone.git"
    source.mkdir(parents=True)
    _git(source, "init", "--quiet", "--initial-branch=main")
    _git(source, "commit", "--quiet", "--allow-empty", "--message=First")
    _git(folder, "clone", "--quiet", "--bare", str(source), str(clone))
    (clone / "logs").mkdir()
    _git(clone, "worktree", "add", "--quiet", "-b", "oak/task", str(folder / "work"), "main")
    return folder / "work"


def _git(workspace: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=workspace, env=_base_environ(), check=True, capture_output=True)


def _base_environ() -> dict[str, str]:
    author = {f"GIT_{who}_{what}": "oak@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "GIT_CONFIG_GLOBAL": os.devnull} | author
