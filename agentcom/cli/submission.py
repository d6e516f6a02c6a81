"""From what a person typed, piped or wrote into a backlog to the tasks to submit. Nothing is sent from here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agentcom import backlog
from agentcom.backlog_specs import specs_of
from agentcom.capability import InvalidRequirement, parse, parse_preferences
from agentcom.cli import backlog_source
from agentcom.cli.lookup import resolve
from agentcom.client import Client
from agentcom.errors import UsageError
from agentcom.ids import is_id, short
from agentcom.model.codec import decode_spec
from agentcom.model.task import PRIORITIES, TaskSpec
from agentcom.scheduler.admission import language_problem
from agentcom.wording import one_line, parse_duration

STDIN_MAX_BYTES = 64 << 20
PROBLEMS_SHOWN = 20
BYTES_PER_TOKEN = 4
"""English and code come to about so many bytes a token; a better guess would need the agent's own tokenizer."""


class Unusable(UsageError):
    """Several places of an input are wrong: each has a line of its own."""

    def __init__(self, lines: Sequence[str]) -> None:
        more = len(lines) - PROBLEMS_SHOWN
        rest = [f"and {more:,} more"] if more > 0 else []
        self.lines = [*lines[:PROBLEMS_SHOWN], *rest, "nothing was submitted"]
        super().__init__("; ".join(self.lines))


# ------------------------------------------------------------------- flags


def duration_s(flag: str, written: str | None) -> float:
    """The seconds that a flag names; 0 without one."""
    try:
        return parse_duration(written) if written is not None else 0.0
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def check_language(requires: str, prefer: str) -> None:
    """Refuse what the requirements language does not take, before anything is sent."""
    for flag, written, read in (("--requires", requires, parse), ("--prefer", prefer, parse_preferences)):
        try:
            read(written)
        except InvalidRequirement as error:
            raise UsageError(f"{flag}: {error}") from None


def check_priority(priority: str) -> None:
    """Refuse a priority that there is not."""
    if priority not in PRIORITIES:
        raise UsageError(f"--priority: expected one of {', '.join(PRIORITIES)}, not {one_line(priority, 40)!r}")


def tokens_of(files: Sequence[Path]) -> int:
    """About how many tokens it takes to read these files.

    Raises:
        UsageError: one is missing, or no file.
    """
    length_bytes = 0
    for file in files:
        if not file.is_file():
            raise UsageError(f"--context: {one_line(str(file), 200)!r} is not a file here")
        length_bytes += file.stat().st_size
    return length_bytes // BYTES_PER_TOKEN


# ------------------------------------------------------------------- stdin


def read_stdin() -> str:
    """What is piped in.

    Raises:
        UsageError: it is not text, or too long to be meant.
    """
    body = sys.stdin.buffer.read(STDIN_MAX_BYTES + 1)
    if len(body) > STDIN_MAX_BYTES:
        raise UsageError(f"stdin has over {STDIN_MAX_BYTES:,} bytes")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin is not UTF-8 text: {error.reason} at byte {error.start}") from None


def specs_of_lines(text: str) -> list[TaskSpec]:
    """Tasks from JSON lines, one object each with the fields of `TaskSpec`. Blank lines are passed over.

    Raises:
        Unusable: a line is no task; all such lines are named, and none of the others is to be submitted.
    """
    specs: list[TaskSpec] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        spec = decode_spec(line.encode("utf-8"))
        problem = spec if isinstance(spec, str) else _problem_of_line(spec)
        if problem:
            problems.append(f"line {number}: {problem}")
        elif isinstance(spec, TaskSpec):
            specs.append(spec)
    if problems:
        raise Unusable(problems)
    if not specs:
        raise UsageError("stdin has no tasks", 'Give one JSON object a line, such as {"text": "fix the build"}')
    return specs


def _problem_of_line(spec: TaskSpec) -> str:
    if not spec.text.strip():
        return "text is empty"
    if spec.id and not is_id(spec.id):
        return f"id {one_line(spec.id, 60)!r} is not a UUIDv7"
    return language_problem(spec)


async def with_full_ids(client: Client, specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    """The same tasks, `after` with the full ids of the tasks that were meant. Raises as `lookup.resolve` does."""
    typed = {other for spec in specs for other in spec.after if not is_id(other)}
    meant = {text: (await resolve(client, [text]))[0] for text in sorted(typed)}
    return [
        msgspec.structs.replace(spec, after=tuple(dict.fromkeys(meant.get(other, other) for other in spec.after)))
        for spec in specs
    ]


# ----------------------------------------------------------------- backlog


def read_backlog(file: Path) -> list[backlog.Item]:
    """The open items of a backlog file.

    Raises:
        UsageError: it cannot be read.
        Unusable: its author has something to mend.
    """
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"--from: {one_line(str(file), 200)} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--from: {one_line(str(file), 200)} is not UTF-8 text: {error.reason}") from None
    items, problems = backlog.parse(text)
    if problems:
        raise Unusable([f"{file}:{problem.line}: {problem.message}" for problem in problems])
    return items


class FromBacklog(msgspec.Struct, frozen=True):
    """What a backlog comes to: tasks to submit, ids of those that were submitted before, and what to be told."""

    new: list[TaskSpec]
    existing: list[str]
    remarks: list[str]


async def specs_of_backlog(client: Client, file: Path, make_id: Callable[[], str]) -> FromBacklog:
    """The tasks of a backlog, apart from those that the pool has already taken on. Raises as `read_backlog` does."""
    items = read_backlog(file)
    source = backlog_source.name_of(file)
    keys = [backlog.item_key(source, item) for item in items]
    known = await client.store.tasks_of_keys(keys)
    kept = await client.store.records(list(known.values()))
    remarks: list[str] = []
    new: list[TaskSpec] = []
    for spec in specs_of(items, source, make_id, known):
        if spec.key in known:
            continue
        gone = [other for other in spec.after if other in known.values() and other not in kept]
        if gone:
            names = ", ".join(short(other) for other in gone)
            remarks.append(f"{spec.title!r} does not wait for {names}: it ended so long ago that it is not kept")
        new.append(msgspec.structs.replace(spec, after=tuple(other for other in spec.after if other not in gone)))
    return FromBacklog(new, [id_ for id_ in known.values() if id_ in kept], remarks)
