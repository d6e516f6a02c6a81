"""The pool as a whole: its agents, its journal, its dead letters, and the settings in force."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from agentcom.broker.connection import until_back
from agentcom.cli.asking import send_back
from agentcom.cli.context import context_of, end, run
from agentcom.cli.lookup import checked, resolve
from agentcom.cli.screen import now, show, show_json, show_json_line, warn, width
from agentcom.cli.tasks import Json
from agentcom.client import Client
from agentcom.errors import UsageError
from agentcom.ids import matches
from agentcom.model.agent import AgentRecord
from agentcom.model.messages import Beat, DeadLetter, Line
from agentcom.monitor import pool_view
from agentcom.settings import describe

JOURNAL_SEARCHED = 5_000
"""Entries of the journal that are looked through for lines of one task or agent."""

FOLLOW_MS = 1_000
DEAD_MAX = 10_000

dead_app = typer.Typer(invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("agents", rich_help_panel="Look")(agents)
    app.command("journal", rich_help_panel="Look")(journal)
    app.add_typer(dead_app, name="dead", rich_help_panel="Work")
    app.command("config", rich_help_panel="Look")(config)


def agents(ctx: typer.Context, json: Json = False) -> None:
    """List the agents: whether they are heard from, whether they get work and why not, what they do, what they can.

    ACTIVITY is what the agent's own last beat says; SUCCESS counts the latest attempts most.

    \b
    Examples:
      agentcom agents
      agentcom agents --json | jq -r '.agents[] | select(.free_slots > 0).name'
    """
    context = context_of(ctx)

    async def read() -> tuple[list[AgentRecord], dict[str, Beat]]:
        async with context.client() as client:
            found = await client.agents()
            return found, await client.store.beats([agent.name for agent in found])

    found, beats = run(read)
    if json:
        listed = [pool_view.agent_document(agent, beats.get(agent.name)) for agent in found]
        show_json({"pool": context.settings.pool, "agents": listed})
    elif found:
        show(pool_view.agents(found, beats, now(), width()))
    else:
        warn("no agent is registered; start one with `agentcom sidecar --agent NAME`")


# ------------------------------------------------------------------ journal


def journal(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="So many of the last lines.")] = 50,
    task: Annotated[str, typer.Option(metavar="ID", help="Only of this task.")] = "",
    agent: Annotated[str, typer.Option(metavar="NAME", help="Only of this agent.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Print the journal: every change of a task or an agent, and everything that was refused, with why.

    \b
    Examples:
      agentcom journal -f
      agentcom journal --task tk-9f21c4 -n 200
    """
    context = context_of(ctx)
    wanted = _Wanted(task, agent)

    def print_lines(found: Iterable[tuple[str, Line]]) -> None:
        at, cells = now(), width()
        for entry, line in found:
            if json:
                show_json_line(pool_view.journal_document(entry, line))
            else:
                show([pool_view.journal_line(line, at, cells)])

    async def read() -> None:
        async with context.client() as client:
            searched = JOURNAL_SEARCHED if wanted.some else max(lines, 1)
            tail = await client.store.journal_tail(searched)
            found = wanted.of(tail)
            print_lines(found[max(0, len(found) - lines) :])
            since = tail[-1][0] if tail else "0-0"
            while follow:
                entries = await until_back(lambda: client.store.journal(since, FOLLOW_MS), lambda _: None)  # noqa: B023
                print_lines(wanted.of(entries))
                since = entries[-1][0] if entries else since

    run(read)


class _Wanted:
    """Which lines of the journal are asked for."""

    def __init__(self, task: str, agent: str) -> None:
        self._task = checked(task) if task else ""
        self._agent = agent
        self.some = bool(task or agent)

    def of(self, entries: Iterable[tuple[str, list[Line]]]) -> list[tuple[str, Line]]:
        """Those of these entries."""
        return [(entry, line) for entry, lines in entries for line in lines if self._fits(line)]

    def _fits(self, line: Line) -> bool:
        of_task = not self._task or (bool(line.task) and matches(self._task, line.task))
        return of_task and self._agent in ("", line.agent)


# --------------------------------------------------------------- dead letters


@dead_app.callback()
def dead(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """List tasks that used up their attempts and failed; send them back with `agentcom dead retry`.

    \b
    Examples:
      agentcom dead
      agentcom dead retry tk-9f21c4
      agentcom dead retry --all
    """
    if ctx.invoked_subcommand is not None:
        return
    context = context_of(ctx)

    async def read() -> list[DeadLetter]:
        async with context.client() as client:
            return await _dead(client)

    letters = run(read)
    if json:
        listed = [pool_view.dead_document(letter) for letter in letters[:limit]]
        show_json({"pool": context.settings.pool, "total": len(letters), "dead": listed})
    elif letters:
        show(pool_view.dead(letters[:limit], now(), width()))
    else:
        warn("no dead letters")
    if len(letters) > limit and not json:
        warn(f"first {limit:,} of {len(letters):,}; --limit shows more")


@dead_app.command("retry")
def dead_retry(
    ctx: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Tasks, by short ids.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that `agentcom dead` lists.")] = False,
) -> None:
    """Send dead tasks back, with all their attempts before them again."""
    if bool(ids) == every:
        raise UsageError("give either tasks' IDs or --all")
    context = context_of(ctx)

    async def whole() -> int:
        async with context.client() as client:
            tasks = [letter.task for letter in await _dead(client)] if every else await resolve(client, ids or [])
            if not tasks:
                warn("no dead letters")
            return await send_back(client, tasks)

    end(run(whole))


async def _dead(client: Client) -> list[DeadLetter]:
    """The letters of tasks that are still dead, the newest first."""
    letters = await client.store.dead(DEAD_MAX)
    return pool_view.still_dead(letters, await client.store.records(list({letter.task for letter in letters})))


# ------------------------------------------------------------------ settings


def config(ctx: typer.Context, json: Json = False) -> None:
    """Print every setting that is in force here, and where it came from. Passwords are not shown.

    \b
    Examples:
      agentcom config
      AGENTCOM_POLICY_SWEEP_S=2 agentcom config --json
    """
    settings = describe(context_of(ctx).loaded)
    if json:
        listed = [{"key": key, "value": value, "source": source} for key, value, source in settings]
        show_json({"settings": listed})
    else:
        show(pool_view.config(settings, width()))
