"""A turn of a program that prints events: followed line by line, ended where it has to be, and concluded."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw
from msgspec.structs import replace

from agentcom.adapters.base import (
    Alive,
    Asks,
    Context,
    Denied,
    Did,
    Event,
    Launch,
    Model,
    Over,
    Prompt,
    Said,
    Session,
    Unknown,
    Used,
)
from agentcom.model.codec import encode
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome, TaskSpec, Usage
from agentcom.processes import identify
from agentcom.settings import AgentSettings, Policy, Price
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.command import CommandRunner
from tests.sidecar.bench import ID, TOKEN, Heard, gone, written

pytestmark = pytest.mark.process

POLICY = Policy(grace_s=0.3, stall_s=20.0, disk_free_bytes=0)

EVENTS: dict[str, Any] = {
    "alive": lambda _: Alive(),
    "session": Session,
    "used": lambda tokens: Used(Usage(input_tokens=tokens)),
    "cost": lambda usd: Used(Usage(), session_cost_usd=usd),
    "context": lambda pair: Context(*pair),
    "model": Model,
    "said": Said,
    "did": Did,
    "denied": Denied,
    "asks": Asks,
    "over": lambda fields: Over(**fields),
}


class Lines:
    """A program that prints events as `{"NAME": VALUE}`, one a line."""

    name = "lines"
    program = sys.executable
    structured = True
    resumes = True

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        return Launch((*settings.command, prompt.session or "new", str(prompt.usd_left)))

    def parse(self, line: bytes) -> Sequence[Event]:
        try:
            told = json.loads(line)
        except ValueError:
            return [Unknown("text")]
        return [EVENTS[name](value) if name in EVENTS else Unknown(name) for name, value in told.items()]

    def exited(self, code: int, last_words: str) -> Over:
        return Over(ok=False, reason="agent_failed", detail=f"no end, exit code {code}: {last_words}")

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        return ()

    def canary(self, settings: AgentSettings) -> Launch:
        return Launch(())

    def version(self, settings: AgentSettings) -> tuple[str, ...]:
        return (sys.executable, "-c", "print('9.9 (lines)')")


PRELUDE = """
import json, os, signal, sys, time
def say(**event):
    print(json.dumps(event), flush=True)
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard = Heard()
        self.filled: list[int] = []

    def runner(self, script: str, policy: Policy = POLICY, **more: Any) -> CommandRunner:
        argv = (sys.executable, "-c", PRELUDE + textwrap.dedent(script))
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return CommandRunner("oak", AgentSettings(command=argv), self.folder, environ, policy, adapter=Lines(), **more)

    def job(self, **order: Any) -> Job:
        spec = TaskSpec(id=ID, text="do it")
        told = Assign(incarnation="sc", task=ID, token=TOKEN, spec=Raw(encode(spec)), attempt=1, timeout_s=60, **order)
        heard = self.heard
        job = Job("1-0", spec, 1, TOKEN, heard.alive, heard.spawned, heard.printed, order=told)
        return replace(job, filled=self.filled.append)

    async def run(self, script: str, policy: Policy = POLICY, **order: Any) -> Outcome:
        with anyio.fail_after(30):
            return await self.runner(script, policy).run(self.job(**order))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


OK = "say(over={'ok': True, 'summary': 'did it'})"


async def test_what_it_tells_is_what_is_reported(bench: Bench) -> None:
    outcome = await bench.run(f"""
        say(session='s-1', model='m-1'); say(alive=1); say(did='Bash: ls'); say(said='hello')
        say(used=30); say(used=12); say(context=[500, 1000]); {OK}
    """)
    assert (outcome.result, outcome.summary, outcome.session, outcome.model) == ("completed", "did it", "s-1", "m-1")
    assert outcome.usage == Usage(input_tokens=42)
    assert (outcome.context_used, outcome.context_size, bench.filled[-1]) == (500, 1_000, 50)
    assert bench.heard.output == "· Bash: ls\nhello\n".encode()
    assert outcome.envelope_tokens > 0


