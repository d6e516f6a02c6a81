"""Claude Code, by `claude -p --output-format stream-json`.

Documented at https://code.claude.com/docs/en/headless; what is not there was seen in what the program prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

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
from agentcom.adapters.program import EventProgram
from agentcom.adapters.reading import amount, at, items, line_of, text, unknown, whole
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

ENVIRON = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_MAX_RETRIES": "6",
}
"""It is not to update itself between two tasks. What its provider refuses it tries again for about half a minute, which
is less than an agent has to show life and more than most troubles take; by itself it would for several minutes."""

OF_PROGRAM = "<synthetic>"
"""The model of messages that the program itself writes, such as for an error, which the result tells too."""

USD_LEAST = 0.0001


class Claude(EventProgram):
    """Prints events. Its `init` is of the program, before any request to the model; the agent's first sign of life is
    the first piece of the model's first message."""

    name = "claude"
    program = "claude"
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
        return Launch(argv, ENVIRON)

    def events_of(self, event: Mapping[str, Any]) -> Iterator[Event]:
        match at(event, "type"):
            case "system":
                yield from _of_system(event)
            case "stream_event":
                yield from _of_stream(event)
            case "assistant":
                yield from _of_message(event)
            case "user":
                if any(at(block, "type") == "tool_result" for block in items(event, "message", "content")):
                    yield Alive()
            case "rate_limit_event":
                if at(event, "rate_limit_info", "status") == "rejected":
                    resets_at_s = amount(event, "rate_limit_info", "resetsAt")
                    yield Trouble("rate_limited", "its provider's limit is reached", resets_at_s=resets_at_s)
            case "result":
                yield from _of_result(event)
            case kind:
                yield unknown(kind)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "auth", "status")

    def canary(self, settings: AgentSettings) -> Launch:
        argv = (
            *aside(settings, self.program),
            *STREAM,
            *option("--model", settings.model),
            "--max-turns",
            "1",
            CANARY_TEXT,
        )
        return Launch(argv, ENVIRON, stdin=False)


def _dollars(usd: float) -> str:
    """What is left of a budget, however little: the program refuses 0, and without the option nothing is limited."""
    return f"{max(usd, USD_LEAST):.4f}" if usd > 0 else ""


def _of_system(event: Mapping[str, Any]) -> Iterator[Event]:
    match at(event, "subtype"):
        case "init":
            yield Session(line_of(event, "session_id"))
            yield Model(line_of(event, "model"), line_of(event, "claude_code_version"))
        case "api_retry":
            said = line_of(event, "error") or "its provider does not answer"
            yield trouble(said, whole(event, "error_status"))
        case "status" | "permission_denied":
            # Also said by the result.
            pass
        case kind:
            yield unknown(f"system {kind}")


def _of_stream(event: Mapping[str, Any]) -> Iterator[Event]:
    match at(event, "event", "type"):
        case "message_start" | "content_block_delta":
            yield Alive()
        case "message_delta":
            # Said once for each message, at its end; a result takes the place of the sum.
            usage = _usage(at(event, "event", "usage"))
            yield Used(usage)
            if at(event, "parent_tool_use_id") is None:
                yield Context(used=usage.tokens)


def _of_message(event: Mapping[str, Any]) -> Iterator[Event]:
    message = at(event, "message")
    if at(message, "model") == OF_PROGRAM:
        return
    yield Alive()
    for block in items(message, "content"):
        match at(block, "type"):
            case "text":
                said = text(block, "text")
                if said:
                    yield Said(said)
            case "tool_use":
                yield Did(_deed(line_of(block, "name"), at(block, "input")))


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
        reasoning_tokens=whole(usage, "output_tokens_details", "thinking_tokens"),
    )


def _of_result(event: Mapping[str, Any]) -> Iterator[Event]:
    session = line_of(event, "session_id")
    if session:
        yield Session(session)
    yield _used(event)
    window = _window(at(event, "modelUsage"))
    if window:
        yield Context(size=window)
    for denial in items(event, "permission_denials"):
        yield Denied(_deed(line_of(denial, "tool_name"), at(denial, "tool_input")))
    yield _over(event)


def _used(event: Mapping[str, Any]) -> Used:
    """What a turn used, of which versions tell differently.

    Later ones (2.1.310) say this turn's by model, of subagents too, in `model_usage_since_last_result`. Else `usage`
    is this turn's, and empty where a budget ended it. `total_cost_usd` goes with `modelUsage`, which is this turn's in
    early ones (2.1.250), and then (2.1.280) the whole session's where that was resumed.
    """
    of_turn = at(event, "model_usage_since_last_result")
    if isinstance(of_turn, Mapping) and of_turn:
        return Used(_usage_by_model(of_turn), total=True)
    usage, cost_usd = _usage(at(event, "usage")), amount(event, "total_cost_usd")
    if usage.tokens == _usage_by_model(at(event, "modelUsage")).tokens:
        return Used(replace(usage, cost_usd=cost_usd), total=True)
    return Used(usage, total=usage.tokens > 0, session_cost_usd=cost_usd)


def _usage_by_model(by_model: object) -> Usage:
    usage = Usage()
    for used in by_model.values() if isinstance(by_model, Mapping) else ():
        usage += Usage(
            input_tokens=whole(used, "inputTokens"),
            output_tokens=whole(used, "outputTokens"),
            cache_read_tokens=whole(used, "cacheReadInputTokens"),
            cache_write_tokens=whole(used, "cacheCreationInputTokens"),
            reasoning_tokens=whole(used, "thinkingTokens"),
            cost_usd=amount(used, "costUSD"),
        )
    return usage


def _window(by_model: object) -> int:
    """The context window of the model that did most: the others did side jobs, such as titles."""
    if not isinstance(by_model, Mapping):
        return 0
    read = {name: _usage_by_model({name: used}).tokens for name, used in by_model.items()}
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
