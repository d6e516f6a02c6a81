"""What work cost, as people and scripts see it. Pure: sums in, lines and documents out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from rich.text import Text

from agentcom.ids import shorten
from agentcom.model.costs import TOTAL, Costs, day_and_agent
from agentcom.model.task import NO_USAGE, ReadRecord, Usage
from agentcom.monitor.table import Column, lay_out, said
from agentcom.monitor.task_view import was_with
from agentcom.wording import LONGEST_S, age, dollars, one_line

OVERHEAD_MAX = 0.2
"""Coordination may take this share of the tokens of the work,"""

MESSAGES_MAX = 5
"""and so many messages for each completed task."""

TASKS_SHOWN = 10

_NUMBERS = (
    Column("ATTEMPTS", right=True),
    Column("DONE", right=True),
    Column("INPUT", rank=1, right=True),
    Column("OUTPUT", rank=1, right=True),
    Column("CACHE READ", rank=2, right=True),
    Column("CACHE WRITE", rank=2, right=True),
    Column("REASONING", rank=3, right=True),
    Column("COST", right=True),
    Column("WORKED", rank=3, right=True),
)
_TASK = (Column("TASK"), *_NUMBERS[:1], *_NUMBERS[2:-1], Column("STATE", rank=4), Column("TITLE", least=16))


class Bill(Struct, frozen=True):
    """What the work of some days cost.

    Attributes:
        days: by day, the latest first.
        agents: by agent, over these days, the dearest first.
        total: over these days.
        tasks: those that cost most, of the ones that are kept and changed on these days.
    """

    days: dict[str, Costs]
    agents: dict[str, Costs]
    total: Costs
    tasks: list[ReadRecord]


def first_day(now: int, days: int) -> str:
    """The first of the last so many days, today being one of them; in UTC, as they are counted."""
    today = datetime.fromtimestamp(now / 1000, UTC).date()
    return (today - timedelta(days=days - 1)).isoformat()


def bill(fields: Mapping[str, Costs], records: Iterable[ReadRecord], since: str, agent: str = "") -> Bill:
    """What the work since a day cost, of all agents or of one."""
    days: dict[str, Costs] = {}
    agents: dict[str, Costs] = {}
    for field, costs in sorted(fields.items(), reverse=True):
        day, name = day_and_agent(field)
        if field == TOTAL or day < since or not name or agent not in ("", name):
            continue
        days.setdefault(day, Costs()).add(costs)
        agents.setdefault(name, Costs()).add(costs)
    total = Costs()
    for costs in days.values():
        total.add(costs)
    dearest = dict(sorted(agents.items(), key=lambda item: (*_rank(item[1].usage), item[0])))
    began_at = int(datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp() * 1000)
    spent = [
        record
        for record in records
        if record.spent != NO_USAGE and record.changed_at >= began_at and (not agent or was_with(record, agent))
    ]
    return Bill(days, dearest, total, sorted(spent, key=lambda record: _rank(record.spent)))


def _rank(usage: Usage) -> tuple[float, int]:
    return -usage.cost_usd, -usage.new_tokens


def overhead(costs: Costs) -> float | None:
    """Tokens of what was put around tasks, as a share of what the work took; None where nobody told what it took."""
    tokens = costs.usage.new_tokens
    return costs.envelope_tokens / tokens if tokens else None


def messages_a_task(costs: Costs) -> float | None:
    """Orders and reports for each task that was completed; None if none was."""
    return costs.messages / costs.completed if costs.completed else None


def is_lean(costs: Costs) -> bool:
    """Whether coordination takes no more than it may, as far as that is known."""
    share, messages = overhead(costs), messages_a_task(costs)
    return (share is None or share < OVERHEAD_MAX) and (messages is None or messages <= MESSAGES_MAX)


# -------------------------------------------------------------------- lines


def lines(found: Bill, width: int | None) -> list[Text]:
    """All of it, for people."""
    tasks = found.tasks[:TASKS_SHOWN]
    names = shorten({record.spec.id for record in tasks})
    day_rows = [[said(day), *_row(costs)] for day, costs in found.days.items()]
    agent_rows = [[said(name), *_row(costs)] for name, costs in found.agents.items()]
    task_rows = [_task_row(record, names[record.spec.id]) for record in tasks]
    told = [*lay_out((Column("DAY"), *_NUMBERS), [*day_rows, [said("all"), *_row(found.total)]], width), Text()]
    told += [*lay_out((Column("AGENT"), *_NUMBERS), agent_rows, width), Text()]
    if task_rows:
        told += [*lay_out(_TASK, task_rows, width), Text()]
    return [*told, said(sentence(found.total))]


def sentence(total: Costs) -> str:
    """How much of it was coordination, and whether that is within its bounds."""
    share, messages = overhead(total), messages_a_task(total)
    tokens = f"{share:.1%} of the tokens" if share is not None else "no agent told its tokens"
    per_task = f"{messages:.1f} messages a completed task" if messages is not None else "no task completed"
    verdict = "within" if is_lean(total) else "over"
    return f"coordination: {tokens}, {per_task}; {verdict} its bounds of {OVERHEAD_MAX:.0%} and {MESSAGES_MAX}"


def _row(costs: Costs) -> list[Text]:
    worked = age(min(costs.seconds, LONGEST_S)) if costs.seconds >= 1 else ""
    return [said(f"{costs.attempts:,}"), said(f"{costs.completed:,}"), *_usage(costs.usage), said(worked)]


def _usage(usage: Usage) -> list[Text]:
    kinds = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens,
             usage.reasoning_tokens)  # fmt: skip
    return [said(f"{tokens:,}" if tokens else "") for tokens in kinds] + [said(dollars(usage.cost_usd))]


def _task_row(record: ReadRecord, name: str) -> list[Text]:
    title = one_line(record.spec.heading, 200)
    return [said(name, "bold"), said(record.generation), *_usage(record.spent), said(record.state), said(title)]


# ---------------------------------------------------------------- documents


def document(found: Bill) -> dict[str, Any]:
    """All of it, for scripts."""
    return {
        "days": [{"day": day} | _costs(costs) for day, costs in found.days.items()],
        "agents": [{"agent": name} | _costs(costs) for name, costs in found.agents.items()],
        "tasks": [_task(record) for record in found.tasks[:TASKS_SHOWN]],
        "total": _costs(found.total),
        "coordination": {
            "overhead": overhead(found.total),
            "overhead_max": OVERHEAD_MAX,
            "messages_a_task": messages_a_task(found.total),
            "messages_max": MESSAGES_MAX,
            "lean": is_lean(found.total),
        },
    }


def _costs(costs: Costs) -> dict[str, Any]:
    return {
        "attempts": costs.attempts,
        "completed": costs.completed,
        "messages": costs.messages,
        "envelope_tokens": costs.envelope_tokens,
        "worked_s": round(costs.seconds, 3),
        "usage": usage_document(costs.usage),
    }


def _task(record: ReadRecord) -> dict[str, Any]:
    return {
        "id": record.spec.id,
        "title": record.spec.heading,
        "state": record.state,
        "attempts": record.generation,
        "spent": usage_document(record.spent),
    }


def usage_document(usage: Usage) -> dict[str, Any]:
    """All kinds of tokens, and the cost, also where they are 0."""
    return msgspec.structs.asdict(usage)
