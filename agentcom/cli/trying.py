"""`agentcom agent try`: what a sidecar would find out about an agent of this machine, before it is given work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import anyio
import typer

from agentcom.cli.agent import agent_app
from agentcom.cli.context import EXIT_FAILED, EXIT_OK, Context, context_of, end, run
from agentcom.cli.screen import tell
from agentcom.cli.services import described_agent
from agentcom.model.task import Usage
from agentcom.sidecar.checks import machine_checks
from agentcom.sidecar.runners.base import Runner
from agentcom.sidecar.runners.choosing import runner_of
from agentcom.sidecar.runners.command import CommandRunner, agent_environ
from agentcom.sidecar.runners.turnend import TurnEnd
from agentcom.wording import one_line

WIDTH = 300


def register(_: typer.Typer) -> None:
    """Add the command to those about agents."""
    agent_app.command("try")(try_out)


def try_out(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(metavar="NAME", help="An agent of agentcom.toml, on this machine.")],
    canary: Annotated[
        bool,
        typer.Option("--canary", help="Also wake it for one word: that reaches its model, and costs tokens."),
    ] = False,
    limit: Annotated[float, typer.Option("--limit", min=1, help="Seconds that each step may take.")] = 120.0,
) -> None:
    """Test an agent as its sidecar would: the disk, the repository, its program, and with --canary its model.

    \b
    Examples:
      agentcom agent try oak
      agentcom agent try oak --canary
    """
    context = context_of(ctx)

    async def whole() -> int:
        code = EXIT_OK
        with tempfile.TemporaryDirectory(prefix="agentcom-try-") as folder:
            async for step, problem, told in _steps(context, agent, Path(folder), limit, canary=canary):
                more = one_line(problem or told, WIDTH)
                tell(f"{'✗' if problem else '✓'} {step}{': ' if more else ''}{more}")
                code = EXIT_FAILED if problem else code
        return code

    end(run(whole))


async def _steps(
    context: Context, agent: str, folder: Path, limit_s: float, *, canary: bool
) -> AsyncIterator[tuple[str, str, str]]:
    """Each step with what is wrong, or else with what is worth knowing."""
    settings = context.settings
    described = described_agent(context, agent)
    own = folder / "agents" / agent
    own.mkdir(parents=True)
    runner = runner_of(agent, described, settings, own, os.environ)
    checks = machine_checks(own, settings.policy, described, agent_environ(described, os.environ))
    for step, check in {**checks, "the agent's program": runner.self_test}.items():
        problem = f"no answer within {limit_s:g} s"
        with anyio.move_on_after(limit_s):
            problem = await check()
        yield step.replace(str(own), "of its own"), problem, ""
    if not canary:
        return
    problem, told = await _word_of(runner, own, limit_s)
    yield "its model", problem, told


async def _word_of(runner: Runner, folder: Path, limit_s: float) -> tuple[str, str]:
    """What is wrong when it is woken for a word, or else what it says."""
    if not isinstance(runner, CommandRunner):
        return "", "none: it is a Python function"
    ended: TurnEnd | None = None
    with anyio.move_on_after(limit_s) as scope:
        ended = await runner.canary(folder)
    if scope.cancelled_caught:
        return f"no answer within {limit_s:g} s", ""
    if ended is None:
        return "", "its adapter knows no turn to try it with"
    if ended.outcome.result != "completed":
        return f"{ended.outcome.reason}: {ended.outcome.detail}", ""
    return "", f"answers {ended.outcome.summary!r}{_cost(ended.usage)}"


def _cost(usage: Usage) -> str:
    return f" ({usage.tokens:,} tokens, ${usage.cost_usd:.4f})" if usage.tokens else ""
