"""Trouble with Redis, of whatever kind, is waited out: none of it is a reason to end an agent that is at work."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio

from agentcom.broker.connection import TROUBLE, backoff_s, explained

log = logging.getLogger("agentcom.sidecar")

SAID_MAX = 100


class Complaints:
    """Says each trouble once, until it is over."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, error: Exception) -> None:
        """Redis is in trouble."""
        what = explained(error)
        if what not in self._said and len(self._said) < SAID_MAX:
            self._said.add(what)
            log.warning("Redis is in trouble, trying again: %s", what)

    def over(self) -> None:
        """Redis answers again."""
        if self._said:
            self._said.clear()
            log.info("Redis answers again")


async def until_done(action: Callable[[], Awaitable[None]], on_trouble: Callable[[Exception], None]) -> None:
    """Repeat an action that is safe to repeat until Redis has performed it, waiting with full jitter in between."""
    attempt = 0
    while True:
        try:
            await action()
        except TROUBLE as error:
            on_trouble(error)
            await anyio.sleep(backoff_s(attempt))
            attempt += 1
        else:
            return
