"""Agents that are commands, with real processes: what they get, what is heard of them, how they end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import anyio
import pytest
from msgspec import structs

from agentcom.model.reasons import STATED_BY_AGENTS
from agentcom.model.task import Outcome, Usage
from agentcom.sidecar.runners.base import VALUE_MAX_BYTES
from agentcom.sidecar.runners.tail import BEHIND_MAX_BYTES
from tests.sidecar.bench import ID, PATIENCE_S, TOKEN, Bench

pytestmark = pytest.mark.process


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


async def test_a_given_workspace_may_be_named_from_the_users_home(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    await bench.sh("pwd", workspace="~/mine")
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
    assert outcome.detail.startswith("the command cannot be started: [Errno ")
    assert command[0] in outcome.detail
    assert "alive" not in bench.heard.events


@pytest.mark.pitfall_7
async def test_a_nul_in_the_settings_is_a_failed_wake(bench: Bench):
    outcome = await bench.run("true", env={"A": "b\0c"})
    assert (outcome.result, outcome.reason) == ("failed", "wake_failed")


@pytest.mark.pitfall_3
@pytest.mark.parametrize("blocked", ["attempts", "workspaces"])
async def test_where_its_files_cannot_be_written_the_task_is_handed_back_and_nothing_is_started(
    bench: Bench, blocked: str
):
    (bench.folder / blocked).write_text("in the way")
    outcome = await bench.run("true")
    assert (outcome.result, outcome.reason) == ("handed_back", "unfit")
    assert bench.heard.events == []
    assert blocked in outcome.detail


# ---------------------------------------------------------------- stated reasons


@pytest.mark.parametrize("reason", sorted(STATED_BY_AGENTS))
async def test_an_agent_that_fails_may_say_why_in_the_pools_words(bench: Bench, reason: str):
    told = {"reason": reason, "detail": "as the provider says", "retry_after_s": 90, "usage": {"output_tokens": 5}}
    (bench.folder / "told.json").write_text(json.dumps(told))
    before = int(time.time() * 1000)
    outcome = await bench.sh(f"cp {bench.folder}/told.json {{result_file}}; exit 1")
    assert (outcome.result, outcome.reason, outcome.detail) == ("failed", reason, "as the provider says")
    assert (outcome.exit_code, outcome.usage) == (1, Usage(output_tokens=5))
    assert before + 90_000 <= outcome.resets_at <= before + 110_000


@pytest.mark.parametrize("retry_after_s", ["0", "-1", "1e300", "700000"])
async def test_a_time_that_makes_no_sense_is_no_time(bench: Bench, retry_after_s: str):
    told = f'{{"reason": "rate_limited", "retry_after_s": {retry_after_s}}}'
    outcome = await bench.sh(f"echo slow down; echo '{told}' > {{result_file}}; exit 1")
    assert (outcome.reason, outcome.resets_at) == ("rate_limited", 0)
    assert outcome.detail == "exit code 1: slow down"


async def test_a_reason_that_agents_may_not_state_is_told_to_people_and_the_exit_code_counts(bench: Bench):
    outcome = await bench.sh("""echo '{"reason": "lost", "detail": "x"}' > {result_file}; exit 75""")
    assert outcome.reason == "retry_later"
    assert "it states the reason 'lost', which is none of: auth_failed, " in outcome.detail


@pytest.mark.parametrize(
    "told", ["nonsense", "[]", '{"reason": 5}', '{"reason": "rate_limited", "retry_after_s": "soon"}']
)
async def test_a_statement_that_cannot_be_read_is_none(bench: Bench, told: str):
    outcome = await bench.sh(f"echo '{told}' > {{result_file}}; echo broken; exit 3")
    assert (outcome.reason, outcome.detail, outcome.exit_code) == ("exit_code", "exit code 3: broken", 3)


async def test_who_completes_states_no_reason(bench: Bench):
    outcome = await bench.sh("""echo '{"reason": "rate_limited"}' > {result_file}""")
    assert (outcome.result, outcome.value) == ("completed", {"reason": "rate_limited"})


# ----------------------------------------------------------------------- self-test


@pytest.mark.pitfall_7
async def test_a_command_that_is_there_passes_the_self_test(bench: Bench):
    assert await bench.runner("sh", "-c", "true").self_test() == ""
    assert await bench.runner("/bin/sh").self_test() == ""


@pytest.mark.pitfall_7
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-program", "there is no program 'no-such-program' in the PATH "),
        ("/absent/program", "there is no program '/absent/program'"),
        ("/", "there is no program '/'"),
        ("./absent", "the command './absent' is relative to a workspace, and each task has a new one"),
    ],
)
async def test_a_command_that_is_not_there_does_not(bench: Bench, command: str, said: str):
    assert (await bench.runner(command).self_test()).startswith(said)


async def test_it_is_looked_for_where_the_agent_would_look(bench: Bench, tmp_path: Path):
    program = tmp_path / "mine" / "agent"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert await bench.runner("agent").self_test() != ""
    assert await bench.runner("agent", env={"PATH": str(program.parent)}).self_test() == ""
    assert await bench.runner("./agent", workspace=str(program.parent)).self_test() == ""
    assert await bench.runner("{workspace}/agent", workspace=str(program.parent)).self_test() == ""
    assert await bench.runner("{workspace}/agent").self_test() == "", "that hangs on the task"


@pytest.mark.pitfall_7
async def test_the_check_that_the_settings_name_runs_as_the_agent_would(bench: Bench, tmp_path: Path):
    check = f"pwd > {tmp_path}/seen; echo $MODE $AGENTCOM_AGENT >> {tmp_path}/seen"
    runner = bench.runner("sh", self_test=("sh", "-c", check), env={"MODE": "fast"}, workspace=str(tmp_path))
    assert await runner.self_test() == ""
    assert (tmp_path / "seen").read_text() == f"{tmp_path}\nfast oak\n"


@pytest.mark.pitfall_7
async def test_a_check_that_fails_says_so_in_its_own_words(bench: Bench):
    runner = bench.runner("sh", self_test=("sh", "-c", "echo not logged in; exit 2"))
    assert await runner.self_test() == "its self-test ended with exit code 2: not logged in"


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
        group.start_soon(bench.sh, "echo first; sleep 3600")
        with anyio.fail_after(PATIENCE_S):
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
    monkeypatch.setattr("agentcom.sidecar.runners.tail.BEHIND_MAX_BYTES", 100_000)
    await bench.sh("head -c 9000000 /dev/zero; echo the end")
    assert bench.heard.output.endswith(b"\0the end\n")
    assert len(bench.heard.output) < 9_000_000


@pytest.mark.parametrize(("script", "told"), [("exit 0", ("completed", "")), ("exit 3", ("failed", "lost"))])
async def test_only_what_had_completed_before_anybody_looked_has_its_own_end_while_it_is_being_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, script: str, told: tuple[str, str]
):
    monkeypatch.setattr("agentcom.sidecar.runners.kept.POLL_S", 60.0)
    reached: list[Outcome] = []
    job = structs.replace(bench.job(), reached=reached.append)
    ended = bench.folder / "attempts" / f"{ID}.{TOKEN}" / "exit"
    async with anyio.create_task_group() as group:
        group.start_soon(bench.runner("sh", "-c", script).run, job)
        with anyio.fail_after(10):
            while not ended.exists():
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert [(outcome.result, outcome.reason) for outcome in reached] == [told]


# ------------------------------------------- what is only said at the very end

OPENCLAW = {
    "ok": True,
    "final": "The tests pass.",
    "usage": {"input": 120, "output": 8, "cacheRead": 30, "total": 158},
    "costUsd": 0.5,
    "model": "gpt-6-astra",
    "sessionId": "019",
}


def printing(told: object, code: int = 0) -> str:
    return f"cat > /dev/null; cat <<'END'\n{json.dumps(told, indent=2)}\nEND\nexit {code}"


async def test_a_program_that_says_all_at_its_end_is_heard(bench: Bench):
    outcome = await bench.sh(printing(OPENCLAW), adapter="openclaw")
    used = Usage(input_tokens=120, output_tokens=8, cache_read_tokens=30, cost_usd=0.5)
    assert (outcome.result, outcome.summary, outcome.model) == ("completed", "The tests pass.", "gpt-6-astra")
    assert (outcome.usage, outcome.session) == (used, "019")


async def test_what_it_used_is_spent_when_it_fails_too_and_why_is_what_it_says(bench: Bench):
    failed = OPENCLAW | {"ok": False, "final": "", "error": {"message": "401 Unauthorized", "kind": "agent_error"}}
    outcome = await bench.sh(printing(failed, 1), adapter="openclaw")
    assert (outcome.result, outcome.reason, outcome.detail) == ("failed", "auth_failed", "401 Unauthorized")
    assert outcome.usage is not None
    assert outcome.usage.cost_usd == 0.5


async def test_it_is_held_to_its_tasks_budget(bench: Bench):
    job = bench.job()
    job = structs.replace(job, order=structs.replace(job.order, tokens_left=100))
    with anyio.fail_after(PATIENCE_S):
        outcome = await bench.runner("sh", "-c", printing(OPENCLAW), adapter="openclaw").run(job)
    assert (outcome.result, outcome.reason) == ("failed", "budget_exceeded")


async def test_what_any_other_program_prints_stays_its_output(bench: Bench):
    outcome = await bench.sh(printing(OPENCLAW))
    assert (outcome.result, outcome.summary, outcome.usage) == ("completed", "", None)
