"""What happened, for people: a timeline that is kept only where somebody is going to read it."""

from __future__ import annotations

import hashlib

from tests.simulation.loop import SimLoop

Event = tuple[float, str, str, str]

TOLD = 250


class Story:
    """The events of one run, and a digest of all of them."""

    def __init__(self, loop: SimLoop, *, tracing: bool) -> None:
        self.events: list[Event] = []
        self._loop = loop
        self._tracing = tracing

    def say(self, kind: str, subject: str = "", text: str = "") -> None:
        """Something happened to a task, an agent, a machine, or the pool."""
        if self._tracing:
            self.events.append((self._loop.time(), kind, subject, text))

    @property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for at_s, kind, subject, text in self.events:
            digest.update(f"{at_s!r}\t{kind}\t{subject}\t{text}\n".encode())
        return digest.hexdigest()

    def about(self, subject: str) -> list[str]:
        """The part of it that is about one task or agent, with what happened to the world meanwhile."""
        agents = {text.split(" ")[0] for _, kind, who, text in self.events if kind == "begins" and who == subject}
        names = {subject, *agents} - {""}
        told = [
            event
            for event in self.events
            if event[1] in WORLD or any(name and (name in event[2] or name in event[3]) for name in names)
        ]
        if len(told) > TOLD:
            told = [*told[: TOLD // 2], (told[TOLD // 2][0], "...", "", ""), *told[-TOLD // 2 :]]
        return [f"{at_s:10.3f}  {kind:<9} {who:<38} {text}" for at_s, kind, who, text in told]


WORLD = frozenset({"fault", "lead", "VIOLATION", "quiet"})
"""Kinds of events that everybody is told of."""
