"""Any agent that speaks the Agent Client Protocol (https://agentclientprotocol.com), by a program of AgentCom's own.

The protocol goes both ways over stdio, and whoever holds its ends must not die. So not the sidecar holds them, but
`agentcom.adapters.acp_program`, which prints each event of `agentcom.adapters.base` as a line of JSON:

    {"event": "Said", "text": "Done."}
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
from msgspec.structs import replace

from agentcom.adapters.base import Event, Launch, Over, Prompt, Trouble
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, option
from agentcom.adapters.command import EXIT_MISCONFIGURED, over_by_code
from agentcom.adapters.program import EventProgram
from agentcom.adapters.reading import text, unknown
from agentcom.model.reasons import CLASS_OF
from agentcom.settings import AgentSettings

PROGRAM = (sys.executable, "-P", "-m", "agentcom.adapters.acp_program")
"""Without the working directory among the places of modules: that is the agent's, with whatever a repository holds."""

_KINDS = {kind.__name__: kind for kind in get_args(Event)}


class Acp(EventProgram):
    """`command` is the agent's own, such as `["gemini", "--acp"]`; `arguments` are those of the program around it, such
    as `["--permissions", "allow"]`."""

    name = "acp"
    program = ""
    resumes = True

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        argv = (
            *PROGRAM,
            *("--cwd", prompt.workspace),
            *option("--session", prompt.session),
            *option("--model", settings.model),
            *filled(settings.arguments, prompt),
            "--",
            *filled(settings.command, prompt),
        )
        return Launch(argv)

    def events_of(self, event: Mapping[str, Any]) -> Iterator[Event]:
        yield _event(event)

    def exited(self, code: int, last_words: str) -> Over:
        return over_by_code(code, last_words) if code == EXIT_MISCONFIGURED else super().exited(code, last_words)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        agent = aside(settings, self.program)
        return (*PROGRAM, "--hello", "--", *agent) if agent else ()

    def canary(self, settings: AgentSettings) -> Launch:
        agent = aside(settings, self.program)
        return Launch((*PROGRAM, *option("--model", settings.model), "--text", CANARY_TEXT, "--", *agent), stdin=False)

    def version(self, _: AgentSettings) -> tuple[str, ...]:
        return ()


def line_for(event: Event) -> bytes:
    """An event as a line."""
    return msgspec.json.encode({"event": type(event).__name__} | msgspec.to_builtins(event)) + b"\n"


def _event(told: Mapping[str, object]) -> Event:
    kind = _KINDS.get(text(told, "event"))
    if kind is None:
        return unknown(told.get("event"))
    given = {name: text(told, name) if isinstance(value, str) else value for name, value in told.items()}
    try:
        event: Event = msgspec.convert(given, kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return unknown(kind.__name__)
    if isinstance(event, Over | Trouble) and event.reason not in CLASS_OF and not getattr(event, "ok", False):
        return replace(event, reason="agent_failed")
    return event
