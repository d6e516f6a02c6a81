"""How the commands show things: what time it is for the one who looks, and how a state looks."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from agentcom.wording import age, ago, clock

STYLES = {
    "working": "bold cyan",
    "assigned": "cyan",
    "verifying": "bold cyan",
    "blocked": "dim",
    "retry_wait": "yellow",
    "completed": "bold",
    "failed": "bold red",
    "rejected": "bold red",
    "canceled": "dim",
    "online": "",
    "stale": "yellow",
    "offline": "bold red",
    "degraded": "bold red",
    "rate_limited": "yellow",
    "cordoned": "yellow",
    "draining": "yellow",
    "input_required": "yellow",
}
"""What a state looks like, on top of its word: without colours nothing is lost."""


class Now(Struct, frozen=True):
    """The present, as the one who looks reads it.

    Attributes:
        ms: Unix time in ms.
        offset_s: what the local time zone adds to UTC at a Unix time in ms.
    """

    ms: int
    offset_s: Callable[[int], int]

    def clock(self, at: int) -> str:
        """A time of day, with the day if it is another; empty for none."""
        return clock(at, self.ms, self.offset_s(at)) if at else ""

    def ago(self, at: int) -> str:
        """How far away a time is; empty for none."""
        return ago(at, self.ms) if at else ""

    def since(self, at: int) -> str:
        """The time that passed; empty for none."""
        return age((self.ms - at) / 1000) if at else ""


def took(start_at: int, end_at: int) -> str:
    """The length of a stretch of time; empty unless both ends are known."""
    return age((end_at - start_at) / 1000) if start_at and end_at else ""
