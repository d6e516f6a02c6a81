"""`agentcom monitor`: the pool on one screen, what is wrong with it and what to do; or once, for pipes and scripts."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from agentcom.cli.check import EXIT_FOUND
from agentcom.cli.context import Context, context_of, end, run
from agentcom.cli.screen import now, show, show_json, warn, width
from agentcom.cli.tasks import Json
from agentcom.errors import AgentComError, UsageError
from agentcom.monitor.findings_view import at_least
from agentcom.monitor.live import once
from agentcom.monitor.live.picture import AGENT, Picture
from agentcom.monitor.live.state import State
from agentcom.monitor.live.watcher import Watcher
from agentcom.wording import one_line

SECONDS = (0.2, 3_600.0)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("monitor", rich_help_panel="Look", epilog="Exit codes: 3 with --check, if something is critical.")(
        monitor
    )


def monitor(
    ctx: typer.Context,
    once_: Annotated[bool, typer.Option("--once", help="Print it once; also where there is no terminal.")] = False,
    json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Once, and end with 3 if something is critical.")] = False,
    agent: Annotated[str, typer.Option(metavar="NAME", help="Only this agent: all there is to say of it.")] = "",
    problems: Annotated[bool, typer.Option("--problems", help="Only what something is wrong with.")] = False,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="From one look to the next.")] = 2.0,
    ascii_: Annotated[bool, typer.Option("--ascii", help="Nothing but ASCII; the default if the locale is.")] = False,
) -> None:
    """Show the pool on one screen: what is wrong, why, and what to do. Press ? there for its keys.

    It reads, whatever the size of the pool, a bounded part of it; a user who may only read is enough. What is asked for
    with a key goes into the inbox, as from every other command.

    \b
    Examples:
      agentcom monitor
      agentcom monitor --problems
      agentcom monitor --once --agent oak
      agentcom monitor --json | jq -r '.findings[].text'
    """
    if not SECONDS[0] <= interval <= SECONDS[1]:
        raise UsageError(f"--interval: expected {SECONDS[0]:g} to {SECONDS[1]:g} seconds, not {interval:g}")
    context = context_of(ctx)
    state = State(problems=problems, opened=(AGENT + agent,) if agent else (), interval_s=interval)
    if once_ or json or check or not _has_screen():
        end(_once(context, state, agent, json=json, check=check))
    warn(run(lambda: _live(context, state, ascii_)))


def _has_screen() -> bool:
    """Whether there is a terminal whose cursor can be moved."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _once(context: Context, state: State, agent: str, *, json: bool, check: bool) -> int:
    async def take() -> Picture:
        async with context.any_server() as connections:
            return await Watcher(connections, context.settings, _wall_ms).look(state.page)

    picture = run(take)
    if agent and agent not in picture.agents:
        problem = f"pool {context.settings.pool!r} has no agent {one_line(agent, 60)!r}"
        raise AgentComError(problem, "`agentcom agents` lists those that it has")
    if json:
        show_json(once.document(picture, agent, problems=state.problems))
    else:
        show(once.lines(picture, now(), width(), agent, problems=state.problems))
    return EXIT_FOUND if check and at_least(picture.findings, "critical") else 0


async def _live(context: Context, state: State, ascii_: bool) -> str:
    """The screen, until a person leaves it; what to say then."""
    from agentcom.monitor.live.acting import Actor
    from agentcom.monitor.live.app import App
    from agentcom.monitor.live.terminal import Terminal, is_plain

    async with context.any_server() as connections:
        watcher = Watcher(connections, context.settings, _wall_ms)
        actor = Actor(context.url, context.settings.pool)
        with Terminal(plain=ascii_ or is_plain(os.environ)) as terminal:
            return await App(terminal, watcher, actor, state, now).run()
