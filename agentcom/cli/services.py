"""The long-running programs: `agentcom scheduler` and `agentcom sidecar`."""

from __future__ import annotations

import gc
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import anyio
import typer

from agentcom.broker.connection import connected
from agentcom.cli.context import Context, context_of, run
from agentcom.errors import ConfigurationError
from agentcom.model.agent import Attribute
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import AgentSettings
from agentcom.sidecar.folder import agent_folder
from agentcom.sidecar.housekeeping import remove_old
from agentcom.sidecar.runners.base import Runner
from agentcom.sidecar.runners.command import CommandRunner
from agentcom.sidecar.runners.python import PythonRunner, load_handler
from agentcom.sidecar.service import SidecarService, card_of
from agentcom.version import VERSION


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("scheduler", rich_help_panel="Run")(scheduler)
    app.command("sidecar", rich_help_panel="Run")(sidecar)


def scheduler(ctx: typer.Context) -> None:
    """Run a scheduler. Any number may run; one leads, the others stand by.

    Example: agentcom --redis redis://10.0.0.5 scheduler
    """
    context = context_of(ctx)
    _log_to_stderr()
    settings = context.settings

    async def serve() -> None:
        async with connected(context.url, wait=True) as connections:
            service = SchedulerService(connections, settings.pool, settings.policy)
            # What was loaded lives as long as it is open: to look through all of it again and again finds nothing.
            await _until_signal(lambda: service.run(on_lead=gc.freeze), None)

    run(serve)


def sidecar(
    ctx: typer.Context,
    agent: Annotated[str, typer.Option("--agent", help="Name of the agent, as in agentcom.toml.")],
) -> None:
    """Run the sidecar of one agent that the settings file describes.

    The first SIGTERM or Ctrl-C lets running work end (policy.drain_s) and hands the rest back; a second stops at once.

    Example: agentcom sidecar --agent oak
    """
    context = context_of(ctx)
    _log_to_stderr()
    settings = context.settings
    described = settings.agents.get(agent)
    if described is None:
        raise ConfigurationError(*_unknown_agent(context, agent))
    policy = settings.policy

    async def serve() -> None:
        with agent_folder(context.data_dir, agent) as folder:
            remove_old(folder, time.time(), policy.retention_s)
            card = card_of(
                attributes_of(described),
                slots=described.slots,
                accepts=described.accepts,
                context_tokens=described.context_tokens,
                runner=described.runner,
                version=VERSION,
            )
            async with connected(context.url, wait=True) as connections:
                runner: Runner = (
                    PythonRunner(load_handler(described.handler))
                    if described.runner == "python"
                    else CommandRunner(agent, described, folder, os.environ, policy.grace_s)
                )
                service = SidecarService(connections, settings.pool, agent, card, runner, folder, policy)
                await _until_signal(service.run, service.stop)

    run(serve)


def attributes_of(described: AgentSettings) -> dict[str, Attribute]:
    """What the agent says of itself: skills, facts from the settings, and the machine's own where none is given."""
    machine: dict[str, Attribute] = {"os": sys.platform, "machine": platform.machine()}
    return machine | described.attributes | described.skills


def _unknown_agent(context: Context, agent: str) -> tuple[str, str]:
    known = ", ".join(sorted(context.settings.agents))
    where = context.config_path or "the settings (no agentcom.toml was found)"
    if known:
        return f"agent {agent!r} is not in {where}", f"It describes: {known}"
    return f"agent {agent!r} is not in {where}", f"Add [agents.{agent}] with a command"


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s"
    )


async def _until_signal(service: Callable[[], Awaitable[None]], stop: Callable[[], None] | None) -> None:
    """Run a service; the first signal asks it to stop, or ends it if it knows no way to stop, the second ends it."""
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                asked = False
                async for _ in signals:
                    if stop is None or asked:
                        group.cancel_scope.cancel()
                    else:
                        stop()
                    asked = True

        group.start_soon(watch)
        await service()
        group.cancel_scope.cancel()
