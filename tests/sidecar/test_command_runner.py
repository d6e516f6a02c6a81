"""Agents that are commands, with real processes: what they get, what is heard of them, how they end."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentcom.model.task import Outcome, TaskSpec, Usage
from agentcom.processes import ProcessIdentity, identify, is_running
from agentcom.settings import AgentSettings
from agentcom.sidecar.runners.base import VALUE_MAX_BYTES, Job
from agentcom.sidecar.runners.command import BEHIND_MAX_BYTES, CommandRunner

pytestmark = pytest.mark.process

ID = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
TOKEN = "1.0123456789abcdef"


class Heard:
    """What a runner told of one attempt, and when."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.output = b""
        self.process: ProcessIdentity | None = None
        self.alive_s = 0.0

    def alive(self) -> None:
        if "alive" not in self.events:
            self.alive_s = time.monotonic()
            self.events.append("alive")

    def spawned(self, process: ProcessIdentity) -> None:
        self.process = process
        self.events.append("spawned")

    def printed(self, body: bytes) -> None:
        self.output += body


class Bench:
    """Runs commands as a sidecar would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.heard = Heard()

    @property
    def workspace(self) -> Path:
        return self.folder / "workspaces" / ID

    def runner(self, *command: str, grace_s: float = 5.0, **settings: Any) -> CommandRunner:
        described = AgentSettings(command=command, **settings)
        return CommandRunner("oak", described, self.folder, self.environ, grace_s)

    def job(self, text: str = "do it", token: str = TOKEN) -> Job:
        heard = self.heard
        spec = TaskSpec(id=ID, text=text, title="A title", context=("a.py",))
        return Job("1-0", spec, 2, token, heard.alive, heard.spawned, heard.printed)

    async def run(self, *command: str, text: str = "do it", **settings: Any) -> Outcome:
        with anyio.fail_after(20):
            return await self.runner(*command, **settings).run(self.job(text))

    async def sh(self, script: str, **settings: Any) -> Outcome:
        return await self.run("sh", "-c", script, **settings)

    async def python(self, script: str, *arguments: str, **settings: Any) -> Outcome:
        return await self.run(sys.executable, "-c", textwrap.dedent(script), *arguments, **settings)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def gone(pid: int, within_s: float = 3.0) -> bool:
    deadline = time.monotonic() + within_s
    while identify(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    return identify(pid) is None


def is_written(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("\n")


async def written(path: Path) -> None:
    with anyio.fail_after(10):
        while not is_written(path):
            await anyio.sleep(0.01)


# ------------------------------------------------------------------ what it gets


@pytest.mark.parametrize("text", ['"; touch pwned #', "$(touch pwned)", "`touch pwned`", "'\n; touch pwned\n"])
async def test_the_text_of_a_task_is_never_looked_at_by_a_shell(bench: Bench, text: str):
    script = "import sys; sys.stdout.write(sys.stdin.read())"
    outcome = await bench.python(script, "{task_id}", text, "{workspace}", text=text)
    assert outcome.result == "completed"
    assert bench.heard.output.decode() == text
    assert not (bench.workspace / "pwned").exists()


async def test_stdin_is_the_text_and_then_ends(bench: Bench):
    outcome = await bench.python("import sys; print(len(sys.stdin.buffer.read()))", text="ä" * 100_000)
    assert (outcome.result, bench.heard.output) == ("completed", b"200000\n")


async def test_it_runs_in_the_tasks_workspace_which_a_later_attempt_finds_again(bench: Bench):
    await bench.sh("pwd; echo 1 > left")
    assert bench.heard.output.decode().strip() == str(bench.workspace)
    outcome = await bench.runner("cat", "left").run(bench.job(token="2.fedcba9876543210"))
    assert outcome.result == "completed"
    assert bench.heard.output.endswith(b"1\n")


async def test_a_workspace_may_be_given(bench: Bench, tmp_path: Path):
    await bench.sh("pwd", workspace=str(tmp_path / "mine"))
    assert bench.heard.output.decode().strip() == str(tmp_path / "mine")


async def test_a_relative_folder_is_told_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    bench = Bench(Path("here"))
    bench.environ["HOME"] = "/"
    outcome = await bench.sh("cat {task_file} $AGENTCOM_TASK_FILE > /dev/null && echo '{}' > {result_file} && pwd")
    assert outcome.result == "completed", outcome
    assert bench.heard.output.decode().strip() == str(tmp_path / "here" / "workspaces" / ID)


async def test_the_task_file_says_what_is_to_be_done(bench: Bench):
    await bench.sh("cat {task_file}")
    assert json.loads(bench.heard.output) == {
        "id": ID,
        "title": "A title",
        "text": "do it",
        "context": ["a.py"],
        "attempt": 2,
    }


async def test_the_environment_holds_what_was_named_and_nothing_else(bench: Bench):
    bench.environ |= {"AGENTCOM_REDIS": "redis://:secret@host", "OTHER_SECRET": "x", "LANG": "C.UTF-8"}
    await bench.run("env", env={"MODE": "fast", "AGENTCOM_TASK_ID": "forged"}, env_pass=("PATH", "LANG", "ABSENT"))
    found = dict(line.split("=", 1) for line in bench.heard.output.decode().splitlines())
    attempt = bench.folder / "attempts" / f"{ID}.{TOKEN}"
    assert found == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "MODE": "fast",
        "AGENTCOM_TASK_FILE": str(attempt / "task.json"),
        "AGENTCOM_RESULT_FILE": str(attempt / "result.json"),
        "AGENTCOM_TASK_ID": ID,
        "AGENTCOM_AGENT": "oak",
        "AGENTCOM_ATTEMPT": "2",
    }


@pytest.mark.pitfall_1
async def test_two_attempts_of_one_generation_share_no_files(bench: Bench):
    """After a fail-over of Redis the numbers may go back; only the nonce tells such attempts apart."""
    for token in ("1.aaaaaaaaaaaaaaaa", "1.bbbbbbbbbbbbbbbb"):
        await bench.runner("sh", "-c", "echo $AGENTCOM_TASK_FILE").run(bench.job(token=token))
    first, second = bench.heard.output.decode().split()
    assert first != second


# --------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("script", "reason", "exit_code"),
    [
        ("exit 1", "exit_code", 1),
        ("exit 75", "retry_later", 75),
        ("exit 78", "misconfigured", 78),
        ("exit 255", "exit_code", 255),
        ("kill -9 $$", "exit_code", -9),
        ("kill -TERM $$", "exit_code", -15),
    ],
)
async def test_the_exit_code_says_how_it_ended(bench: Bench, script: str, reason: str, exit_code: int):
    outcome = await bench.sh(f"echo one; echo; echo last words >&2; {script}")
    assert (outcome.result, outcome.reason, outcome.exit_code) == ("failed", reason, exit_code)
    named = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    assert outcome.detail == f"{named}: one /  / last words"


async def test_exit_0_without_a_result_file_is_done(bench: Bench):
    assert await bench.run("true") == Outcome("completed", exit_code=0)


async def test_the_last_words_are_bounded_and_may_be_anything(bench: Bench):
    outcome = await bench.python(r"import sys; sys.stdout.buffer.write(b'\xff\x00' * 100_000); sys.exit(1)")
    assert outcome.detail.startswith("exit code 1: �")
    assert len(outcome.detail) < 1_000


async def test_a_result_file_says_what_was_done(bench: Bench):
    told = {
        "summary": "s" * 5_000,
        "changed": ["a.py"],
        "usage": {"input_tokens": 3, "cost_usd": 0.5},
        "commit": "abc",
        "checks": [1, 2],
    }
    (bench.folder / "told.json").write_text(json.dumps(told))
    outcome = await bench.sh(f"cp {bench.folder}/told.json {{result_file}}")
    assert (outcome.result, outcome.changed, outcome.exit_code) == ("completed", ("a.py",), 0)
    assert len(outcome.summary) == 4_000
    assert outcome.usage == Usage(input_tokens=3, cost_usd=0.5)
    assert outcome.value == {"commit": "abc", "checks": [1, 2]}


@pytest.mark.parametrize(
    "make",
    [
        "echo nonsense > {result_file}",
        ": > {result_file}",
        "echo '[1]' > {result_file}",
        """echo '{"summary": 5}' > {result_file}""",
        """echo '{"usage": {"input_tokens": "many"}}' > {result_file}""",
        r"printf '\377\376' > {result_file}",
        f"head -c {VALUE_MAX_BYTES + 1} /dev/zero > {{result_file}}",
        "mkfifo {result_file}",
        "ln -s /dev/zero {result_file}",
        "mkdir {result_file}",
    ],
)
async def test_a_result_file_that_cannot_be_used_fails_the_attempt(bench: Bench, make: str):
    outcome = await bench.sh(make)
    assert (outcome.result, outcome.reason) == ("failed", "bad_result")
    assert outcome.detail.startswith("its result file is refused: ")
    assert len(outcome.detail) <= 2_000


async def test_a_deeply_nested_result_is_refused_here_since_the_scheduler_would_refuse_the_report(bench: Bench):
    (bench.folder / "told.json").write_text('{"x":' + "[" * 200 + "]" * 200 + "}")
    outcome = await bench.sh(f"cp {bench.folder}/told.json {{result_file}}")
    assert (outcome.result, outcome.reason) == ("failed", "bad_result")


async def test_an_output_file_that_was_replaced_by_a_pipe_blocks_nothing(bench: Bench):
    script = 'd=$(dirname {task_file}); rm "$d/output.log"; mkfifo "$d/output.log"; exit 1'
    outcome = await bench.sh(script)
    assert outcome.detail == "exit code 1: it printed nothing that can be read"


@pytest.mark.pitfall_7
@pytest.mark.parametrize("command", [("no-such-program-anywhere",), ("/",), ("./absent",)])
async def test_a_command_that_cannot_be_started_is_a_failed_wake(bench: Bench, command: tuple[str, ...]):
    outcome = await bench.run(*command)
    assert (outcome.result, outcome.reason) == ("failed", "wake_failed")
    assert command[0] in outcome.detail
    assert bench.heard.events == []


@pytest.mark.pitfall_7
async def test_a_nul_in_the_settings_is_a_failed_wake(bench: Bench):
    outcome = await bench.run("true", env={"A": "b\0c"})
    assert (outcome.result, outcome.reason) == ("failed", "wake_failed")


@pytest.mark.pitfall_3
@pytest.mark.parametrize("blocked", ["attempts", "workspaces"])
async def test_a_folder_that_cannot_be_made_is_a_failed_wake(bench: Bench, blocked: str):
    (bench.folder / blocked).write_text("in the way")
    outcome = await bench.run("true")
    assert (outcome.result, outcome.reason) == ("failed", "wake_failed")
    assert blocked in outcome.detail


# -------------------------------------------------------------- signs of life


@pytest.mark.pitfall_7
async def test_that_it_was_spawned_is_no_sign_of_life(bench: Bench):
    started = time.monotonic()
    await bench.sh("sleep 0.4; echo here; sleep 0.3")
    assert bench.heard.events == ["spawned", "alive"]
    assert 0.4 <= bench.heard.alive_s - started < 0.7


@pytest.mark.pitfall_7
async def test_the_end_of_a_silent_command_is_its_first_sign_of_life(bench: Bench):
    started = time.monotonic()
    await bench.sh("sleep 0.3")
    assert bench.heard.events == ["spawned", "alive"]
    assert bench.heard.alive_s - started >= 0.3


async def test_output_is_passed_on_while_it_runs(bench: Bench):
    async with anyio.create_task_group() as group:
        group.start_soon(bench.sh, "echo first; sleep 5")
        with anyio.fail_after(3):
            while bench.heard.output != b"first\n":
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


async def test_what_is_no_text_is_passed_on_as_it_is(bench: Bench):
    await bench.python(r"import sys; sys.stdout.buffer.write(bytes(range(256)) + b'\xe2\x82')")
    assert bench.heard.output == bytes(range(256)) + b"\xe2\x82"


async def test_much_output_does_not_starve_the_loop(bench: Bench):
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await anyio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        received = 0

        def count(body: bytes) -> None:
            nonlocal received
            received += len(body)

        bench.heard.printed = count  # type: ignore[method-assign]
        outcome = await bench.sh("head -c 20000000 /dev/zero; head -c 400 /dev/zero | tr '\\0' x; exit 1")
        group.cancel_scope.cancel()
    assert BEHIND_MAX_BYTES <= received <= 20_000_400
    assert outcome.detail == "exit code 1: " + "x" * 400
    assert longest < 0.5


async def test_of_output_that_is_printed_faster_than_it_can_be_passed_on_the_end_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agentcom.sidecar.runners.command.BEHIND_MAX_BYTES", 100_000)
    await bench.sh("head -c 9000000 /dev/zero; echo the end")
    assert bench.heard.output.endswith(b"\0the end\n")
    assert len(bench.heard.output) < 9_000_000


# ---------------------------------------------------------------- ending a tree

IGNORING = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"

DAEMON = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            with open(sys.argv[1], "w") as file:
                print(os.getpid(), file=file)
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            time.sleep(60)
        os._exit(0)
    os.wait()
    if sys.argv[2] == "stay":
        time.sleep(60)
"""


