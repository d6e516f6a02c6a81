"""What work cost, as the pool keeps count of it in the hash `costs`: by day, by day and agent, and in total. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from agentcom.model.task import Usage

TOTAL = "total"
OTHERS = "*"
"""In the place of an agent: those of a day of very many agents."""

DAYS = 14
AGENTS_MAX = 200
"""Of more agents, only so many are asked for by name; the days' sums hold all."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cost(Struct, frozen=True, omit_defaults=True):
    """What a day, an agent's day or all days cost.

    Attributes:
        attempts: that ended.
        completed: tasks.
        messages: in streams, for all of them.
        envelope_tokens: what was put around the tasks' own texts, an estimate.
        usage: as far as agents say.
        seconds: how long agents worked.
    """

    attempts: int = 0
    completed: int = 0
    messages: int = 0
    envelope_tokens: int = 0
    usage: Usage = Usage()
    seconds: float = 0.0

    @property
    def overhead(self) -> float | None:
        """The share of what agents read anew that was no task's own text; None where nothing was counted."""
        read = self.usage.input_tokens + self.usage.cache_write_tokens
        return self.envelope_tokens / read if read else None


class Costs(Struct, frozen=True):
    """What is known of it.

    Attributes:
        total: of all days; None where nobody keeps count.
        days: by day (UTC), the last first.
        today: by agent.
    """

    total: Cost | None = None
    days: dict[str, Cost] = {}
    today: dict[str, Cost] = {}


_decoder = msgspec.json.Decoder(Cost)


def fields(now: int, agents: Iterable[str]) -> tuple[str, ...]:
    """The fields of the hash that `costs_of` reads, at a time in Unix ms."""
    today, *_ = days = _days(now)
    named = (*sorted(agents)[:AGENTS_MAX], OTHERS)
    return (TOTAL, *days, *(f"{today}/{agent}" for agent in named))


def costs_of(told: Mapping[str, bytes]) -> Costs:
    """What the fields say; one that cannot be read says nothing."""
    found: dict[str, Cost] = {}
    for field, body in told.items():
        try:
            found[field] = _decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    of_agents = {field.partition("/")[2]: cost for field, cost in found.items() if "/" in field}
    days = {field: cost for field, cost in found.items() if field != TOTAL and "/" not in field}
    return Costs(found.get(TOTAL), dict(sorted(days.items(), reverse=True)), of_agents)


def _days(now: int) -> list[str]:
    """Today and the days before it, in UTC."""
    try:
        today = (_EPOCH + timedelta(milliseconds=now)).date()
        return [(today - timedelta(days=ago)).isoformat() for ago in range(DAYS)]
    except OverflowError:
        return [TOTAL]
