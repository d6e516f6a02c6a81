"""Trouble with Redis, of whatever kind, is waited out: none of it is a reason to end an agent that is at work."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
from msgspec import Struct

from agentcom.broker.connection import TROUBLE, backoff_s, explained

log = logging.getLogger("agentcom.sidecar")

SAID_MAX = 100


class Complaints:
    """Says each trouble once, until every part of the sidecar that met some is rid of it."""

    def __init__(self) -> None:
        self._said: dict[str, set[str]] = {}

    def of(self, part: str) -> Complaint:
        """Those of one part."""
        return Complaint(self, part)

    def say(self, part: str, error: Exception) -> None:
        """Redis is in trouble, as this part met it."""
        what = explained(error)
        known = any(what in others for others in self._said.values())
        said = self._said.setdefault(part, set())
        if what not in said and len(said) < SAID_MAX:
            said.add(what)
            if not known:
                log.warning("Redis is in trouble, trying again: %s", what)

    def well(self, part: str) -> None:
        """Redis did what this part asked."""
        if self._said.pop(part, None) and not self._said:
            log.info("Redis answers again")


class Complaint(Struct, frozen=True):
    """What one part of the sidecar has to say of Redis."""

    of: Complaints
    part: str

    def say(self, error: Exception) -> None:
        """Redis is in trouble."""
        self.of.say(self.part, error)

    def well(self) -> None:
        """Redis did what it was asked."""
        self.of.well(self.part)


async def until_done(action: Callable[[], Awaitable[None]], complaint: Complaint) -> None:
    """Repeat an action that is safe to repeat until Redis has performed it, waiting with full jitter in between."""
    attempt = 0
    while True:
        try:
            await action()
        except TROUBLE as error:
            complaint.say(error)
            await anyio.sleep(backoff_s(attempt))
            attempt += 1
        else:
            complaint.well()
            return
