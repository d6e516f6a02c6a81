"""An alert in words: for people as a title and a text, for a program as a document. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from agentcom.alerts.incidents import Incident
from agentcom.diagnosis.finding import Severity
from agentcom.wording import age, clean, one_line, utc_time

TITLE_WIDTH = 200
TEXT_MAX = 4_000
SCHEMA = 1
NAMES_MAX = 5
"""So many are named in the title of a message about several incidents, and"""

SHOWN_MAX = 20
"""so many are shown in its text."""

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
        incidents: all that it is about: this one, unless very many of one rule are told, or over, at once.
        rule, subject: what was found, and about what, the first's of several; empty for a note and a test.
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
    incidents: tuple[str, ...] = ()
    rule: str = ""
    subject: str = ""
    severity: Severity = "critical"
    since_at: int = 0
    over_at: int = 0
    schema: int = SCHEMA


def alert_of(incident: Incident, pool: str, host: str, others: Sequence[Incident] = ()) -> Alert:
    """What is told of an incident in its stage, and of others of its rule in the same stage."""
    all_ = (incident, *others)
    finding = incident.finding
    is_over = incident.stage == "over"
    over_at = max(one.gone_at or one.over_at for one in all_) if is_over else 0
    since_at = min(one.since_at for one in all_)
    if others:
        said, lines = _of_several(all_)
    elif is_over:
        said = f"over after {age((over_at - since_at) / 1000)}: {finding.text}"
        lines = _of_end(incident, over_at)
    else:
        said = f"{finding.severity}: {finding.text}"
        lines = _of_problem(incident)
    return Alert(
        kind="over" if is_over else "problem",
        pool=pool,
        host=host,
        title=_titled(pool, said),
        text="\n".join(clean(line) for line in (*lines, f"Told by {host}.") if line),
        incident=finding.incident,
        incidents=tuple(one.finding.incident for one in all_),
        rule=finding.rule,
        subject=finding.subject,
        severity=finding.severity,
        since_at=since_at,
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


def _of_several(incidents: Sequence[Incident]) -> tuple[str, tuple[str, ...]]:
    """What is said of several at once, in a few words and in lines: the first of them, and how many there are."""
    finding = incidents[0].finding
    count = len(incidents)
    names = ", ".join(one.finding.subject.partition(":")[2] for one in incidents[:NAMES_MAX])
    more = f" and {count - NAMES_MAX:,} more" if count > NAMES_MAX else ""
    is_over = incidents[0].stage == "over"
    said = f"{'over' if is_over else finding.severity}: {count:,} times {finding.rule}: {names}{more}"
    shown = [one.finding.text for one in incidents[:SHOWN_MAX]]
    rest = f"… and {count - SHOWN_MAX:,} more." if count > SHOWN_MAX else ""
    step = f"What to do: {finding.next_step}" if finding.next_step else ""
    end = ("These are not found any more.",) if is_over else (step, "See all that is wrong with `agentcom check`.")
    return said, (*shown, rest, *end)


def _of_problem(incident: Incident) -> tuple[str, ...]:
    finding = incident.finding
    step = f"What to do: {finding.next_step}" if finding.next_step else ""
    return (finding.text, *finding.evidence, step, f"Since {utc_time(incident.since_at)}.")


def _of_end(incident: Incident, over_at: int) -> tuple[str, ...]:
    since, until = utc_time(incident.since_at), utc_time(over_at)
    return (incident.finding.text, f"This is not found any more: it was from {since} to {until}.")