async def canceled(bench: Bench, runner: CommandRunner, ready: Callable[[], Any]) -> float:
    """Cancel a command when it is ready; how long its ending took."""
    async with anyio.create_task_group() as group:
        group.start_soon(runner.run, bench.job())
        await ready()
        started = time.monotonic()
        group.cancel_scope.cancel()
    return time.monotonic() - started


@pytest.mark.parametrize("kind", ["child", "grandchild", "background", "clean environment"])
async def test_to_cancel_a_command_ends_all_that_it_started(bench: Bench, kind: str):
    pids = bench.folder / "pids"
    script = {
        "child": f"echo $$ > {pids}; exec sleep 60",
        "grandchild": f"sh -c 'echo $$ > {pids}; sleep 60; true'; true",
        "background": f"sleep 60 & echo $! > {pids}; wait",
        "clean environment": f"env -i sleep 60 & echo $! > {pids}; wait",
    }[kind]
    took = await canceled(bench, bench.runner("sh", "-c", script), lambda: written(pids))
    assert gone(int(pids.read_text()), 0)
    assert bench.heard.process is not None
    assert not is_running(bench.heard.process)
    assert took < 2


async def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench):
    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    took = await canceled(bench, bench.runner(sys.executable, "-c", IGNORING, grace_s=0.4), ready)
    assert bench.heard.process is not None
    assert not is_running(bench.heard.process)
    assert 0.4 <= took < 2


