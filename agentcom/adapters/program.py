"""What the adapters of programs that print events as lines of JSON have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentcom.adapters.base import Event, Over
from agentcom.adapters.calls import aside
from agentcom.adapters.ends import ended_without_result
from agentcom.adapters.reading import NO_EVENT, object_in
from agentcom.settings import AgentSettings


class EventProgram:
    """An adapter but for `name`, `program`, `resumes`, `argv`, `canary`, and `events_of`."""

    program: str
    structured = True

    def events_of(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """What a JSON object means that the program printed."""
        raise NotImplementedError

    def parse(self, line: bytes) -> Sequence[Event]:
        event = object_in(line)
        return tuple(self.events_of(event)) if event is not None else (NO_EVENT,)

    def exited(self, code: int, last_words: str) -> Over:
        return ended_without_result(code, last_words)

    def self_test(self, settings: AgentSettings) -> tuple[str, ...]:
        return self.version(settings)

    def version(self, settings: AgentSettings) -> tuple[str, ...]:
        return aside(settings, self.program, "--version")
