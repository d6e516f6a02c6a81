"""Everything on one machine: `agentcom up`, and the demonstration."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import anyio
import typer

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import Connections, connected
from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.cli.context import CONFIG_NAME, Context, context_of, end, run
from agentcom.errors import EXIT_INTERRUPTED
from agentcom.model.agent import Attribute
from agentcom.settings import AgentSettings
from agentcom.settings.rendering import mask_url
from agentcom.supervisor.output import Interleaved
from agentcom.supervisor.programs import SCHEDULER, SERVER, programs_of, sidecar_name
from agentcom.supervisor.readiness import missing_after
from agentcom.supervisor.service import Supervisor
from agentcom.supervisor.signals import on_signals
from agentcom.wording import count

READY_PATIENCE_S = 15.0
AGENTS_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("up", rich_help_panel="Run")(up)
    app.command("demo", rich_help_panel="Run")(demo)


def up(ctx: typer.Context) -> None:
    """Run everything on this machine: a Redis of its own, a scheduler, and the agents that agentcom.toml describes.

    With --redis, AGENTCOM_REDIS or `redis` in the settings file, that server is used instead. What dies is started
    again. Ctrl-C brings running work to an end (policy.drain_s) and stops everything; a second one stops at once.

    Example: agentcom up
    """
    context = context_of(ctx)
    settings = context.settings
    data_dir = context.data_dir.absolute()
    server = None if settings.redis else EmbeddedServer(data_dir, find_server(os.environ))
    url = settings.redis if server is None else server.url
    names = ["up", SERVER, SCHEDULER, *map(sidecar_name, sorted(settings.agents))]
    output = Interleaved(sys.stderr, names, coloured=_coloured())
    programs = programs_of(
        settings.agents,
        python=sys.executable,
        config=str(context.config_path.absolute()) if context.config_path else "",
        pool=settings.pool,
        data_dir=str(data_dir),
        url=url,
        environ=os.environ,
    )
    supervisor = Supervisor(data_dir, settings.policy, server, programs, output.say)

    def stop() -> None:
        output.say("up", "stopping; running work may come to its end first. Ctrl-C again stops at once")
        supervisor.stop()

    async def serve() -> None:
        if server is None:
            async with connected(url):
                pass  # a server that cannot be used is said so before anything is started
        started_at = time.time_ns() // 1_000_000
        async with anyio.create_task_group() as group:

            def greet() -> None:
                group.start_soon(_greet, context, data_dir, server, url, started_at)

            await group.start(on_signals, stop, supervisor.hurry)
            await supervisor.run(greet)
            group.cancel_scope.cancel()

    run(serve)
    if supervisor.was_hurried:
        end(EXIT_INTERRUPTED)


async def _greet(context: Context, data_dir: Path, server: EmbeddedServer | None, url: str, started_at: int) -> None:
    """Wait until everything works, then say what there is and what to do with it."""
    settings = context.settings
    connections = Connections(url)
    try:
        store = ClientStore(connections, settings.pool)
        missing = await missing_after(store, settings.agents, started_at, READY_PATIENCE_S)
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()
    what = f"{server.binary} on {url}" if server else mask_url(url)
    lines = [
        f"AgentCom is up: pool {settings.pool}",
        f"  redis    {what}",
        f"  data     {data_dir}",
        *_agent_lines(settings.agents),
        *([f"  not heard from yet: {', '.join(missing)}"] if missing else []),
        *_advice(context),
    ]
    typer.echo("\n".join(lines))


def _agent_lines(agents: dict[str, AgentSettings]) -> list[str]:
    shown = sorted(agents.items())[:AGENTS_SHOWN]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [
        f"  {'agents' if not place else '':<8} {name:<{width}}  {_can(of)}" for place, (name, of) in enumerate(shown)
    ]
    hidden = len(agents) - len(shown)
    return lines + ([f"  {'':<8} and {hidden} more"] if hidden else [])


def _can(described: AgentSettings) -> str:
    skills: dict[str, Attribute] = dict(sorted(described.skills.items()))
    parts = [f"{name} {level:g}" for name, level in skills.items() if isinstance(level, int | float)]
    slots = [count(described.slots, "slot")] if described.slots > 1 else []
    return ", ".join([*parts, *slots]) or "no skills given"


def _advice(context: Context) -> list[str]:
    command = shlex.join(["agentcom", *_repeated_flags(context)])
    if not context.settings.agents:
        where = context.config_path or CONFIG_NAME
        return [
            f"No agents yet. Describe one in {where} and start `agentcom up` again, for example",
            "  [agents.oak]",
            '  command = ["claude", "-p", "--output-format", "stream-json", "--verbose"]   # the task comes on stdin',
            "  skills = { python = 3 }",
            f"or start one anywhere: {command} sidecar --agent NAME",
        ]
    return [
        "In another terminal:",
        f'  {command} submit "make the tests pass" --wait',
        f"  {command} tasks        {command} logs -f ID        {command} monitor",
        "Ctrl-C stops everything; no task is lost.",
    ]


def _repeated_flags(context: Context) -> list[str]:
    """The flags that a command in another terminal, started in this directory, needs to mean the same pool."""
    settings, sources = context.settings, context.loaded.sources
    flags = []
    config = context.config_path
    here = Path.cwd()
    if config is not None and (config.name != CONFIG_NAME or config.absolute().parent not in (here, *here.parents)):
        flags += ["--config", str(config)]
    for flag, key, value in (("--pool", "pool", settings.pool), ("--data-dir", "data_dir", settings.data_dir)):
        if sources[key].startswith(("--", "AGENTCOM_")):
            flags += [flag, value]
    return flags


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder, to look into it.")] = False,
    folder: Annotated[Path | None, typer.Option("--dir", help="Make it here, in a new or empty folder.")] = None,
) -> None:
    """Show the main job, in about a minute: a backlog, a git repository, three agents, and one of them is killed.

    Example: agentcom demo --keep
    """
    from rich.console import Console

    from agentcom.demo.run import demonstrate

    end(demonstrate(os.environ, Console(), keep=keep, folder=folder))