async def test_a_child_that_ignores_sigterm_is_killed_though_its_parent_went(bench: Bench):
    script = f'"{sys.executable}" -c "{IGNORING}" & echo $! > {bench.folder}/pid; wait'

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    await canceled(bench, bench.runner("sh", "-c", script, grace_s=0.3), ready)
    assert gone(int((bench.folder / "pid").read_text()), 0)


async def test_sigterm_lets_it_clean_up(bench: Bench):
    script = f"trap 'echo cleaned > {bench.folder}/cleaned; exit 0' TERM; echo on; while :; do sleep 0.05; done"

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    await canceled(bench, bench.runner("sh", "-c", script), ready)
    assert (bench.folder / "cleaned").read_text() == "cleaned\n"


async def test_each_process_is_asked_to_end_once(bench: Bench):
    """A second SIGTERM means "at once" to many programs."""
    script = """
        import signal, sys, time
        count = 0
        def heard(*_):
            global count
            count += 1
        signal.signal(signal.SIGTERM, heard)
        print("on", flush=True)
        while not count:
            time.sleep(0.01)
        time.sleep(0.2)
        with open(sys.argv[1], "w") as file:
            print(count, file=file)
    """
    path = bench.folder / "count"

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    await canceled(bench, bench.runner(sys.executable, "-c", textwrap.dedent(script), str(path)), ready)
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("parent", ["stay", "leave"])
async def test_a_daemon_that_left_its_session_is_ended_too(bench: Bench, parent: str):
    """Also when the command itself ended well: nothing of an attempt outlives it."""
    pids = bench.folder / "pids"
    runner = bench.runner(sys.executable, "-c", textwrap.dedent(DAEMON), str(pids), parent)
    if parent == "stay":
        await canceled(bench, runner, lambda: written(pids))
    else:
        assert (await runner.run(bench.job())).result == "completed"
    assert gone(int(pids.read_text()), 0)


async def test_what_is_left_behind_and_prints_for_ever_holds_nothing_up(bench: Bench):
    for_ever = "while :; do echo more; done"
    outcome = await bench.sh(f"({for_ever}) & echo $! > {bench.folder}/pid; sleep 0.1; exit 0", grace_s=0.5)
    assert outcome.result == "completed"
    assert gone(int((bench.folder / "pid").read_text()), 0)


async def test_a_stopped_process_is_ended(bench: Bench):
    async def ready() -> None:
        while bench.heard.process is None or state(bench.heard.process.pid) != "T":
            await anyio.sleep(0.01)

    def state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]

    await canceled(bench, bench.runner("sh", "-c", "kill -STOP $$", grace_s=0.3), ready)
    assert bench.heard.process is not None
    assert not is_running(bench.heard.process)


async def test_the_loop_goes_on_while_a_tree_is_being_ended(bench: Bench):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0.01)
            turns += 1

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await ready_then_cancel(bench, ready)
        group.cancel_scope.cancel()
    assert turns > 20


async def ready_then_cancel(bench: Bench, ready: Callable[[], Any]) -> None:
    await canceled(bench, bench.runner(sys.executable, "-c", IGNORING, grace_s=0.5), ready)
