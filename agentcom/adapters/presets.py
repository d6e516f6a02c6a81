"""Programs that need no code of their own: a row of a table says how each is called, and what its output means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from agentcom.adapters.base import Did, Event, Launch, Model, Over, Prompt, Said, Session, Used
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, names_any, option, program_of
from agentcom.adapters.command import Command
from agentcom.adapters.program import EventProgram
from agentcom.adapters.reading import at, line_of, piece, text, unknown, whole
from agentcom.adapters.trouble import failure
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

PROMPT_FILE = "{prompt_file}"
"""Stands for the file that holds what the agent is told."""

Path = tuple[str, ...]


class Events(Struct, frozen=True):
    """What the lines of a program mean that prints JSON objects with a `type`.

    Attributes:
        begins: the type that says the session's id and the model, and where.
        says: the type of what the agent says, in pieces, and where; lines of the role `user` are its prompt.
        does: the type of a use of a tool, and where its name stands.
        quiet: types that say nothing.
        ends: the type of the terminal event.
        ok: where its success stands, and the word for that.
        error: where it says what went wrong.
        usage: by field of `Usage`, where it stands there. What was read from a cache is a part of `input_tokens`.
    """

    begins: tuple[str, Path, Path]
    says: tuple[str, Path]
    does: tuple[str, Path]
    quiet: frozenset[str]
    ends: str
    ok: tuple[Path, str]
    error: Path
    usage: Mapping[str, Path]


class Row(Struct, frozen=True):
    """One program.

    Attributes:
        name: as in `agents.NAME.adapter`; also the program's.
        argv: its arguments, with `PROMPT_FILE` where it takes a file; else it gets the text on stdin.
        canary: its arguments before `CANARY_TEXT`.
        model: its option for a model; empty: it takes none.
        allowed: what it may do without asking: to write files and to commit.
        allowing: options that say this another way; where the settings have one of them, `allowed` is left out.
        exits: reasons by exit code.
        events: what its lines mean; None: they are text, and its exit code decides.
    """

    name: str
    argv: tuple[str, ...]
    canary: tuple[str, ...]
    model: str = ""
    allowed: tuple[str, ...] = ()
    allowing: tuple[str, ...] = ()
    exits: Mapping[int, str] = {}
    events: Events | None = None


# https://geminicli.com/docs/cli/headless; fields and exit codes as in the code of 0.61.0, of which only the beginning
# and failures were seen. By a session's id it can't be resumed.
GEMINI = Row(
    name="gemini",
    argv=("--output-format", "stream-json", "--skip-trust"),
    canary=("--output-format", "stream-json", "--skip-trust", "-p"),
    model="--model",
    allowed=(
        *("--approval-mode", "auto_edit", "--allowed-tools"),
        ",".join(f"run_shell_command(git {command})" for command in ("add", "commit", "status", "diff", "log")),
    ),
    allowing=("--approval-mode", "--allowed-tools", "--yolo", "-y", "--policy"),
    exits={
        41: "auth_failed",
        42: "misconfigured",
        44: "misconfigured",
        52: "misconfigured",
        53: "context_exhausted",
        55: "misconfigured",
    },
    events=Events(
        begins=("init", ("session_id",), ("model",)),
        says=("message", ("content",)),
        does=("tool_use", ("tool_name",)),
        quiet=frozenset({"tool_result", "error"}),
        ends="result",
        ok=(("status",), "success"),
        error=("error", "message"),
        usage={
            "input_tokens": ("stats", "input_tokens"),
            "output_tokens": ("stats", "output_tokens"),
            "cache_read_tokens": ("stats", "cached"),
        },
    ),
)

# https://aider.chat/docs/config/options.html
AIDER = Row(
    name="aider",
    argv=("--message-file", PROMPT_FILE, "--yes-always", "--no-pretty", "--no-check-update"),
    canary=("--yes-always", "--no-pretty", "--no-check-update", "--no-git", "--message"),
    model="--model",
)

# https://docs.openhands.dev/openhands/usage/cli/headless: it always does all that it likes.
OPENHANDS = Row(
    name="openhands",
    argv=("--headless", "--json", "-f", PROMPT_FILE),
    canary=("--headless", "--json", "-t"),
)


_command = Command()
"""What is no event is taken as of any program."""


class Preset(EventProgram):
    """An adapter by a row of the table."""

    resumes = False

    def __init__(self, row: Row) -> None:
        self.name = row.name
        self.program = row.name
        self.structured = row.events is not None
        self._row = row

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        row = self._row
        argv = (
            *filled(program_of(settings, self.program), prompt),
            *(prompt.prompt_file if part == PROMPT_FILE else part for part in row.argv),
            *(() if names_any(settings.arguments, *row.allowing) else row.allowed),
            *(option(row.model, settings.model) if row.model else ()),
            *filled(settings.arguments, prompt),
        )
        return Launch(argv, stdin=PROMPT_FILE not in row.argv)

    def events_of(self, event: Mapping[str, Any]) -> Iterator[Event]:
        return _events_of(event, self._row.events) if self._row.events is not None else iter(())

    def parse(self, line: bytes) -> Sequence[Event]:
        return super().parse(line) if self.structured else _command.parse(line)

    def exited(self, code: int, last_words: str) -> Over:
        reason = self._row.exits.get(code)
        if reason:
            return Over(ok=False, reason=reason, detail=f"exit code {code}: {last_words}")
        return super().exited(code, last_words) if self.structured else _command.exited(code, last_words)

    def canary(self, settings: AgentSettings) -> Launch:
        row = self._row
        model = option(row.model, settings.model) if row.model else ()
        return Launch((*aside(settings, self.program), *model, *row.canary, CANARY_TEXT), stdin=False)


PRESETS = tuple(Preset(row) for row in (GEMINI, AIDER, OPENHANDS))


def _events_of(event: Mapping[str, Any], means: Events) -> Iterator[Event]:
    kind = line_of(event, "type")
    if kind == means.begins[0]:
        yield Session(line_of(event, *means.begins[1]))
        yield Model(line_of(event, *means.begins[2]))
    elif kind == means.says[0]:
        if at(event, "role") != "user":
            yield Said(piece(event, *means.says[1]), piece=True)
    elif kind == means.does[0]:
        yield Did(line_of(event, *means.does[1]))
    elif kind == means.ends:
        yield Used(_usage(event, means), total=True)
        ok = line_of(event, *means.ok[0]) == means.ok[1]
        yield Over(ok=True) if ok else failure(text(event, *means.error))
    elif kind not in means.quiet:
        yield unknown(kind)


def _usage(event: Mapping[str, Any], means: Events) -> Usage:
    counts = {kind: whole(event, *path) for kind, path in means.usage.items()}
    read = counts.get("input_tokens", 0) - counts.get("cache_read_tokens", 0)
    return Usage(**{**counts, "input_tokens": max(0, read)})
