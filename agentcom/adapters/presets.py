"""Programs that need no code of their own: a row of a table says how each is called, and what its output means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from agentcom.adapters.base import Alive, Did, Event, Launch, Model, Over, Prompt, Said, Session, Used
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, option, program_of
from agentcom.adapters.command import over_by_code
from agentcom.adapters.ends import ended_without_result
from agentcom.adapters.reading import NO_EVENT, at, line_of, object_in, text, unknown, whole
from agentcom.adapters.trouble import failure
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

PROMPT_FILE = "{prompt_file}"
"""Stands for the file that holds what the agent is told."""

Path = tuple[str, ...]


class Events(Struct, frozen=True):
    """What the lines of a program mean that prints JSON objects with a `type`.

    Attributes:
        session: type and path of the session's id; `model` likewise.
        said, did: by type, where it stands what the agent says, and what it does.
        quiet: types that say nothing.
        over: the type of the terminal event; `ok` is where its success stands, and the word for that.
        error: where that says what went wrong.
        usage: by field of `Usage`, where it stands in the terminal event. What was read from a cache is taken from
            `input_tokens`.
    """

    session: tuple[str, Path]
    model: tuple[str, Path]
    said: Mapping[str, Path]
    did: Mapping[str, Path]
    quiet: frozenset[str]
    over: str
    ok: tuple[Path, str]
    error: Path
    usage: Mapping[str, Path]


class Row(Struct, frozen=True):
    """One program.

    Attributes:
        name: as in `agents.NAME.adapter`; also the program's.
        argv: its arguments, with `PROMPT_FILE` where it takes a file; else it gets the text on stdin.
        canary: the same with `CANARY_TEXT` as its last argument.
        model: its option for a model.
        resume: its option for a session; empty: it cannot resume one.
        exits: reasons by exit code.
        events: what its lines mean; None: they are text, and its exit code decides.
    """

    name: str
    argv: tuple[str, ...]
    canary: tuple[str, ...]
    model: str
    resume: str = ""
    exits: Mapping[int, str] = {}
    events: Events | None = None


GEMINI = Row(
    name="gemini",
    argv=("-p", "", "--output-format", "stream-json"),
    canary=("--output-format", "stream-json", "-p"),
    model="--model",
    resume="--resume",
    exits={42: "misconfigured", 53: "context_exhausted"},
    events=Events(
        session=("init", ("session_id",)),
        model=("init", ("model",)),
        said={"message": ("content",)},
        did={"tool_use": ("tool_name",)},
        quiet=frozenset({"init", "tool_result", "error"}),
        over="result",
        ok=(("status",), "success"),
        error=("error", "message"),
        usage={
            "input_tokens": ("stats", "input_tokens"),
            "output_tokens": ("stats", "output_tokens"),
            "cache_read_tokens": ("stats", "cached"),
        },
    ),
)

AIDER = Row(
    name="aider",
    argv=("--message-file", PROMPT_FILE, "--yes-always", "--no-pretty", "--no-check-update"),
    canary=("--yes-always", "--no-pretty", "--no-git", "--message"),
    model="--model",
)

OPENHANDS = Row(
    name="openhands",
    argv=("--headless", "--json", "-f", PROMPT_FILE),
    canary=("--headless", "--json", "-t"),
    model="",
)


class Preset:
    """An adapter by a row of the table."""

    def __init__(self, row: Row) -> None:
        self.name = row.name
        self.program = row.name
        self.structured = row.events is not None
        self.resumes = bool(row.resume)
        self._row = row

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        row = self._row
        argv = (
            *filled(program_of(settings, self.program), prompt),
            *(prompt.prompt_file if part == PROMPT_FILE else part for part in row.argv),
            *(option(row.resume, prompt.session) if row.resume else ()),
            *(option(row.model, settings.model) if row.model else ()),
            *filled(settings.arguments, prompt),
        )
        return Launch(argv, stdin=PROMPT_FILE not in row.argv)

    def parse(self, line: bytes) -> Sequence[Event]:
        events = self._row.events
        if events is None:
            return (Alive(),) if line.strip() else ()
        event = object_in(line)
        return tuple(_events_of(event, events)) if event is not None else (NO_EVENT,)

    def exited(self, code: int, last_words: str) -> Over:
        reason = self._row.exits.get(code)
        if reason:
            return Over(ok=False, reason=reason, detail=f"exit code {code}: {last_words}")
        return ended_without_result(code, last_words) if self.structured else over_by_code(code, last_words)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "--version")

    def canary(self, settings: AgentSettings) -> Launch:
        row = self._row
        model = option(row.model, settings.model) if row.model else ()
        return Launch((*aside(settings, self.program), *model, *row.canary, CANARY_TEXT), stdin=False)

    def version(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "--version")


PRESETS = tuple(Preset(row) for row in (GEMINI, AIDER, OPENHANDS))


def _events_of(event: Mapping[str, object], means: Events) -> Iterator[Event]:
    kind = line_of(event, "type")
    if kind == means.session[0]:
        yield Session(line_of(event, *means.session[1]))
    if kind == means.model[0]:
        yield Model(line_of(event, *means.model[1]))
    if kind in means.said:
        if at(event, "role") != "user":
            yield Said(text(event, *means.said[kind]))
    elif kind in means.did:
        yield Did(line_of(event, *means.did[kind]))
    elif kind == means.over:
        yield Used(_usage(event, means), total=True)
        ok = line_of(event, *means.ok[0]) == means.ok[1]
        yield Over(ok=True) if ok else failure(text(event, *means.error))
    elif kind not in means.quiet:
        yield unknown(kind)


def _usage(event: Mapping[str, object], means: Events) -> Usage:
    counts = {kind: whole(event, *path) for kind, path in means.usage.items()}
    read = counts.get("input_tokens", 0) - counts.get("cache_read_tokens", 0)
    return Usage(**{**counts, "input_tokens": max(0, read)})
