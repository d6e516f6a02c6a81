"""What a rule found: the same for the monitor, `agentcom check` and alerts."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Severity = Literal["critical", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "notice")
"""The gravest first."""


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is wrong, or may be.

    Attributes:
        rule: its id, the same everywhere: `agent_down`, `livelock`, …
        severity: critical: work is lost, stands still or soon will; warning: a person should look; notice: to know.
        subject: what it is about: `agent:NAME`, `task:ID`, `redis`, `clock`, `pool`, or `pool:` and a part of it.
        text: what is wrong, in one line.
        gist: the same without the name of its subject, for where that stands already.
        evidence: what was seen that says so, one line each.
        next_step: what to do, in one line.
        since_at: since when; 0 means unknown.
        asks: nothing goes on there before a person has done something; they are told, whatever severity they ask for.
    """

    rule: str
    severity: Severity
    subject: str
    text: str
    gist: str = ""
    evidence: tuple[str, ...] = ()
    next_step: str = ""
    since_at: int = 0
    asks: bool = False

    @property
    def incident(self) -> str:
        """The same for the same trouble at every look: a rule and what it is about."""
        return f"{self.rule}:{self.subject}"