@pytest.mark.pitfall_7
async def test_only_the_agents_own_sign_of_life_counts(bench: Bench) -> None:
    outcome = await bench.run(
        "say(session='s', model='m'); print('starting up'); say(over={'ok': False, 'reason': 'auth_failed'})"
    )
    assert outcome.reason == "auth_failed"
    assert "alive" not in bench.heard.events, "its program lived, not the agent"


ENDS = {
    "done": (OK, ("completed", "")),
    "done, with a bad exit code": (f"{OK}; sys.exit(3)", ("failed", "exit_code")),
    "an exit code of 0 and no end": ("say(said='bye')", ("failed", "agent_failed")),
    "a crash": ("say(said='bye'); sys.exit(9)", ("failed", "agent_failed")),
    "its own failure": (
        "say(over={'ok': False, 'reason': 'permission_denied', 'detail': 'no'})",
        ("failed", "permission_denied"),
    ),
    "a question": ("say(said='QUESTION: which one?'); " + "say(over={'ok': True})", ("failed", "input_required")),
    "a request": (
        "say(asks='may I?'); say(over={'ok': False, 'reason': 'input_required'})",
        ("failed", "input_required"),
    ),
    "unfinished": ("say(over={'ok': True, 'summary': 'UNFINISHED: the tests'})", ("failed", "context_exhausted")),
}


@pytest.mark.parametrize(("script", "expected"), ENDS.values(), ids=ENDS.keys())
async def test_what_an_end_means(bench: Bench, script: str, expected: tuple[str, str]) -> None:
    outcome = await bench.run(script)
    assert (outcome.result, outcome.reason) == expected, outcome


async def test_a_question_is_told_and_what_is_left_is_the_summary_of_the_part(bench: Bench) -> None:
    assert (await bench.run(ENDS["a question"][0])).question == "which one?"
    assert (await bench.run(ENDS["unfinished"][0])).summary == "the tests"


async def test_a_rate_limit_says_until_when(bench: Bench) -> None:
    said = "say(over={'ok': False, 'reason': 'rate_limited', 'resets_at_s': 4000000000.5})"
    outcome = await bench.run(said)
    assert (outcome.reason, outcome.resets_at) == ("rate_limited", 4_000_000_000_500)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_what_lingers_after_its_end_is_ended_after_a_grace_and_is_done(bench: Bench, stubborn: bool) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else ""
    script = f"{ignore}\nopen(os.environ['HOME'] + '/pid', 'w').write(f'{{os.getpid()}}\\n')\n{OK}; time.sleep(60)"
    outcome = await bench.run(textwrap.dedent(script))
    assert (outcome.result, outcome.summary) == ("completed", "did it")
    await written(bench.folder / "pid")
    assert gone(int((bench.folder / "pid").read_text()))


async def test_a_silent_agent_is_ended_as_stalled(bench: Bench) -> None:
    outcome = await bench.run("say(alive=1); time.sleep(60)", replace(POLICY, stall_s=0.4))
    assert (outcome.result, outcome.reason) == ("failed", "stalled")
    assert "policy.stall_s" in outcome.detail


async def test_a_flood_of_output_is_ended(bench: Bench) -> None:
    script = "say(alive=1)\nwhile True: sys.stdout.write('x' * 100_000 + chr(10))"
    outcome = await bench.run(script, replace(POLICY, output_file_bytes=2_000_000))
    assert (outcome.result, outcome.reason) == ("failed", "output_flood")


async def test_a_flood_of_errors_is_one_too(bench: Bench) -> None:
    script = "say(alive=1)\nwhile True: sys.stderr.write('x' * 100_000)"
    outcome = await bench.run(script, replace(POLICY, output_file_bytes=2_000_000))
    assert (outcome.result, outcome.reason) == ("failed", "output_flood")


async def test_lines_that_are_no_events_are_passed_over(bench: Bench) -> None:
    outcome = await bench.run(f"""
        sys.stdout.buffer.write(b'\\xff\\xfe not text\\n[1, 2\\n\\0\\n'); sys.stdout.flush()
        for _ in range(100): sys.stdout.write('x' * 1_000_000)
        print(); say(said='still here'); {OK}
    """)
    assert outcome.result == "completed", outcome
    assert b"still here" in bench.heard.output


