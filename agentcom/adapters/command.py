"""Any program: the task is in a file and on stdin, its exit code says how it ended, and a result file may say more."""

from __future__ import annotations

from collections.abc import Sequence

from agentcom.adapters.base import Alive, Event, Launch, Over, Prompt
from agentcom.adapters.calls import filled
from agentcom.settings import AgentSettings

EXIT_RETRY_LATER = 75
EXIT_MISCONFIGURED = 78
"""As sysexits.h has them: EX_TEMPFAIL and EX_CONFIG."""


class Command:
    """Prints what it likes: its first line is its first sign of life. What more it says is in its result file."""

    name = "command"
    program = ""
    structured = False
    resumes = False

    def argv(self, prompt: Prompt, settings: AgentSettings) -> Launch:
        return Launch((*filled(settings.command, prompt), *filled(settings.arguments, prompt)))

    def parse(self, line: bytes) -> Sequence[Event]:
        return (Alive(),) if line.strip() else ()

    def exited(self, code: int, last_words: str) -> Over:
        return over_by_code(code, last_words)

    def self_test(self, _: AgentSettings) -> tuple[str, ...]:
        return ()

    def canary(self, _: AgentSettings) -> Launch:
        return Launch(())

    def version(self, _: AgentSettings) -> tuple[str, ...]:
        return ()


def over_by_code(code: int, last_words: str) -> Over:
    """Exit 0 is done, 75 means try again later, 78 that the program is set up wrongly, anything else that it failed."""
    if code == 0:
        return Over(ok=True)
    reason = {EXIT_RETRY_LATER: "retry_later", EXIT_MISCONFIGURED: "misconfigured"}.get(code, "exit_code")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Over(ok=False, reason=reason, detail=f"{how}: {last_words}" if last_words else how)
