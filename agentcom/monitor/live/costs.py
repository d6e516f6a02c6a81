"""What work cost, as the pool keeps count of it in the hash `costs`: by day, by day and agent, and in total. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from agentcom.model.codec import decode_costs
from agentcom.model.costs import OTHERS, TOTAL, Costs, day_and_agent, field_of

DAYS = 14
AGENTS_MAX = 200
"""Of more agents, only so many are asked for by name; the days' sums hold all."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Known(Struct, frozen=True):
    """What is known of it.

    Attributes:
        total: of all days; None where nobody keeps count.
        days: by day (UTC), the last first.
        today: by agent.
    """

    total: Costs | None = None
    days: dict[str, Costs] = {}
    today: dict[str, Costs] = {}


def fields(now: int, agents: Iterable[str]) -> tuple[str, ...]:
    """The fields of the hash that `costs_of` reads, at a time in Unix ms."""
    today, *_ = days = _days(now)
    named = (*sorted(agents)[:AGENTS_MAX], OTHERS)
    return (TOTAL, *days, *(field_of(today, agent) for agent in named))


def costs_of(told: Mapping[str, bytes]) -> Known:
    """What the fields say; one that cannot be read says nothing."""
    found: dict[str, Costs] = {}
    for field, body in told.items():
        try:
            found[field] = decode_costs(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    named = [(*day_and_agent(field), cost) for field, cost in found.items() if field != TOTAL]
    of_agents = {agent: cost for _, agent, cost in named if agent}
    days = {day: cost for day, agent, cost in named if not agent}
    return Known(found.get(TOTAL), dict(sorted(days.items(), reverse=True)), of_agents)


def _days(now: int) -> list[str]:
    """Today and the days before it, in UTC."""
    try:
        today = (_EPOCH + timedelta(milliseconds=now)).date()
        return [(today - timedelta(days=ago)).isoformat() for ago in range(DAYS)]
    except OverflowError:
        return [TOTAL]
