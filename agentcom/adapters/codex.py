"""Codex CLI, by `codex exec --json`.

Documented at https://developers.openai.com/codex/noninteractive; what is not there was seen in what the program prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from agentcom.adapters.base import Alive, Denied, Did, Event, Launch, Over, Prompt, Said, Session, Used
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, names_any, option, program_of
from agentcom.adapters.program import EventProgram
from agentcom.adapters.reading import at, items, line_of, text, unknown, whole
from agentcom.adapters.trouble import failure, trouble
from agentcom.model.codec import encode
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

SANDBOXES = ("-s", "--sandbox", "--dangerously-bypass-approvals-and-sandbox")

FROM_STDIN = "-"


class Codex(EventProgram):
    """Prints events. `thread.started` and `turn.started` come before any request to the model; the agent's first sign
    of life is the first item of its own. It tells no cost, and nothing of its context window."""

    name = "codex"
    program = "codex"
    resumes = True

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        # Options go before `resume`, which takes fewer of them itself.
        argv = (
            *filled(program_of(settings, self.program), prompt),
            *("exec", "--json", "--skip-git-repo-check"),
            *(() if names_any(settings.arguments, *SANDBOXES) else _sandbox(prompt.writable)),
            *option("-m", settings.model),
            *filled(settings.arguments, prompt),
            *option("resume", prompt.session),
            FROM_STDIN,
        )
        return Launch(argv)

    def events_of(self, event: Mapping[str, Any]) -> Iterator[Event]:
        match at(event, "type"):
            case "thread.started":
                yield Session(line_of(event, "thread_id"))
            case "turn.started":
                pass
            case "item.started" | "item.updated" | "item.completed" as kind:
                yield from _of_item(at(event, "item"), completed=kind == "item.completed")
            case "turn.completed":
                # Of a resumed session it is that of all its turns.
                usage = _usage(at(event, "usage"))
                yield Used(usage, total=True, session_usage=usage)
                yield Over(ok=True)
            case "turn.failed":
                yield failure(text(event, "error", "message"))
            case "error":
                # Also said of a request that is made again; a turn that fails for it says so by its own event.
                yield trouble(text(event, "message"))
            case kind:
                yield unknown(kind)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        # It looks at configuration, credentials and whether the provider can be reached; `login status` knows of no
        # keys in the environment.
        return aside(settings, self.program, *_configuration(settings.arguments), "doctor", "--summary")

    def canary(self, settings: AgentSettings) -> Launch:
        argv = (
            *aside(settings, self.program, "exec", "--json", "--skip-git-repo-check", "-s", "read-only"),
            *_configuration(settings.arguments),
            *option("-m", settings.model),
            CANARY_TEXT,
        )
        return Launch(argv, stdin=False)


def _configuration(arguments: Sequence[str]) -> tuple[str, ...]:
    """Those of the arguments that every subcommand takes."""
    return tuple(part for name, value in pairwise(arguments) if name in ("-c", "--config") for part in (name, value))


def _sandbox(writable: Sequence[str]) -> tuple[str, ...]:
    """It may write in its workspace, but for `.git`; so it could not commit to where that points."""
    roots = f"sandbox_workspace_write.writable_roots={encode(list(writable)).decode()}"
    return ("-c", 'sandbox_mode="workspace-write"', *(("-c", roots) if writable else ()))


def _of_item(item: object, *, completed: bool) -> Iterator[Event]:
    kind = at(item, "type")
    match kind:
        case "agent_message" if completed:
            yield Said(text(item, "text"))
        case "reasoning" | "agent_message" | "todo_list":
            yield Alive()
        case "command_execution":
            yield from _of_deed(line_of(item, "command"), item, completed)
        case "file_change":
            paths = [line_of(change, "path") for change in items(item, "changes")]
            yield from _of_deed(line_of(f"edit {' '.join(paths[:20])}"), item, completed)
        case "mcp_tool_call":
            yield from _of_deed(f"{line_of(item, 'server')} {line_of(item, 'tool')}", item, completed)
        case "web_search":
            yield from _of_deed(f"search {line_of(item, 'query')}", item, completed)
        case "error":
            # A warning, which occurs in turns that succeed.
            yield unknown("item error")
        case _:
            yield unknown(f"item {kind}")


def _of_deed(what: str, item: object, completed: bool) -> Iterator[Event]:
    """Said once where that is so, by its beginning or by its end; twice does no harm."""
    if completed and at(item, "status") == "declined":
        yield Denied(what)
    elif completed and at(item, "type") == "command_execution":
        yield Alive()
    else:
        yield Did(what)


def _usage(usage: object) -> Usage:
    """What was read from the cache, or written into it, is a part of `input_tokens` here."""
    cached, written = whole(usage, "cached_input_tokens"), whole(usage, "cache_write_input_tokens")
    return Usage(
        input_tokens=max(0, whole(usage, "input_tokens") - cached - written),
        output_tokens=whole(usage, "output_tokens"),
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=whole(usage, "reasoning_output_tokens"),
    )
