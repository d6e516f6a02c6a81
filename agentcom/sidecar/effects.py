"""What a sidecar's machine wants done, and the phases that an attempt comes through: plain data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from agentcom.model.messages import AnyReport, Assign

Phase = Literal["preparing", "working", "verifying"]
"""Of an attempt: its workspace is made ready; the agent works; its work is checked and published."""


class Start(Struct, frozen=True):
    """Wake the agent for this order."""

    entry: str
    order: Assign


class Adopt(Struct, frozen=True):
    """Go on with what an earlier start of this sidecar began for this order."""

    entry: str
    order: Assign


class End(Struct, frozen=True):
    """End what runs for this order, with all of its processes."""

    entry: str


class Disown(Struct, frozen=True):
    """This order is another's now: what runs for it must not publish anything any more."""

    entry: str


class Send(Struct, frozen=True):
    """Send these reports and settle these orders, in one step; what is settled is held no more."""

    reports: list[AnyReport] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)


class Forget(Struct, frozen=True):
    """This order is another's now: nothing of it may be settled, and nothing reported but what it used."""

    entry: str


Effect = Start | Adopt | End | Disown | Send | Forget
