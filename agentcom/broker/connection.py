"""Connections to Redis or Valkey, with what facts about redis-py and Redis ask for.

Two clients, because one setting cannot serve both: a blocking read waits longer than any command may take, and must
not be repeated by the client (a lost reply would deliver entries to nobody); a command must fail fast.
"""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from agentcom.broker.fitness import check_server
from agentcom.broker.primary import (
    Finder,
    FollowingTcp,
    FollowingTls,
    Route,
    Sentinels,
    Several,
    WatchfulTcp,
    WatchfulTls,
    WatchfulUnix,
)
from agentcom.broker.trouble import AWAY, TROUBLE, explained, is_away, is_refusal, named, stop_if_refused
from agentcom.errors import ConfigurationError, ServerUnavailable
from agentcom.settings.addresses import Address, read_address
from agentcom.settings.rendering import mask_url

__all__ = [
    "AWAY", "BLOCK_MAX_S", "COMMAND_TIMEOUT_S", "RECONNECT_CAP_S", "TROUBLE", "Connections", "backoff_s",
    "check_server", "connected", "explained", "is_away", "is_refusal", "named", "stop_if_refused", "until_back",
]  # fmt: skip

log = logging.getLogger("agentcom.broker")

COMMAND_TIMEOUT_S = 5.0
BLOCK_MAX_S = 5.0
"""The longest blocking read; a demoted primary that never answers is noticed this much and the command limit later."""

MAX_CONNECTIONS = 8
RECONNECT_CAP_S = 10.0

KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""So that the network's middle men do not forget an idle connection, in seconds; a dead one ends after 30 s."""

T = TypeVar("T")


class Connections:
    """The two clients of one program. `commands` for everything that answers at once, `blocking` for blocking reads.

    Commands share one connection: a pool's checks before each command cost more than the command. Blocking reads do so
    where only one of them waits at a time. Both are on the same server: where the URL names several, or sentinels, both
    follow the primary.

    Args:
        url: of the server, or servers, or sentinels.
        one_reader: the program never waits in two blocking reads at once.
        repeats: how often a command is sent again after a lost connection; only where every command may be.

    Raises:
        ConfigurationError: the URL cannot be one of a server.
    """

    def __init__(self, url: str, *, one_reader: bool = False, repeats: int = 0) -> None:
        self.url = url
        address = read_address(url)
        if isinstance(address, str):
            raise ConfigurationError(f"{mask_url(url)} is not a Redis URL: expected {address}")
        options = _options(address)
        self.commands = _client(options, COMMAND_TIMEOUT_S, single=True, repeats=repeats)
        self.blocking = _client(options, BLOCK_MAX_S + COMMAND_TIMEOUT_S, single=one_reader, repeats=0)

    async def close(self) -> None:
        """Close both clients."""
        await self.commands.aclose(close_connection_pool=True)
        await self.blocking.aclose(close_connection_pool=True)


@asynccontextmanager
async def connected(url: str, *, wait: bool = False) -> AsyncIterator[Connections]:
    """Connections of a scheduler or a sidecar to a server that was checked to be fit.

    Args:
        url: of the server.
        wait: a server that is away is waited for, as it would be later on.

    Raises:
        ServerUnavailable: it cannot be reached, or is a replica.
        CredentialsRefused: it refuses the user or password.
        ConfigurationError: it is too old, or may evict what it promised to keep.
    """
    connections = Connections(url, one_reader=True)
    try:
        await _check(connections.commands, url, wait=wait)
        yield connections
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()


async def _check(redis: Redis, url: str, *, wait: bool) -> None:
    attempt = 0
    while True:
        try:
            await check_server(redis, url)
        except ServerUnavailable as error:
            if not wait:
                raise
            log.warning("%s", error)
            await anyio.sleep(backoff_s(attempt))
            attempt += 1
        else:
            return


async def until_back(action: Callable[[], Awaitable[T]], on_away: Callable[[Exception], None]) -> T:
    """Repeat an action that is safe to repeat until Redis answers, waiting with full jitter in between.

    Raises:
        CredentialsRefused: retrying cannot help.
    """
    attempt = 0
    while True:
        try:
            return await action()
        except TROUBLE as error:
            stop_if_refused(error)
            if not is_away(error):
                raise
            on_away(error)
            await anyio.sleep(backoff_s(attempt))
            attempt += 1


def backoff_s(attempt: int) -> float:
    """How long to wait before the next try: anything up to a bound that doubles, so that a crowd spreads out."""
    return random.uniform(0.05, min(RECONNECT_CAP_S, 0.2 * 2 ** min(attempt, 10)))  # noqa: S311 - no secret


def _client(options: dict[str, Any], timeout_s: float, *, single: bool, repeats: int) -> Redis:
    pool = BlockingConnectionPool(
        **options,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        retry=_Retry(ExponentialBackoff(cap=0.5, base=0.05), repeats),
        health_check_interval=0,
        protocol=2,
    )
    return Redis(connection_pool=pool, single_connection_client=single)


def _options(address: Address) -> dict[str, Any]:
    """What the connections of both clients are made with. They share the route: where one finds the primary, the other
    goes."""
    tls = _tls_options(address)
    options: dict[str, Any] = {
        "db": address.db,
        "username": address.username or None,
        "password": address.password or None,
        "client_name": address.client_name or None,
    }
    if address.path:
        return {**options, "connection_class": WatchfulUnix, "route": Route(), "path": address.path}
    keepalive = {getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)}
    options |= {"socket_keepalive": True, "socket_keepalive_options": keepalive, **tls}
    if address.service or len(address.places) > 1:
        route: Finder = Sentinels(address, tls) if address.service else Several(address.places)
        return {**options, "connection_class": FollowingTls if address.tls else FollowingTcp, "route": route}
    ((host, port),) = address.places
    kind = WatchfulTls if address.tls else WatchfulTcp
    return {**options, "connection_class": kind, "route": Route(), "host": host, "port": port}


def _tls_options(address: Address) -> dict[str, Any]:
    options: dict[str, Any] = dict(address.tls_options)
    for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name]).exists():
            raise ConfigurationError(f"{options[name]} does not exist", f"It is named by {name} in the URL of Redis")
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"] == "true"
    return options


class _Final(Exception):
    """Carries an error past redis-py's own repetitions."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Retry(Retry):
    """Never repeats what was refused: to redis-py refused credentials are a lost connection."""

    async def call_with_retry(self, do: Callable[[], Awaitable[T]], *arguments: Any, **options: Any) -> T:
        async def once() -> T:
            try:
                return await do()
            except TROUBLE as error:
                if is_refusal(error):
                    raise _Final(error) from None
                raise

        try:
            return await super().call_with_retry(once, *arguments, **options)
        except _Final as final:
            raise final.error from final.error.__cause__
