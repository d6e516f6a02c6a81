"""OpenClaw, by `openclaw agent exec --json`. Built by the documentation of 2026.9.6 alone: https://docs.openclaw.ai/cli/agent."""

from __future__ import annotations

from collections.abc import Sequence

from agentcom.adapters.base import Event, Launch, Model, Over, Prompt, Said, Session, Used
from agentcom.adapters.calls import CANARY_TEXT, aside, filled, option, program_of
from agentcom.adapters.ends import ended_without_result
from agentcom.adapters.reading import NO_EVENT, amount, at, line_of, object_in, text, whole
from agentcom.adapters.trouble import failure
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

EXIT_TIMEOUT = 2


class OpenClaw:
    """Prints one object, at its end: until then it shows no life, so that work for it needs patience."""

    name = "openclaw"
    program = "openclaw"
    structured = True
    resumes = False

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        argv = (
            *filled(program_of(settings, self.program), prompt),
            *("agent", "exec", "--message-file", "-", "--cwd", prompt.workspace, "--json"),
            *option("--model", settings.model),
            *filled(settings.arguments, prompt),
        )
        return Launch(argv)

    def parse(self, line: bytes) -> Sequence[Event]:
        said = object_in(line)
        if said is None or not isinstance(at(said, "ok"), bool):
            return (NO_EVENT,)
        final = text(said, "final") or text(said, "final", "text")
        usage = Usage(
            input_tokens=whole(said, "usage", "input"),
            output_tokens=whole(said, "usage", "output"),
            cost_usd=amount(said, "costUsd"),
        )
        events: list[Event] = [
            Session(line_of(said, "sessionId")),
            Model(line_of(said, "model")),
            Used(usage, total=True),
        ]
        if final:
            events.append(Said(final))
        if at(said, "ok"):
            return (*events, Over(ok=True, summary=final))
        error = at(said, "error")
        why = ": ".join(part for part in (line_of(error, "kind"), text(error, "message")) if part)
        return (*events, failure(why or line_of(said, "status")))

    def exited(self, code: int, last_words: str) -> Over:
        if code == EXIT_TIMEOUT:
            return Over(ok=False, reason="timeout", detail=f"exit code {code}: {last_words}")
        return ended_without_result(code, last_words)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "--version")

    def canary(self, settings: AgentSettings) -> Launch:
        argv = (
            *aside(settings, self.program, "agent", "exec", "--json", "--message", CANARY_TEXT),
            *option("--model", settings.model),
        )
        return Launch(argv, stdin=False)

    def version(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "--version")
