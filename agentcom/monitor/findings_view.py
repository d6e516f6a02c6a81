"""What is wrong, as people and scripts see it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.text import Text

from agentcom.diagnosis import SEVERITIES, Finding, Severity
from agentcom.monitor.table import cut, said

MARKS: dict[Severity, str] = {"critical": "!", "warning": "~", "notice": "·"}
"""What a line begins with, so that a severity is seen without colours, too."""

STYLES: dict[Severity, str] = {"critical": "bold red", "warning": "yellow", "notice": ""}
WORD_CELLS = max(map(len, SEVERITIES))
MARGIN = 4


def at_least(findings: Iterable[Finding], severity: Severity) -> list[Finding]:
    """Those of this severity or graver."""
    counted = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return [finding for finding in findings if finding.severity in counted]


def lines(findings: Sequence[Finding], width: int | None, most: int | None = None) -> list[Text]:
    """Each in one line, and in the next one what to do; of more than `most`, that there are more."""
    shown = findings if most is None else findings[:most]
    told = [line for finding in shown for line in _entry(finding, width)]
    if len(shown) < len(findings):
        told.append(said(f"first {len(shown):,} of {len(findings):,}: agentcom check shows all", "dim"))
    return told


def _entry(finding: Finding, width: int | None) -> list[Text]:
    severity = finding.severity
    head = Text.assemble(
        (f"{MARKS[severity]} {severity:<{WORD_CELLS}}  ", STYLES[severity]),
        said(finding.rule, "bold"),
        said(f"  {finding.text}"),
    )
    step = [said(f"{'':<{MARGIN}}{finding.next_step}", "dim")] if finding.next_step else []
    return [cut(line, width) for line in (head, *step)]


def summary(findings: Iterable[Finding]) -> str:
    """How many there are of each severity: `1 critical, 3 warning`; empty if there is none."""
    counted = Counter(finding.severity for finding in findings)
    return ", ".join(f"{counted[severity]:,} {severity}" for severity in SEVERITIES if counted[severity])


def document(finding: Finding) -> dict[str, Any]:
    """A finding for scripts. `since_at` is Unix ms; 0 means unknown."""
    empty = {"evidence": [], "next_step": "", "since_at": 0}
    told: dict[str, Any] = msgspec.to_builtins(finding)
    return empty | told | {"incident": finding.incident}
