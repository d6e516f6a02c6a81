"""What a person does with agents: take one out of service and back, and forgive it what it is degraded for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import anyio
import typer

from agentcom.cli import asking
from agentcom.cli.context import EXIT_FAILED, EXIT_OK, context_of, end, run
from agentcom.cli.screen import tell, warn
from agentcom.cli.submission import duration_s
from agentcom.client import Client
from agentcom.errors import AgentComError, UsageError
from agentcom.model.agent import AgentRecord
from agentcom.monitor.wishes import Wish, cordoned, drained, forgiven, resumed
from agentcom.wording import one_line

LOOK_S = 0.5
"""How often who waits for an agent to be empty looks."""

agent_app = typer.Typer(no_args_is_help=True, help="Take agents out of service, and back; forgive them.")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Agents, as `agentcom agents` lists them.")]


class NoSuchAgent(AgentComError):
    """The pool knows no agent of this name."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(agent_app, name="agent", rich_help_panel="Run")


@agent_app.command("cordon")
def cordon(ctx: typer.Context, names: Names) -> None:
    """Give agents no more work. What they have they keep; `agentcom agent resume` undoes it.

    \b
    Examples:
      agentcom agent cordon oak
      agentcom agent cordon oak elm
    """
    _ask(ctx, names, cordoned)


@agent_app.command("drain")
def drain(
    ctx: typer.Context,
    names: Names,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until what they have came to an end.")] = False,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="With --wait: give up after so long.")] = None,
) -> None:
    """Give agents no more work, and let what they have come to its end, before a machine is worked on.

    \b
    Examples:
      agentcom agent drain oak --wait && ssh oak sudo reboot
      agentcom agent drain oak --wait --timeout 1h
    """
    if timeout is not None and not wait:
        raise UsageError("--timeout needs --wait")
    limit_s = duration_s("--timeout", timeout) if timeout is not None else None
    context = context_of(ctx)

    async def whole() -> int:
        async with context.client() as client:
            before = await _known(client, names)
            wishes = [drained(agent) for agent in before]
            answers = await asking.answers_to(client, wishes)
            code = asking.tell_all(wishes, answers)
            if not wait or code != EXIT_OK:
                return code
            if not all(taken for taken, _ in answers):
                return EXIT_FAILED
            return await _until_empty(client, [agent.name for agent in before], limit_s)

    end(run(whole))


@agent_app.command("resume")
def resume(ctx: typer.Context, names: Names) -> None:
    """Undo cordon and drain: the agents are given work again, unless something else keeps them from it.

    Example: agentcom agent resume oak
    """
    _ask(ctx, names, resumed)


@agent_app.command("reset")
def reset(ctx: typer.Context, names: Names) -> None:
    """Forget what agents are degraded or rate limited for, because somebody mended it.

    What an agent's own self-test finds stays true until its next one.

    Example: agentcom agent reset oak
    """
    _ask(ctx, names, forgiven)


def _ask(ctx: typer.Context, names: Sequence[str], wish: Callable[[AgentRecord], Wish]) -> None:
    context = context_of(ctx)

    async def whole() -> int:
        async with context.client() as client:
            before = await _known(client, names)
            return await asking.ask(client, [wish(agent) for agent in before])

    end(run(whole))


async def _known(client: Client, names: Sequence[str]) -> list[AgentRecord]:
    """The records of these agents, each once.

    Raises:
        NoSuchAgent: there is none of a name; nothing was asked for.
    """
    known = {agent.name: agent for agent in await client.agents()}
    for name in names:
        if name not in known:
            problem = f"pool {client.pool!r} has no agent {one_line(name, 60)!r}"
            raise NoSuchAgent(problem, "`agentcom agents` lists those that it has")
    return [known[name] for name in dict.fromkeys(names)]


# ------------------------------------------------------------------ waiting


async def _until_empty(client: Client, names: Sequence[str], limit_s: float | None) -> int:
    """Wait until these agents have nothing, and say so of each; the exit code."""
    waiting = dict.fromkeys(names)
    code = EXIT_OK
    with anyio.move_on_after(limit_s):
        while True:
            found = {agent.name: agent for agent in await client.agents()}
            for name in list(waiting):
                agent = found.get(name)
                if agent is not None and agent.running and agent.draining:
                    continue
                del waiting[name]
                if agent is not None and agent.running:
                    warn(f"agentcom: {name} was put back into service, and is not empty")
                    code = EXIT_FAILED
                else:
                    tell(f"{name} is empty")
            if not waiting:
                return code
            await anyio.sleep(LOOK_S)
    warn(f"agentcom: not empty in time: {', '.join(waiting)}; no new work goes there all the same")
    return EXIT_FAILED