async def test_the_last_line_needs_no_end(bench: Bench) -> None:
    outcome = await bench.run("""sys.stdout.write(json.dumps({"over": {"ok": True, "summary": "did it"}}))""")
    assert (outcome.result, outcome.summary) == ("completed", "did it")


async def test_stderr_is_no_event_and_explains_an_end_without_one(bench: Bench) -> None:
    outcome = await bench.run(
        "print('{\"over\": 3}', file=sys.stderr); print('no such model', file=sys.stderr); sys.exit(1)"
    )
    assert (outcome.reason, outcome.exit_code) == ("agent_failed", 1)
    assert outcome.detail.endswith("no such model")


@pytest.mark.pitfall_2
@pytest.mark.parametrize("checks", [(), ("true",)], ids=["without checks", "with checks"])
async def test_what_was_used_is_told_of_an_attempt_that_is_ended_in_the_middle(
    bench: Bench, checks: tuple[str, ...]
) -> None:
    """Else a task whose attempts time out again and again could never exceed its budget."""
    reached: list[Outcome] = []
    job = replace(bench.job(), reached=reached.append)
    job = replace(job, spec=replace(job.spec, checks=checks))
    runner = bench.runner("say(session='s-1', used=600); say(said='at work'); time.sleep(60)")
    async with anyio.create_task_group() as group:
        group.start_soon(_run_apart, runner, job)
        with anyio.fail_after(20):
            while b"at work" not in bench.heard.output:
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    (known,) = reached
    assert (known.result, known.usage, known.session) == ("failed", Usage(input_tokens=600), "s-1")


@pytest.mark.pitfall_2
async def test_what_was_used_is_told_where_the_disk_takes_no_more(bench: Bench) -> None:
    refuse = "os.mkdir(os.path.dirname(os.environ['AGENTCOM_TASK_FILE']) + '/progress.new')"
    job = bench.job()
    job = replace(job, spec=replace(job.spec, checks=("true",)))
    with anyio.fail_after(20):
        outcome = await bench.runner(f"say(used=600); {refuse}; {OK}").run(job)
    assert (outcome.reason, outcome.usage) == ("unfit", Usage(input_tokens=600))


@pytest.mark.pitfall_2
async def test_who_exceeds_the_budget_is_ended_and_what_it_used_is_told(bench: Bench) -> None:
    outcome = await bench.run("say(used=600); say(used=600); time.sleep(60)", tokens_left=1_000)
    assert (outcome.result, outcome.reason, outcome.usage) == ("failed", "budget_exceeded", Usage(input_tokens=1_200))
    assert "1,200 tokens" in outcome.detail
    dear = await Bench(bench.folder).run("say(cost=2.5); time.sleep(60)", usd_left=1.0)
    assert (dear.reason, dear.usage) == ("budget_exceeded", Usage(cost_usd=2.5))


@pytest.mark.pitfall_2
async def test_a_budget_that_is_used_up_exactly_is_not_one_without_a_limit(bench: Bench) -> None:
    job = bench.job(usd_left=1.0)
    job = replace(job, spec=replace(job.spec, checks=("test -e fixed",)))
    script = f"""
        say(session='s', cost=1.0)
        if sys.argv[1] == 's': open('fixed', 'w').write(sys.argv[2])
        {OK}
    """
    with anyio.fail_after(20):
        outcome = await bench.runner(script).run(job)
    assert outcome.result == "completed", outcome
    (told,) = (bench.folder / "workspaces").glob("*/fixed")
    assert 0 < float(told.read_text()) < 0.0001


async def test_of_a_resumed_session_only_what_was_added_is_counted(bench: Bench) -> None:
    script = f"say(session=sys.argv[1], cost=5.0, used=7); {OK}"
    outcome = await bench.run(script, session="s-1", session_usage=Usage(cost_usd=3.5))
    assert outcome.usage == Usage(input_tokens=7, cost_usd=1.5)
    assert (outcome.session, outcome.session_usage) == ("s-1", Usage(input_tokens=7, cost_usd=5.0))
    fresh = await Bench(bench.folder / "x").run(
        f"say(session='s-2', cost=5.0, used=7); {OK}", session="s-1", session_usage=Usage(cost_usd=3.5)
    )
    assert fresh.usage == Usage(input_tokens=7, cost_usd=5.0), "it began another session"


