"""From what a person typed, piped or wrote into a backlog to the tasks to submit. Nothing is sent from here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from stat import S_ISREG

import msgspec

from agentcom import backlog
from agentcom.adapters.tokens import estimate_file_tokens, estimate_tokens
from agentcom.backlog_specs import specs_of
from agentcom.capability import InvalidRequirement, parse, parse_preferences
from agentcom.cli import backlog_source
from agentcom.cli.lookup import resolve
from agentcom.client import Client
from agentcom.errors import UsageError
from agentcom.ids import is_id, short
from agentcom.model.codec import decode_spec
from agentcom.model.task import PRIORITIES, TaskSpec
from agentcom.scheduler.admission import MAX_TOKENS, checks_problem, language_problem
from agentcom.wording import one_line, parse_amount, parse_command, parse_duration, parse_usd

STDIN_MAX_BYTES = 64 << 20
PROBLEMS_SHOWN = 20
FILES_SHOWN = 5


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


def check_checks(checks: Sequence[str]) -> None:
    """Refuse a check that is no command."""
    for check in checks:
        try:
            parse_command(check)
        except ValueError as error:
            raise UsageError(f"--check: {error}") from None


def amount(flag: str, written: str | None) -> int:
    """The number of tokens that a flag names; 0 without one."""
    try:
        return parse_amount(written) if written is not None else 0
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def usd(flag: str, written: str | None) -> float:
    """The dollars that a flag names; 0 without one."""
    try:
        return parse_usd(written) if written is not None else 0.0
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


# ----------------------------------------------------------------- context


class Estimate(msgspec.Struct, frozen=True):
    """About how much context a task needs, and which of its files are not here and so not counted."""

    tokens: int
    missing: tuple[str, ...]


def estimate(text: str, files: Sequence[str], folders: Sequence[Path]) -> Estimate:
    """Of a task's text and its context files, each looked for in these folders. It is rounded up to two digits, so that
    tasks which need about the same wait in the same lane."""
    tokens, missing = estimate_tokens(text), list[str]()
    for file in files:
        sizes = (_size(folder / file) for folder in folders)
        size = next((size for size in sizes if size is not None), None)
        if size is None:
            missing.append(one_line(file, 200))
        else:
            tokens += estimate_file_tokens(size)
    step = 10 ** max(0, len(str(tokens)) - 2)
    return Estimate(min(-(-tokens // step) * step, MAX_TOKENS), tuple(missing))


def remarks_on(estimates: Sequence[Estimate]) -> list[str]:
    """What was estimated, in a line or two."""
    tokens = sorted(one.tokens for one in estimates)
    missing = list(dict.fromkeys(file for one in estimates for file in one.missing))
    told = []
    if tokens:
        size = f"{tokens[0]:,}" if tokens[0] == tokens[-1] else f"{tokens[0]:,} to {tokens[-1]:,}"
        tasks = "" if len(tokens) == 1 else f" for each of {len(tokens):,} tasks"
        told.append(f"context estimated at {size} tokens{tasks}")
    if missing:
        more = f" and {len(missing) - FILES_SHOWN:,} more" if len(missing) > FILES_SHOWN else ""
        told.append(f"not counted, as they are no files here: {', '.join(missing[:FILES_SHOWN])}{more}")
    return told


def _size(file: Path) -> int | None:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_size if S_ISREG(found.st_mode) else None


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
    return checks_problem(spec) or language_problem(spec)


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
        with file.open("rb") as opened:
            body = opened.read(backlog.MAX_BYTES + 1)
        # A piece of a larger file may end within a character; that it is too large is all there is to say of it.
        items, problems = ([], [backlog.TOO_LARGE]) if len(body) > backlog.MAX_BYTES else backlog.parse(body.decode())
    except OSError as error:
        raise UsageError(f"--from: {one_line(str(file), 200)} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--from: {one_line(str(file), 200)} is not UTF-8 text: {error.reason}") from None
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
    estimates: list[Estimate] = []
    new: list[TaskSpec] = []
    for spec in specs_of(items, source, make_id, known):
        if spec.key in known:
            continue
        gone = [other for other in spec.after if other in known.values() and other not in kept]
        if gone:
            names = ", ".join(short(other) for other in gone)
            remarks.append(f"{spec.title!r} does not wait for {names}: it ended so long ago that it is not kept")
        tokens = spec.context_tokens
        if spec.context and not tokens:
            estimates.append(estimate(spec.text, spec.context, (file.parent, Path())))
            tokens = estimates[-1].tokens
        after = tuple(other for other in spec.after if other not in gone)
        new.append(msgspec.structs.replace(spec, after=after, context_tokens=tokens))
    remarks += remarks_on(estimates)
    return FromBacklog(new, [id_ for id_ in known.values() if id_ in kept], remarks)
