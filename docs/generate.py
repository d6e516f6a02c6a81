"""Writes the generated parts of docs/ again: `make docs`. A test fails when they are not what this would write."""

from __future__ import annotations

import re
from pathlib import Path

from agentcom.broker.keys import TABLE
from agentcom.diagnosis import DOCUMENTED
from agentcom.model.lifecycle import diagram
from agentcom.monitor.live.keys import BINDINGS, Binding

ARCHITECTURE = Path(__file__).parent / "architecture.md"
OPERATIONS = Path(__file__).parent / "operations.md"
MONITOR = Path(__file__).parent / "monitor.md"
BLOCK = re.compile(r"(<!-- lifecycle: .*? -->\n```mermaid\n).*?(```\n<!-- end of lifecycle -->)", re.DOTALL)

KEYS = re.compile(r"(<!-- keys: .*? -->\n\n).*?(\n<!-- end of keys -->)", re.DOTALL)


FINDINGS = re.compile(r"(<!-- findings: .*? -->\n).*?(<!-- end of findings -->)", re.DOTALL)


MONITOR_KEYS = re.compile(r"(<!-- monitor keys: .*? -->\n).*?(<!-- end of monitor keys -->)", re.DOTALL)


def with_findings(text: str) -> str:
    """The page with the table of what `agentcom check` may find."""
    rows = [f"| `{rule.id}` | {rule.severity} | {rule.meaning} |" for rule in DOCUMENTED]
    table = "\n".join(["", "| finding | severity | meaning |", "|---|---|---|", *rows, "", ""])
    return _between(FINDINGS, table, text)


def with_diagram(text: str) -> str:
    """The page with the diagram of the lifecycle as it is now."""
    return _between(BLOCK, f"{diagram()}\n", text)


def with_keys(text: str) -> str:
    """The page with the table of keys as it is now."""
    rows = [f"| `{kept.name}` | {kept.type} | {kept.holds} | {kept.owner} | {kept.bounded} |" for kept in TABLE]
    head = ["| key `ac:{POOL}:…` | type | holds | written by | bound |", "|---|---|---|---|---|"]
    table = "\n".join([*head, *rows, ""])
    return _between(KEYS, table, text)


def with_monitor_keys(text: str) -> str:
    """The page with the table of the monitor's keys."""
    shown = [binding for binding in BINDINGS if "list" in binding.modes]
    rows = [f"| {_written(binding)} | {binding.meaning} |" for binding in shown]
    table = "\n".join(["", "| key | what it does |", "|---|---|", *rows, "", ""])
    return _between(MONITOR_KEYS, table, text)


def _written(binding: Binding) -> str:
    names = {" ": "space"}
    return ", ".join(f"`{names.get(name, name)}`" for name in ((binding.shown,) if binding.shown else binding.keys))


def _between(marks: re.Pattern[str], made: str, text: str) -> str:
    """The page with what was made between the marks that it has for it."""
    found, count = marks.subn(lambda block: f"{block[1]}{made}{block[2]}", text)
    assert count == 1, f"a page has lost its marks: {marks.pattern}"
    return found


if __name__ == "__main__":
    page = ARCHITECTURE.read_text(encoding="utf-8")
    ARCHITECTURE.write_text(with_keys(with_diagram(page)), encoding="utf-8")
    MONITOR.write_text(with_monitor_keys(MONITOR.read_text(encoding="utf-8")), encoding="utf-8")
    OPERATIONS.write_text(with_findings(OPERATIONS.read_text(encoding="utf-8")), encoding="utf-8")
