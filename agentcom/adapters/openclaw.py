"""OpenClaw, by `openclaw agent exec --json`: built by the documentation and the code of 2026.9.6, and never run.

Documented at https://docs.openclaw.ai/cli/agent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from agentcom.adapters.base import Event, Launch, Model, Over, Prompt, Said, Session, Used
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, option, program_of
from agentcom.adapters.command import over_by_code
from agentcom.adapters.program import EventProgram
from agentcom.adapters.reading import NO_EVENT, amount, line_of, text, whole
from agentcom.adapters.trouble import trouble
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

EXIT_TIMEOUT = 2

_MEMBER = re.compile(rb'( {2}| {4})"([A-Za-z]+)": ([^{\[].*?),?\s*')

_MEANS: Mapping[tuple[int, str], Callable[[object], Event]] = {
    (2, "final"): lambda value: Said(text(value)),
    (2, "sessionId"): lambda value: Session(line_of(value)),
    (2, "model"): lambda value: Model(line_of(value)),
    (2, "costUsd"): lambda value: Used(Usage(cost_usd=amount(value))),
    (4, "input"): lambda value: Used(Usage(input_tokens=whole(value))),
    (4, "output"): lambda value: Used(Usage(output_tokens=whole(value))),
    (4, "cacheRead"): lambda value: Used(Usage(cache_read_tokens=whole(value))),
    (4, "cacheWrite"): lambda value: Used(Usage(cache_write_tokens=whole(value))),
    (4, "message"): lambda value: trouble(text(value), otherwise="agent_failed"),
}
"""By indent and name: the members of the object itself, those of `usage`, and the one of `error`."""


class OpenClaw(EventProgram):
    """Prints one object, at its end, a member a line: until then it shows no life, so that work for it needs patience.
    Its exit code decides, and the object says the rest."""

    name = "openclaw"
    program = "openclaw"
    structured = False
    resumes = False

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        # How long it may take is the sidecar's affair.
        argv = (
            *filled(program_of(settings, self.program), prompt),
            *("agent", "exec", "--message-file", "-", "--cwd", prompt.workspace, "--timeout", "0", "--json"),
            *option("--model", settings.model),
            *filled(settings.arguments, prompt),
        )
        return Launch(argv)

    def parse(self, line: bytes) -> Sequence[Event]:
        member = _MEMBER.fullmatch(line)
        if member is None:
            return (NO_EVENT,)
        try:
            value = msgspec.json.decode(member[3])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return (NO_EVENT,)
        means = _MEANS.get((len(member[1]), member[2].decode()))
        return (means(value),) if means is not None else ()

    def exited(self, code: int, last_words: str) -> Over:
        if code == EXIT_TIMEOUT:
            return Over(ok=False, reason="timeout", detail=f"exit code {code}: {last_words}")
        return over_by_code(code, last_words)

    def canary(self, settings: AgentSettings) -> Launch:
        run = aside(settings, self.program, "agent", "exec", CANARY_TEXT, "--json")
        return Launch((*run, *option("--model", settings.model)), stdin=False)
