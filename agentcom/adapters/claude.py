"""Claude Code, by `claude -p --output-format stream-json`.

Documented at https://code.claude.com/docs/en/headless; what is not there was seen in what the program prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentcom.adapters.base import (
    Alive,
    Context,
    Denied,
    Did,
    Event,
    Launch,
    Model,
    Over,
    Prompt,
    Said,
    Session,
    Trouble,
    Used,
)
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, names_any, option, program_of
from agentcom.adapters.ends import ended_without_result
from agentcom.adapters.reading import NO_EVENT, amount, at, items, line_of, object_in, text, unknown, whole
from agentcom.adapters.trouble import failure, trouble
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

STREAM = ("-p", "--output-format", "stream-json", "--verbose")

PERMISSIONS = ("--permission-mode", "--dangerously-skip-permissions", "--allow-dangerously-skip-permissions")

ALLOWED = (
    "--permission-mode",
    "acceptEdits",
    "--allowedTools",
    "Bash(git add:*),Bash(git commit:*),Bash(git status:*),Bash(git diff:*),Bash(git log:*)",
)
"""To write files and to commit, which all work needs, and nothing else: what more an agent may do, its settings say."""

QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
"""A program that updates itself in the middle of the night is another one in the morning."""

API_MODEL = "<synthetic>"
"""The model of messages that the program itself writes, such as for an error of its provider."""


class Claude:
    """Prints events. Its `init` is of the program, before any request to the model; the agent's first sign of life is
    the first piece of the model's first message."""

    name = "claude"
    program = "claude"
    structured = True
    resumes = True

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        session = option("--resume", prompt.session) or option("--session-id", prompt.new_session)
        argv = (
            *filled(program_of(settings, self.program), prompt),
            *STREAM,
            "--include-partial-messages",
            *session,
            *(() if names_any(settings.arguments, *PERMISSIONS) else ALLOWED),
            *option("--model", settings.model),
            *option("--max-budget-usd", _dollars(prompt.usd_left)),
            *filled(settings.arguments, prompt),
        )
        return Launch(argv, QUIET)

    def parse(self, line: bytes) -> Sequence[Event]:
        event = object_in(line)
        return tuple(_events_of(event)) if event is not None else (NO_EVENT,)

    def exited(self, code: int, last_words: str) -> Over:
        return ended_without_result(code, last_words)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "--version")

    def canary(self, settings: AgentSettings) -> Launch:
        argv = (
            *aside(settings, self.program),
            *STREAM,
            *option("--model", settings.model),
            "--max-turns",
            "1",
            CANARY_TEXT,
        )
        return Launch(argv, QUIET, stdin=False)

    def version(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "--version")


def _dollars(usd: float) -> str:
    return f"{usd:.4f}" if usd > 0 else ""


def _events_of(event: Mapping[str, Any]) -> Iterator[Event]:
    match at(event, "type"):
        case "system":
            yield from _of_system(event)
        case "stream_event":
            yield from _of_stream(event)
        case "assistant":
            yield from _of_message(event)
        case "user":
            pass
        case "rate_limit_event":
            if at(event, "rate_limit_info", "status") == "rejected":
                resets_at_s = amount(event, "rate_limit_info", "resetsAt")
                yield Trouble("rate_limited", "its provider's limit is reached", resets_at_s=resets_at_s)
        case "result":
            yield from _of_result(event)
        case kind:
            yield unknown(kind)


def _of_system(event: Mapping[str, Any]) -> Iterator[Event]:
    match at(event, "subtype"):
        case "init":
            yield Session(line_of(event, "session_id"))
            yield Model(line_of(event, "model"), line_of(event, "claude_code_version"))
        case "api_retry":
            said = line_of(event, "error") or "its provider does not answer"
            yield trouble(said, whole(event, "error_status"))
        case kind:
            yield unknown(f"system {kind}")


def _of_stream(event: Mapping[str, Any]) -> Iterator[Event]:
    match at(event, "event", "type"):
        case "message_start" | "content_block_delta":
            yield Alive()
        case "message_delta":
            # Said once for each message, and at its end; a result takes the place of the sum.
            yield Used(_usage(at(event, "event", "usage")))


def _of_message(event: Mapping[str, Any]) -> Iterator[Event]:
    message = at(event, "message")
    if at(message, "model") == API_MODEL:
        yield trouble(_text_of(message))
        return
    yield Alive()
    if at(event, "parent_tool_use_id") is None:
        usage = _usage(at(message, "usage"))
        if usage.tokens:
            yield Context(used=usage.tokens)
    for block in items(message, "content"):
        match at(block, "type"):
            case "text":
                said = text(block, "text")
                if said:
                    yield Said(said)
            case "tool_use":
                yield Did(_deed(line_of(block, "name"), at(block, "input")))


def _text_of(message: object) -> str:
    return " ".join(text(block, "text") for block in items(message, "content"))


def _deed(tool: str, given: object) -> str:
    """A tool and what it is about: the first of its inputs that says that."""
    for name in ("command", "file_path", "path", "pattern", "url", "description"):
        about = line_of(given, name)
        if about:
            return f"{tool} {about}"
    return tool


def _usage(usage: object) -> Usage:
    return Usage(
        input_tokens=whole(usage, "input_tokens"),
        output_tokens=whole(usage, "output_tokens"),
        cache_read_tokens=whole(usage, "cache_read_input_tokens"),
        cache_write_tokens=whole(usage, "cache_creation_input_tokens"),
    )


def _of_result(event: Mapping[str, Any]) -> Iterator[Event]:
    session = line_of(event, "session_id")
    if session:
        yield Session(session)
    # Of a resumed session the usage is this turn's, and the cost that of the whole session.
    yield Used(_usage(at(event, "usage")), total=True, session_cost_usd=amount(event, "total_cost_usd"))
    window = _window(at(event, "modelUsage"))
    if window:
        yield Context(size=window)
    for denial in items(event, "permission_denials"):
        yield Denied(_deed(line_of(denial, "tool_name"), at(denial, "tool_input")))
    yield _over(event)


def _window(by_model: object) -> int:
    """The context window of the model that read most: the others did side jobs, such as titles."""
    if not isinstance(by_model, Mapping):
        return 0
    read = {
        name: sum(whole(used, kind) for kind in ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"))
        for name, used in by_model.items()
    }
    return whole(by_model, max(read, key=lambda name: read[name]), "contextWindow") if read else 0


def _over(event: Mapping[str, Any]) -> Over:
    # "success" is also the subtype of what its provider refused.
    said, subtype = text(event, "result"), line_of(event, "subtype")
    if at(event, "is_error") is False and subtype == "success":
        return Over(ok=True, summary=said)
    errors = "; ".join(line for line in (text({"error": error}, "error") for error in items(event, "errors")) if line)
    why = said or errors or line_of(event, "terminal_reason") or subtype
    match subtype, at(event, "terminal_reason"):
        case "error_max_budget_usd", _:
            return Over(ok=False, reason="budget_exceeded", detail=why)
        case ("error_max_turns", _) | (_, "prompt_too_long"):
            return Over(ok=False, reason="context_exhausted", detail=why)
    return failure(why, whole(event, "api_error_status"))
