"""Names one start of a sidecar, so that a later start compares greater, and the greater one works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from agentcom.errors import ConfigurationError

_MADE_AT = re.compile(r"sc-(\d{1,15})-")


def next_incarnation(starts: Iterable[str], now: int, pid: int, random_hex: Callable[[int], str]) -> str:
    """The name of this start: greater than those of all the others in its folder, also if the clock was set back.

    Args:
        starts: names of earlier starts.
        now: the time, in Unix ms.
        pid: of the sidecar.
        random_hex: a text of twice so many random hexadecimal digits.
    """
    made = (_MADE_AT.match(start) for start in starts)
    last_at = max((int(found[1]) for found in made if found), default=0)
    return f"sc-{max(now, last_at + 1):013d}-{pid}-{random_hex(2)}"


def superseded(agent: str, newer: str, stale_s: float) -> ConfigurationError:
    """What an older sidecar stops with.

    Args:
        agent: whose name both have.
        newer: the start that works now.
        stale_s: how long after its last beat one that was killed still counts.
    """
    return ConfigurationError(
        f"a newer sidecar of agent {agent!r} has taken over ({newer}), so this one stops",
        f"Give each sidecar a name of its own; if that one was killed, wait {stale_s:.0f} s",
    )
