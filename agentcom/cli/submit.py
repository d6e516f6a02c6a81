"""`agentcom submit`: have work done."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from agentcom.cli import sending, submission
from agentcom.cli.context import (
    EXIT_FAILED,
    EXIT_NOBODY,
    EXIT_OK,
    EXIT_USAGE,
    Context,
    context_of,
    end,
    run,
)
from agentcom.cli.screen import show, show_json, warn, width
from agentcom.cli.waiting import all_completed, goes_on, wait_and_tell
from agentcom.client import Client
from agentcom.errors import EXIT_INTERRUPTED, UsageError
from agentcom.ids import IdMaker
from agentcom.model.task import ReadRecord, TaskSpec

WORK = "The task"
SOURCE = "Where tasks come from"
AFTERWARDS = "Afterwards"

Words = Annotated[str | None, typer.Argument(metavar="TEXT", help="What the agent is told; - reads it from stdin.")]
Title = Annotated[str, typer.Option(help="One line for people. Default: the text's first line.", rich_help_panel=WORK)]
Requires = Annotated[
    str, typer.Option(help="What an agent must have, such as 'python >= 3, os == linux'.", rich_help_panel=WORK)
]
Prefer = Annotated[
    str, typer.Option(help="What is good to have, with weights: 'gpu : 2, os == linux'.", rich_help_panel=WORK)
]
Priority = Annotated[str, typer.Option(help="urgent, high, normal or low.", rich_help_panel=WORK)]
After = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="Wait until this task completed; may be repeated.", rich_help_panel=WORK),
]
ContextFiles = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A file that the agent should read; may be repeated.", rich_help_panel=WORK),
]
ContextTokens = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=100_000_000,
        metavar="N",
        help="Context that the work needs. Default with --context: estimated from the files here and the text.",
        rich_help_panel=WORK,
    ),
]
Expect = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long it should take, such as 20m.", rich_help_panel=WORK)
]
Timeout = Annotated[
    str | None, typer.Option(metavar="TIME", help="Limit of one attempt. Default: the pool's.", rich_help_panel=WORK)
]
Expires = Annotated[
    str | None, typer.Option(metavar="TIME", help="Fail it if it has not ended by then.", rich_help_panel=WORK)
]
MaxAttempts = Annotated[
    int, typer.Option(min=0, max=100, metavar="N", help="0 means the pool's default.", rich_help_panel=WORK)
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="CMD",
        help="A command that has to pass before the work counts as done; may be repeated.",
        rich_help_panel=WORK,
    ),
]
BudgetUsd = Annotated[
    str | None,
    typer.Option(metavar="USD", help="What all attempts together may cost, such as 2.50.", rich_help_panel=WORK),
]
BudgetTokens = Annotated[
    str | None,
    typer.Option(metavar="N", help="What they may read and write together, such as 200k.", rich_help_panel=WORK),
]
Key = Annotated[
    str, typer.Option(help="A second submission with the same key makes no second task.", rich_help_panel=WORK)
]
AgentName = Annotated[str, typer.Option("--agent", metavar="NAME", help="Only this agent.", rich_help_panel=WORK)]
From = Annotated[
    Path | None,
    typer.Option("--from", metavar="BACKLOG.md", help="A Markdown checklist, a task each.", rich_help_panel=SOURCE),
]
Lines = Annotated[bool, typer.Option("--lines", help="JSON lines from stdin, a task each.", rich_help_panel=SOURCE)]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until all ended; exit by their outcome.", rich_help_panel=AFTERWARDS)
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=AFTERWARDS)]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    epilog = "Exit codes: 0 taken on (with --wait: completed) · 1 refused, or failed · 2 usage · 4 nobody can take it."
    app.command("submit", rich_help_panel="Work", epilog=epilog)(submit)


def submit(
    ctx: typer.Context,
    text: Words = None,
    title: Title = "",
    requires: Requires = "",
    prefer: Prefer = "",
    priority: Priority = "normal",
    after: After = None,
    context: ContextFiles = None,
    context_tokens: ContextTokens = None,
    expect: Expect = None,
    timeout: Timeout = None,
    expires: Expires = None,
    max_attempts: MaxAttempts = 0,
    checks: Checks = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    key: Key = "",
    agent: AgentName = "",
    backlog: From = None,
    lines: Lines = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Have work done: one task from the command line or stdin, or many from a backlog or JSON lines.

    \b
    Examples:
      agentcom submit "make the tests pass" --requires "python >= 2" --wait
      agentcom submit --title "Fix the build" --priority urgent < prompt.md
      agentcom submit "write the changelog" --after tk-9f21c4 --context NEWS.md
      agentcom submit "fix the parser" --check "make test" --budget-usd 2
      agentcom submit --from BACKLOG.md        again later: adds only what is new
      jq -c '.[] | {text: .body}' issues.json | agentcom submit --lines --json

    A backlog's item is known again by its {#slug}, or its title, and by the file's place: within its git
    repository where that has an origin, else on this machine.
    """
    given = {
        "title": title,
        "requires": requires,
        "prefer": prefer,
        "priority": priority,
        "after": tuple(after or ()),
        "context": tuple(str(file) for file in context or ()),
        "context_tokens": context_tokens or 0,
        "expect_s": submission.duration_s("--expect", expect),
        "timeout_s": submission.duration_s("--timeout", timeout),
        "expires_s": submission.duration_s("--expires", expires),
        "max_attempts": max_attempts,
        "checks": tuple(checks or ()),
        "budget_usd": submission.usd("--budget-usd", budget_usd),
        "budget_tokens": submission.amount("--budget-tokens", budget_tokens),
        "key": key,
        "agent": agent,
    }
    if backlog is not None or lines:
        _refuse_mixture(text, given, "--from" if backlog is not None else "--lines", both=lines and backlog is not None)
    try:
        if lines:
            specs = submission.specs_of_lines(submission.read_stdin())
        else:
            specs = [_spec(_words(text), given, estimating=context_tokens is None)] if backlog is None else []
        end(Call(context_of(ctx), specs, backlog, wait=wait, json=json).run())
    except submission.Unusable as unusable:
        for line in unusable.lines:
            warn(f"agentcom: {line}")
        end(EXIT_USAGE)