async def test_an_agent_that_tells_no_cost_is_charged_by_the_price_table(bench: Bench) -> None:
    runner = bench.runner(f"say(model='m-1-large'); say(used=2_000_000); {OK}", prices={"m-1": Price(input_usd=3.0)})
    with anyio.fail_after(20):
        outcome = await runner.run(bench.job())
    assert outcome.usage == Usage(input_tokens=2_000_000, cost_usd=6.0)


@pytest.mark.pitfall_3
async def test_a_later_start_reads_it_all_again_and_counts_it_once(bench: Bench) -> None:
    """What was told before is known again, and not shown to people once more."""
    go = bench.folder / "go"
    script = f"""
        say(session='s', used=5); say(said='before')
        while not os.path.exists({str(go)!r}): time.sleep(0.02)
        say(used=6); say(said='after'); {OK}
    """
    followed: list[int] = []
    job = replace(bench.job(), followed=followed.append)
    runner = bench.runner(script)
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(_run_apart, runner, job)
            with anyio.fail_after(20):
                while b"before" not in bench.heard.output:
                    await anyio.sleep(0.02)
            process = bench.heard.process
            later = Bench(bench.folder)
            adopting = replace(later.job(), offset=followed[-1])
            go.touch()
            outcome = await bench.runner("exit(9)").adopt(adopting, process)
            scope.cancel()
        group.cancel_scope.cancel()
    assert (outcome.result, outcome.usage, outcome.session) == ("completed", Usage(input_tokens=11), "s")
    assert later.heard.output == b"after\n"
    assert process is not None
    assert identify(process.pid) is None


async def _run_apart(runner: CommandRunner, job: Job) -> None:
    await runner.run(job)


async def test_the_programs_version_is_noted_with_every_attempt(bench: Bench) -> None:
    runner = bench.runner(OK)
    assert await runner.self_test() == ""
    with anyio.fail_after(20):
        assert (await runner.run(bench.job())).program == "lines 9.9 (lines)"


async def test_who_goes_on_after_what_looked_like_an_end_is_not_ended(bench: Bench) -> None:
    outcome = await bench.run(
        "say(over={'ok': True, 'summary': 'a summary'}); time.sleep(0.1); say(said='on'); time.sleep(0.8); "
        "say(over={'ok': True, 'summary': 'did it'})",
        replace(POLICY, grace_s=0.5),
    )
    assert (outcome.result, outcome.summary) == ("completed", "did it")


async def test_what_the_settings_say_goes_over_what_the_adapter_wants(bench: Bench) -> None:
    class Wanting(Lines):
        def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
            return Launch(super().argv(prompt, settings).argv, {"RETRIES": "6", "QUIET": "1"})

    script = f"say(said=os.environ['RETRIES'] + os.environ['QUIET']); {OK}"
    settings = AgentSettings(command=(sys.executable, "-c", PRELUDE + script), env={"RETRIES": "2"})
    environ = {"PATH": os.environ["PATH"]}
    runner = CommandRunner("oak", settings, bench.folder, environ, POLICY, adapter=Wanting())
    with anyio.fail_after(20):
        await runner.run(bench.job())
    assert bench.heard.output == b"21\n"


async def test_the_adapter_says_what_an_exit_code_means_also_of_a_program_that_prints_text(bench: Bench) -> None:
    class Coded(Lines):
        structured = False

        def exited(self, code: int, last_words: str) -> Over:
            return Over(ok=code == 0, reason="misconfigured" if code == 42 else "exit_code", detail=last_words)

    argv = (sys.executable, "-c", "print('no key'); raise SystemExit(42)")
    runner = CommandRunner("oak", AgentSettings(command=argv), bench.folder, {"PATH": "/bin"}, POLICY, adapter=Coded())
    with anyio.fail_after(20):
        outcome = await runner.run(bench.job())
    assert (outcome.reason, outcome.detail, outcome.exit_code) == ("misconfigured", "no key", 42)
