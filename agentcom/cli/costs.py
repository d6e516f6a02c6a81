"""What work cost: `agentcom costs`."""

from __future__ import annotations

from typing import Annotated

import typer

from agentcom.cli.context import context_of, run
from agentcom.cli.screen import now, show, show_json, warn, width
from agentcom.cli.tasks import Json, read_tasks
from agentcom.model.costs import Costs
from agentcom.model.task import ReadRecord
from agentcom.monitor import costs_view
from agentcom.wording import count


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("costs", rich_help_panel="Look")(costs)


def costs(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=3_660, metavar="N", help="The last so many days, in UTC.")] = 7,
    agent: Annotated[str, typer.Option(metavar="NAME", help="Only what this agent took.")] = "",
    json: Json = False,
) -> None:
    """Say what work cost: by day, by agent, and which tasks took most; tokens by kind, money, and time.

    Attempts count when they have ended, however they did; tokens and money as far as agents tell. What coordination
    took is measured against the work: tokens put around a task's own text, and messages for each completed task.

    With --json: "schema" 1, "days", "agents", "tasks", "total" and "coordination".

    \b
    Examples:
      agentcom costs
      agentcom costs --days 30 --agent oak
      agentcom costs --json | jq .total.usage.cost_usd
    """
    context = context_of(ctx)
    since = costs_view.first_day(now().ms, days)

    async def read() -> tuple[dict[str, Costs], list[ReadRecord], str]:
        async with context.client() as client:
            fields = await client.store.costs(since)
            return fields, *await read_tasks(client, every=True)

    fields, records, remark = run(read)
    found = costs_view.bill(fields, records, since, agent)
    if json:
        show_json({"pool": context.settings.pool, "since": since} | costs_view.document(found))
    elif found.days:
        show(costs_view.lines(found, width()))
    else:
        whose = f" of {agent}" if agent else ""
        warn(f"no attempt{whose} has ended in the last {count(days, 'day')}")
    if remark:
        warn(f"agentcom: {remark}")
