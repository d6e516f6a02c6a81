"""What is wrong, as people and scripts see it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace
from rich.text import Text

from agentcom.diagnosis import Finding, Server
from agentcom.monitor import findings_view, plain
from tests.diagnosis.pools import AT, BUSY


def text(lines: Iterable[Text]) -> str:
    return "\n".join(line.plain for line in lines)


def findings(number: int) -> list[Finding]:
    return [
        Finding(rule="lost", severity="warning", subject=f"agent:a{n}", text=f"a{n} is stale", next_step="look at it")
        for n in range(number)
    ]


def test_findings_are_two_lines_each_and_of_many_the_first_are_shown() -> None:
    assert (
        text(findings_view.lines(findings(3), None, 2))
        == """\
~ warning   lost  a0 is stale
    look at it
~ warning   lost  a1 is stale
    look at it
first 2 of 3: agentcom check shows all"""
    )
    assert text(findings_view.lines(findings(1), 20)) == "~ warning   lost  a…\n    look at it"
    assert findings_view.lines([], None) == []


def test_a_finding_for_scripts_has_every_field_and_names_its_incident() -> None:
    assert findings_view.document(findings(1)[0]) == {
        "rule": "lost",
        "severity": "warning",
        "subject": "agent:a0",
        "text": "a0 is stale",
        "evidence": [],
        "next_step": "look at it",
        "since_at": 0,
        "incident": "lost:agent:a0",
    }


def test_the_monitor_for_scripts_has_the_findings_and_what_redis_says_of_itself() -> None:
    server = Server(product="valkey", version="8.1.0", aof=True)
    told = plain.document(replace(BUSY, server=server, server_at=AT - 70), findings(1))
    assert [finding["incident"] for finding in told["findings"]] == ["lost:agent:a0"]
    assert (told["redis"]["version"], told["redis"]["aof"], told["redis"]["clients"]) == ("8.1.0", True, None)
    assert told["clock_skew_ms"] == 70
