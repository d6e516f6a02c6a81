"""The long-running programs: `agentcom scheduler` and `agentcom sidecar`."""

from __future__ import annotations

import gc
import logging
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import anyio
import typer
from anyio.abc import TaskStatus

from agentcom.alerts.service import watching
from agentcom.broker.connection import connected
from agentcom.cli.context import Context, context_of, run
from agentcom.errors import ConfigurationError
from agentcom.metrics.service import serving
from agentcom.model.agent import Attribute
from agentcom.notify import Notifier
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import AgentSettings
from agentcom.settings.rendering import mask_url
from agentcom.sidecar.card import card_of
from agentcom.sidecar.checks import machine_checks
from agentcom.sidecar.folder import agent_folder
from agentcom.sidecar.runners.choosing import runner_of
from agentcom.sidecar.runners.command import agent_environ
from agentcom.sidecar.service import SidecarService
from agentcom.version import VERSION

BEGINNING_PULSE_S = 0.5


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("scheduler", rich_help_panel="Run")(scheduler)
    app.command("sidecar", rich_help_panel="Run")(sidecar)


def scheduler(
    ctx: typer.Context,
    metrics: Annotated[
        str, typer.Option(metavar="ADDR", help="Serve Prometheus on HOST:PORT; a PORT alone is on loopback only.")
    ] = "",
) -> None:
    """Run a scheduler. Any number may run; one leads, the others stand by.

    \b
    Examples:
      agentcom --redis redis://10.0.0.5 scheduler
      agentcom scheduler --metrics 127.0.0.1:9464
    """
    context = context_of(ctx)
    _log_to_stderr()
    settings = context.settings

    async def serve() -> None:
        notifier = Notifier(os.environ)
        async with (
            _beginning(notifier, context.url) as begun,
            watching(context.url, settings),
            serving(context.url, settings, metrics),
            connected(context.url, wait=True) as connections,
        ):
            service = SchedulerService(connections, settings.pool, settings.policy, pulse=notifier.pulse)
            # What was loaded lives as long as it is open: to look through all of it again and again finds nothing.
            await _until_signal(lambda: service.run(on_lead=gc.freeze), None, notifier, begun)

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
    described = described_agent(context, agent)
    policy = settings.policy

    async def serve() -> None:
        notifier = Notifier(os.environ)
        with agent_folder(context.data_dir, agent) as folder:
            card = card_of(
                attributes_of(described),
                slots=described.slots,
                accepts=described.accepts,
                context_tokens=described.context_tokens,
                runner=described.runner if described.runner == "python" else described.adapter,
                version=VERSION,
            )
            async with _beginning(notifier, context.url) as begun, connected(context.url, wait=True) as connections:
                runner = runner_of(agent, described, settings, folder, os.environ)
                checks = machine_checks(folder, policy, described, agent_environ(described, os.environ))
                service = SidecarService(
                    connections, settings.pool, agent, card, runner, folder, policy, pulse=notifier.pulse, checks=checks
                )
                await _until_signal(lambda: service.run(begun), service.stop, notifier)

    run(serve)


def attributes_of(described: AgentSettings) -> dict[str, Attribute]:
    """What the agent says of itself: skills, facts from the settings, and the machine's own where none is given."""
    machine: dict[str, Attribute] = {"os": sys.platform, "machine": platform.machine()}
    return machine | described.attributes | described.skills


def described_agent(context: Context, agent: str) -> AgentSettings:
    """What the settings say of an agent.

    Raises:
        ConfigurationError: nothing.
    """
    described = context.settings.agents.get(agent)
    if described is None:
        raise ConfigurationError(*_unknown_agent(context, agent))
    return described


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


@asynccontextmanager
async def _beginning(notifier: Notifier, url: str) -> AsyncIterator[Callable[[], None]]:
    """A service that begins; it calls what this yields when it has begun, and its own loop feeds the watchdog.

    It is ready for its manager at once: to wait for a Redis that is away is its work, and no failed start.
    """
    where = mask_url(url)
    has_begun = anyio.Event()
    notifier.ready(f"beginning; Redis is {where}")

    async def turn() -> None:
        while not has_begun.is_set():
            notifier.pulse()
            with anyio.move_on_after(BEGINNING_PULSE_S):
                await has_begun.wait()
        notifier.status(f"at work; Redis is {where}")

    async with anyio.create_task_group() as group:
        group.start_soon(turn)
        yield has_begun.set
        group.cancel_scope.cancel()


async def _until_signal(
    service: Callable[[], Awaitable[None]],
    stop: Callable[[], None] | None,
    notifier: Notifier,
    on_listening: Callable[[], None] = lambda: None,
) -> None:
    """Run a service; the first signal asks it to stop, or ends it if it knows no way to stop, the second ends it."""
    async with anyio.create_task_group() as group:

        async def watch(*, task_status: TaskStatus[None]) -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                task_status.started()
                asked = False
                async for _ in signals:
                    notifier.stopping("stopping at once" if stop is None or asked else "letting running work end")
                    if stop is None or asked:
                        group.cancel_scope.cancel()
                    else:
                        stop()
                    asked = True

        await group.start(watch)
        on_listening()
        await service()
        group.cancel_scope.cancel()
