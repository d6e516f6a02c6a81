"""What work cost, added up: in the hash `costs`, by day, by day and agent, and all in all."""

from __future__ import annotations

import re

from msgspec import Struct

from agentcom.model.task import NO_USAGE, Usage

TOTAL = "total"
"""The field of all that was ever counted."""

OTHERS = "*"
"""In the place of an agent: those of a day of very many agents."""

_FIELD = re.compile(rf"{TOTAL}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(/([a-z0-9][a-z0-9._-]{{0,63}}|[{OTHERS}]))?")

TOKENS_MAX = 10**12
USD_MAX = 1e6


class Costs(Struct, omit_defaults=True):
    """Attempts that ended, and what they took.

    Attributes:
        attempts: how many ended, however.
        completed: how many of them completed their task.
        messages: orders and reports about them.
        envelope_tokens: what was put around the tasks' own text, by those that also told what they used.
        usage: what they used, as far as they told.
        seconds: how long agents worked, from their first sign of life on.
    """

    attempts: int = 0
    completed: int = 0
    messages: int = 0
    envelope_tokens: int = 0
    usage: Usage = NO_USAGE
    seconds: float = 0.0

    def add(self, other: Costs) -> None:
        """Count these, too."""
        self.attempts += other.attempts
        self.completed += other.completed
        self.messages += other.messages
        self.envelope_tokens += other.envelope_tokens
        if other.usage is not NO_USAGE:
            self.usage += other.usage
        self.seconds += other.seconds


def field_of(day: str, agent: str = "") -> str:
    """The name of the field of a day such as 2026-11-27, and of an agent on it."""
    return f"{day}/{agent}" if agent else day


def is_field(name: str) -> bool:
    """Whether a field of this name may be in the hash."""
    return _FIELD.fullmatch(name) is not None


def day_and_agent(field: str) -> tuple[str, str]:
    """The other way round. The agent is empty in the field of a whole day."""
    day, _, agent = field.partition("/")
    return day, agent


def sane(usage: Usage) -> Usage:
    """What one attempt may be said to have used: nothing less than 0, and no number that spoils every sum."""
    return Usage(
        _bounded(usage.input_tokens),
        _bounded(usage.output_tokens),
        _bounded(usage.cache_read_tokens),
        _bounded(usage.cache_write_tokens),
        _bounded(usage.reasoning_tokens),
        min(max(usage.cost_usd, 0.0), USD_MAX),
    )


def _bounded(tokens: int) -> int:
    return min(max(tokens, 0), TOKENS_MAX)
