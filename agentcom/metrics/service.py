"""`agentcom scheduler --metrics ADDR`: looks now and then, and serves what was seen last."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from agentcom.broker.connection import TROUBLE, Connections, explained
from agentcom.errors import ConfigurationError
from agentcom.metrics.families import families
from agentcom.monitor.live.picture import Picture
from agentcom.monitor.live.watcher import Watcher
from agentcom.settings import Settings
from agentcom.wording import one_line

log = logging.getLogger("agentcom.metrics")

EVERY_S = 15.0
"""As often as Prometheus scrapes by default, or oftener."""

ADDRESS = re.compile(r"(?:(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+)?:)?([0-9]{1,5})")
LOOPBACK = "127.0.0.1"


class _LastSeen(Collector):
    """What is told to whoever asks, on the server's own threads: the last look, whole, or nothing."""

    def __init__(self) -> None:
        self.picture: Picture | None = None

    def collect(self) -> Iterator[Metric]:
        return families(self.picture)


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT`; without a host, loopback only.

    Raises:
        ConfigurationError: it is none of these.
    """
    found = ADDRESS.fullmatch(text.strip())
    port = int(found[2]) if found else 0
    if found is None or not 1 <= port <= 65_535:
        problem = f"--metrics: expected HOST:PORT or PORT, such as 127.0.0.1:9464, not {one_line(text, 60)!r}"
        raise ConfigurationError(problem)
    return (found[1] or LOOPBACK).strip("[]"), port


@asynccontextmanager
async def serving(url: str, settings: Settings, address: str) -> AsyncIterator[None]:
    """Meanwhile the pool is looked at, and what was seen is served; nothing is done without an address.

    Raises:
        ConfigurationError: the address is none, or cannot be listened on.
    """
    if not address:
        yield
        return
    host, port = address_of(address)
    seen = _LastSeen()
    registry = CollectorRegistry()
    registry.register(seen)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one of a host
        problem = f"--metrics: {host}:{port} cannot be listened on: {getattr(error, 'strerror', None) or error}"
        raise ConfigurationError(problem, "Name another address, or end what has it") from error
    log.info("metrics on http://%s:%d/metrics", host, port)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_look_for_ever, url, settings, seen)
            yield
            group.cancel_scope.cancel()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _look_for_ever(url: str, settings: Settings, seen: _LastSeen) -> None:
    # Connections of its own: the scheduler waits for nothing that is asked here.
    connections = Connections(url, one_reader=True)
    watcher = Watcher(connections, settings, lambda: time.time_ns() // 1_000_000)
    away = False
    try:
        while True:
            try:
                seen.picture = await watcher.look()
                away = False
            except TROUBLE as error:
                seen.picture = None
                if not away:
                    log.warning("metrics tell nothing but that Redis is away: %s", explained(error))
                away = True
            await anyio.sleep(EVERY_S)
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()
