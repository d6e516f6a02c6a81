"""opencode, by `opencode run --format json`.

Documented at https://opencode.ai/docs/cli; what is not there was seen in what the program prints.
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
    Over,
    Prompt,
    Said,
    Session,
    Trouble,
    Used,
)
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, option, program_of
from agentcom.adapters.program import EventProgram
from agentcom.adapters.reading import amount, at, line_of, text, unknown, whole
from agentcom.adapters.trouble import failure
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

QUIET = {"OPENCODE_DISABLE_AUTOUPDATE": "1"}


class OpenCode(EventProgram):
    """Prints an event for each step. A step that ends with anything but a call of tools is the last; but where it sums
    up a full context, another follows."""

    name = "opencode"
    program = "opencode"
    resumes = True

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        argv = (
            *filled(program_of(settings, self.program), prompt),
            *("run", "--format", "json"),
            *option("--session", prompt.session),
            *option("--model", settings.model),
            *filled(settings.arguments, prompt),
        )
        return Launch(argv, QUIET)

    def events_of(self, event: Mapping[str, Any]) -> Iterator[Event]:
        session = line_of(event, "sessionID")
        if session:
            yield Session(session)
        part = at(event, "part")
        match at(event, "type"):
            case "step_start" | "reasoning":
                yield Alive()
            case "text":
                yield Alive() if at(part, "synthetic") is True else Said(text(part, "text"))
            case "tool_use":
                yield from _of_tool(part)
            case "step_finish":
                yield from _of_step(part)
            case "error":
                yield _failed(at(event, "error"))
            case kind:
                yield unknown(kind)

    def exited(self, code: int, last_words: str) -> Over:
        # To an option that it does not know it answers with its help alone.
        if code == 1 and "[boolean]" in last_words:
            return Over(ok=False, reason="misconfigured", detail=f"exit code 1: {last_words}")
        return super().exited(code, last_words)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "debug", "config")

    def canary(self, settings: AgentSettings) -> Launch:
        argv = (
            *aside(settings, self.program, "run", "--format", "json"),
            *option("--model", settings.model),
            CANARY_TEXT,
        )
        return Launch(argv, QUIET, stdin=False)


def _of_tool(part: object) -> Iterator[Event]:
    state = at(part, "state")
    about = next(
        (found for name in ("command", "filePath", "pattern", "url") if (found := line_of(state, "input", name))), ""
    )
    deed = f"{line_of(part, 'tool')} {about or line_of(state, 'title')}".strip()
    refused = at(state, "status") == "error" and "rejected permission" in text(state, "error")
    yield Denied(deed) if refused else Did(deed)


def _of_step(part: object) -> Iterator[Event]:
    tokens = at(part, "tokens")
    # What was reasoned is told apart from the output here.
    reasoning = whole(tokens, "reasoning")
    usage = Usage(
        input_tokens=whole(tokens, "input"),
        output_tokens=whole(tokens, "output") + reasoning,
        cache_read_tokens=whole(tokens, "cache", "read"),
        cache_write_tokens=whole(tokens, "cache", "write"),
        reasoning_tokens=reasoning,
        cost_usd=amount(part, "cost"),
    )
    yield Used(usage)
    yield Context(used=usage.tokens)
    match at(part, "reason"):
        case "tool-calls":
            pass
        case "stop":
            yield Over(ok=True)
        case "length":
            yield Over(ok=False, reason="context_exhausted", detail="its answer was cut off for its length")
        case reason:
            yield Over(
                ok=False, reason="agent_failed", detail=f"its last step ended with {line_of({'r': reason}, 'r')}"
            )


def _failed(error: object) -> Over | Trouble:
    name, message = line_of(error, "name"), text(error, "data", "message") or text(error, "message")
    over = failure(": ".join(part for part in (name, message) if part), whole(error, "data", "statusCode"))
    if over.reason == "context_exhausted":
        # It sums up what it has, and tries again.
        return Trouble(over.reason, over.detail)
    after = line_of(error, "data", "responseHeaders", "retry-after")
    known = over.reason == "rate_limited" and after.isascii() and after.isdecimal()
    return replace(over, resets_after_s=float(after)) if known else over
