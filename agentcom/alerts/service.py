"""Looks at a pool again and again, and has told what is wrong. It runs beside every scheduler, leading or not.

That nobody leads is told by those who stand by. What keeps Redis from being written, or that it is away, cannot be
agreed on: each process tells it for itself.
"""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from msgspec.structs import replace

from agentcom.alerts.book import OwnKeeper, SharedKeeper
from agentcom.alerts.delivery import check_urls, deliver
from agentcom.alerts.incidents import Rules
from agentcom.alerts.receivers import receivers_of
from agentcom.alerts.teller import Deliver, Teller
from agentcom.broker.alert_store import AlertStore
from agentcom.broker.connection import TROUBLE, Connections, named
from agentcom.clock import steady_clock
from agentcom.diagnosis import Finding, diagnose, out_of_sight, unreachable
from agentcom.errors import AgentComError
from agentcom.monitor.reading import look
from agentcom.settings import Settings
from agentcom.wording import age

log = logging.getLogger("agentcom.alerts")

LOOK_SOON_S = 15.0
"""While something has just come or gone, looks are at most so far apart."""

RESTART_S = 60.0
"""After a failure of this program's own, looking begins again after so long."""


@asynccontextmanager
async def watching(url: str, settings: Settings) -> AsyncIterator[None]:
    """Meanwhile the pool is watched, and people are told; nothing is done if nobody is to be told.

    Args:
        url: of Redis.
        settings: whom to tell and what, which pool, and what is expected of it.

    Raises:
        ConfigurationError: Apprise does not understand the URL of a receiver, or the URL of Redis is none.
    """
    if not receivers_of(settings.alerts):
        yield
        return
    await check_urls(settings.alerts.urls)
    async with anyio.create_task_group() as group:
        group.start_soon(watch_pool, url, settings)
        yield
        group.cancel_scope.cancel()


async def watch_pool(url: str, settings: Settings) -> None:
    """Watch a pool and tell people, for ever: what fails here is logged, and ends nothing else.

    Raises:
        ConfigurationError: the URL of Redis is none.
    """
    # Connections of its own: neither waits for what the other asks.
    connections = Connections(url, one_reader=True)
    try:
        while True:
            try:
                await Watch(connections, settings).run()
            except Exception:
                log.exception("watching the pool failed; it begins again in %s", age(RESTART_S))
            await anyio.sleep(RESTART_S)
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()


class Watch:
    """Watches one pool.

    Args:
        connections: to its Redis.
        settings: whom to tell and what, which pool, and what is expected of it.
        clock: Unix time in ms.
        deliver: tells a receiver.
    """

    def __init__(
        self,
        connections: Connections,
        settings: Settings,
        clock: Callable[[], int] | None = None,
        deliver: Deliver = deliver,
    ) -> None:
        self._connections = connections
        self._settings = settings
        self._alerts = settings.alerts
        self._clock = clock or steady_clock()
        self._host = socket.gethostname()
        self._look_s = min(self._alerts.every_s, LOOK_SOON_S)
        self._away_at = 0
        self._said: set[str] = set()
        rules = Rules(severity=self._alerts.severity, per_hour=self._alerts.per_hour, look_ms=int(self._look_s * 1000))
        receivers = receivers_of(self._alerts)
        shared, own = SharedKeeper(AlertStore(connections, settings.pool)), OwnKeeper(self._clock)
        self._shared, self._own = (
            Teller(keeper, receivers, rules, self._alerts.timeout_s, settings.pool, self._host, deliver)
            for keeper in (shared, own)
        )

    async def run(self) -> None:
        """Watch and tell, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._shared.run, self._is_awaited)
            group.start_soon(self._own.run, self._is_awaited)
            await self._look()

    async def _look(self) -> None:
        # Several schedulers that start together look at different times, so that they see more together.
        await anyio.sleep(random.uniform(0, self._look_s))  # noqa: S311 - no secret
        while True:
            unsettled = await self._look_once()
            await anyio.sleep(self._look_s if unsettled else self._alerts.every_s)

    async def _look_once(self) -> bool:
        """Look and take in what is found. Returns whether to look again soon."""
        unsettled = True
        own: list[Finding] = []
        try:
            seen = await look(self._connections, self._settings.pool)
            down_s = self._alerts.agent_down_s
            findings = diagnose(seen, self._settings.policy, seen.at, agent_down_s=down_s)
            # A Redis whose disk is full may be looked at, but not be told what was told.
            own = [finding for finding in findings if finding.subject == "redis"]
            unsettled = await self._shared.observe(findings, lambda finding: out_of_sight(seen, finding, seen.at))
        except TROUBLE as error:
            own += self._away(error)
        else:
            own = []
            self._away_at = 0
            self._said.clear()
        return await self._own.observe(own) or unsettled

    def _is_awaited(self, error: Exception) -> bool:
        """Whether an error is Redis's, and so to be waited out; each is said once until Redis answers again."""
        if not isinstance(error, TROUBLE):
            return False
        what = f"{type(error).__name__}: {error}"
        if what not in self._said:
            self._said.add(what)
            log.warning("what is known of incidents cannot be read or written: %s", what)
        return True

    def _away(self, error: Exception) -> list[Finding]:
        """Redis does not do what it was asked: after a while that is a finding."""
        self._is_awaited(error)
        now = self._clock()
        self._away_at = self._away_at or now
        if now - self._away_at < self._alerts.agent_down_s * 1000:
            return []
        told = named(error, self._connections.url)
        problem, remedy = (told.problem, told.remedy) if isinstance(told, AgentComError) else (str(told), "")
        return [replace(unreachable(problem, remedy), since_at=self._away_at)]