def _refuse_mixture(text: str | None, given: dict[str, Any], flag: str, *, both: bool) -> None:
    """Tasks that come from elsewhere say everything themselves."""
    if both:
        raise UsageError("--from and --lines cannot be given together")
    if text is not None:
        raise UsageError(f"TEXT and {flag} cannot be given together")
    plain = msgspec.structs.asdict(TaskSpec(text="-"))
    for name, value in given.items():
        if value != plain[name]:
            option = "--check" if name == "checks" else "--" + name.removesuffix("_s").replace("_", "-")
            raise UsageError(f"{option} and {flag} cannot be given together", "Each task of the input says it itself")


def _words(text: str | None) -> str:
    if text is not None and text != "-":
        return text
    if text is None and sys.stdin.isatty():
        raise UsageError("there is no text", 'Say what is to be done: agentcom submit "make the tests pass"')
    return submission.read_stdin()


def _spec(text: str, given: dict[str, Any], *, estimating: bool) -> TaskSpec:
    if not text.strip():
        raise UsageError("the text is empty", "Say what is to be done")
    submission.check_priority(given["priority"])
    submission.check_language(given["requires"], given["prefer"])
    submission.check_checks(given["checks"])
    if given["context"] and estimating:
        estimate = submission.estimate(text, given["context"], (Path(),))
        given["context_tokens"] = estimate.tokens
        for remark in submission.remarks_on([estimate]):
            warn(f"agentcom: {remark}")
    return TaskSpec(text=text, **given)


class Call:
    """One call of the command, from the connection to the exit code."""

    def __init__(
        self, context: Context, specs: list[TaskSpec], backlog: Path | None, *, wait: bool, json: bool
    ) -> None:
        self._context = context
        self._specs = specs
        self._backlog = backlog
        self._wait = wait
        self._json = json
        self._ids: list[str] = []

    def run(self) -> int:
        """Do it; the exit code. Who stops waiting is told that the work goes on."""
        try:
            return run(self._perform)
        except KeyboardInterrupt:
            if self._ids:
                warn(f"agentcom: {goes_on(self._ids)}")
            return EXIT_INTERRUPTED

    async def _perform(self) -> int:
        async with self._context.client() as client:
            existing = await self._read_backlog(client, self._backlog) if self._backlog is not None else []
            specs = await submission.with_full_ids(client, self._specs)
            sent = await sending.send(client, specs, existing)
            self._ids = sent.ids
            if not self._json:
                show(sending.lines(sent, width(), backlog=self._backlog is not None))
            for remark in sending.remarks(sent):
                warn(f"agentcom: {remark}")
            # What nobody can take may wait for ever: then to say so is the answer, also to who would wait.
            waits = self._wait and not sent.stranded
            ended = await wait_and_tell(client, self._ids, quiet=self._json) if waits else {}
            if self._json:
                show_json(sending.document(sent, client.pool, ended=ended))
            return self._exit_code(sent, ended)

    async def _read_backlog(self, client: Client, backlog: Path) -> list[str]:
        make_id = IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom).make
        found = await submission.specs_of_backlog(client, backlog, make_id)
        for remark in found.remarks:
            warn(f"agentcom: {remark}")
        self._specs = found.new
        return found.existing

    def _exit_code(self, sent: sending.Sent, ended: dict[str, ReadRecord]) -> int:
        if sent.refused:
            return EXIT_FAILED
        if sent.stranded:
            return EXIT_NOBODY
        return EXIT_OK if not self._wait or all_completed(ended) else EXIT_FAILED
