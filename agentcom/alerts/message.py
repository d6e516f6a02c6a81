"""An alert in words: for people as a title and a text, for a program as a document. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from agentcom.alerts.incidents import Incident
from agentcom.diagnosis.finding import Severity
from agentcom.wording import age, clean, one_line, utc_time

TITLE_WIDTH = 200
TEXT_MAX = 4_000
SCHEMA = 1

Kind = Literal["problem", "over", "note", "test"]


class Alert(Struct, frozen=True, kw_only=True):
    """What one message says; this is also the JSON that the command of `[alerts]` gets.

    Attributes:
        kind: problem: something is wrong; over: it is not any more; note: from AgentCom itself; test: nothing is wrong.
        pool: the pool that it is about.
        host: the machine that tells.
        title: in a few words.
        text: the rest, in lines.
        incident: the same for a problem and its end; empty for a note and a test.
        rule, subject: what was found, and about what; empty for a note and a test.
        severity: of what was found.
        since_at, over_at: since when it is wrong, and when it was over, in Unix ms; 0 means unknown.
        schema: raised when a field changes its meaning.
    """

    kind: Kind
    pool: str
    host: str
    title: str
    text: str
    incident: str = ""
    rule: str = ""
    subject: str = ""
    severity: Severity = "critical"
    since_at: int = 0
    over_at: int = 0
    schema: int = SCHEMA


def alert_of(incident: Incident, pool: str, host: str) -> Alert:
    """What is told of an incident in its stage."""
    finding = incident.finding
    is_over = incident.stage == "over"
    over_at = incident.gone_at or incident.over_at if is_over else 0
    lasted = age((over_at - incident.since_at) / 1000)
    lines = _of_end(incident, over_at) if is_over else _of_problem(incident)
    said = f"over after {lasted}: {finding.text}" if is_over else f"{finding.severity}: {finding.text}"
    return Alert(
        kind="over" if is_over else "problem",
        pool=pool,
        host=host,
        title=_titled(pool, said),
        text="\n".join(clean(line) for line in (*lines, f"Told by {host}.") if line),
        incident=finding.incident,
        rule=finding.rule,
        subject=finding.subject,
        severity=finding.severity,
        since_at=incident.since_at,
        over_at=over_at,
    )


def note(kind: Literal["note", "test"], pool: str, host: str, title: str, text: str) -> Alert:
    """A message that is about no incident."""
    return Alert(
        kind=kind,
        pool=pool,
        host=host,
        title=_titled(pool, title),
        text=clean(text[:TEXT_MAX], keep_lines=True),
        severity="notice" if kind == "test" else "critical",
    )


def _titled(pool: str, text: str) -> str:
    return one_line(f"AgentCom {pool}: {text}", TITLE_WIDTH)


def _of_problem(incident: Incident) -> tuple[str, ...]:
    finding = incident.finding
    step = f"What to do: {finding.next_step}" if finding.next_step else ""
    return (finding.text, *finding.evidence, step, f"Since {utc_time(incident.since_at)}.")


def _of_end(incident: Incident, over_at: int) -> tuple[str, ...]:
    since, until = utc_time(incident.since_at), utc_time(over_at)
    return (incident.finding.text, f"This is not found any more: it was from {since} to {until}.")
