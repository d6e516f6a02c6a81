"""When a unit that failed is worth an alert: once systemd has given it up, and once for each time that it did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agentcom.errors import UsageError
from agentcom.supervisor.unit_state import DOWN, state_of

_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,200}")


@dataclass(frozen=True, slots=True)
class Incident:
    """A unit that is down.

    Args:
        unit: its name; fit for a file's.
        id: of the start that failed last; another for each incident.
        title: what happened, in a few words.
        text: why, and what to do.
    """

    unit: str
    id: str
    title: str
    text: str


def incident_of(unit: str, properties: Mapping[str, str], *, system: bool) -> Incident | None:
    """What there is to tell of a unit with these properties; None if it is not down.

    systemd before 230 and since 254 starts what `OnFailure=` names at every failure, also when it then restarts the
    unit; those between, only when it has given it up. The state of the unit itself is the same in all of them.

    Raises:
        UsageError: that is no unit's name.
    """
    if not _UNIT.fullmatch(unit) or unit.startswith("."):
        raise UsageError(f"{unit!r} is not the name of a unit", "Name one as `agentcom service status` does")
    name = unit.removesuffix(".service")
    state = state_of(f"{name}.service", properties, system=system)
    if not state.down:
        return None
    text = f"{state.words.removeprefix(DOWN)}. {state.advice}"
    return Incident(name, properties.get("InvocationID", ""), f"{name} is down", text)
