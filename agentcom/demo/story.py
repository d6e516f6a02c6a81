"""How the demonstration went: whether every task ended as it should, and what the journal says of the kill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentcom.model.messages import Line
from agentcom.model.task import Attempt, ReadRecord

INTERRUPTED = "invariants"
"""The task whose agent is killed half-way."""

FAILS_FIRST = "rounding"
"""The task whose first try is refused by the project's own test."""


@dataclass(frozen=True, slots=True)
class Change:
    """What the commits of one task changed on main."""

    commits: int
    files: int
    added: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Suite:
    """What came of the project's own tests."""

    passed: int
    failed: int

    def __str__(self) -> str:
        return f"{self.failed} failed, {self.passed} passed" if self.failed else f"all {self.passed} passed"


@dataclass(frozen=True, slots=True)
class Kill:
    """Whom the demonstration killed, and when (Unix time in ms)."""

    agent: str
    at: int


@dataclass(frozen=True, slots=True)
class Ending:
    """All that is known when nothing is left to do. Records and changes go by the slug of their item."""

    records: Mapping[str, ReadRecord]
    changes: Mapping[str, Change]
    kill: Kill | None
    before: Suite
    after: Suite


def differences(ending: Ending) -> list[str]:
    """What is not as it should be, a line each; nothing if all is."""
    wrong = [
        f"{slug} is {record.state}{f' ({record.reason}: {record.detail})' if record.reason else ''}, not completed"
        for slug, record in ending.records.items()
        if record.state != "completed"
    ]
    for slug in ending.records:
        change = ending.changes.get(slug)
        if change is None or change.commits != 1:
            wrong.append(f"{slug} has {change.commits if change else 0} commits on main, not 1")
    wrong += _of_the_retried(ending.records[FAILS_FIRST])
    wrong += _of_the_interrupted(ending.records[INTERRUPTED], ending.kill)
    if not ending.before.failed:
        wrong.append("the project's tests passed before anything was done")
    if ending.after.failed or not ending.after.passed:
        wrong.append(f"the project's tests do not pass now: {ending.after}")
    return wrong


def _of_the_retried(record: ReadRecord) -> list[str]:
    results = [_result(attempt) for attempt in record.attempts]
    if results != ["failed", "completed"]:
        return [f"the attempts at {FAILS_FIRST} ended {', '.join(results) or 'not at all'}, not failed, completed"]
    return []


def _of_the_interrupted(record: ReadRecord, kill: Kill | None) -> list[str]:
    if kill is None:
        return [f"nobody was killed: {INTERRUPTED} was never seen half-way"]
    ends = [(attempt.agent == kill.agent, _result(attempt)) for attempt in record.attempts]
    if (True, "lost") not in ends:
        return [f"{INTERRUPTED} was not reclaimed from {kill.agent}"]
    if ends[-1] != (False, "completed"):
        return [f"{INTERRUPTED} was not completed by another agent than {kill.agent}"]
    return []


def _result(attempt: Attempt) -> str:
    return attempt.outcome.result if attempt.outcome is not None else "unknown"


def of_the_kill(lines: Iterable[Line], kill: Kill, slugs: Mapping[str, str]) -> list[tuple[float, str]]:
    """What the journal says of the kill: seconds since it, and what happened, in words.

    That is how the killed agent was found to be silent, what was reclaimed from it, and what became of that.

    Args:
        slugs: the names of the tasks by id.
    """
    told: list[tuple[float, str]] = []
    reclaimed: set[str] = set()
    for line in lines:
        if line.at < kill.at:
            continue
        words = ""
        if line.what == "agent" and line.agent == kill.agent:
            words = f"agent {line.agent}: {line.before} → {line.after} ({line.trigger})"
        elif line.what == "task" and line.trigger == "reclaim":
            reclaimed.add(line.task)
            words = f"{_name(line, slugs)}: {line.before} → {line.after}, {line.detail}"
        elif line.what == "task" and line.task in reclaimed:
            words = f"{_name(line, slugs)}: {line.before} → {line.after} ({line.trigger}, {line.agent})"
        if words:
            told.append(((line.at - kill.at) / 1000, words))
    return told


def _name(line: Line, slugs: Mapping[str, str]) -> str:
    return f"{slugs.get(line.task, line.task)} attempt {line.generation}"
