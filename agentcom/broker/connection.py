"""Connections to Redis or Valkey, with what facts about redis-py and Redis ask for.

Two clients, because one setting cannot serve both: a blocking read waits longer than any command may take, and must
not be repeated by the client (a lost reply would deliver entries to nobody); a command must fail fast.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from agentcom.broker.packing import PACKING
from agentcom.errors import ConfigurationError, CredentialsRefused, ServerUnavailable
from agentcom.settings.rendering import mask_url

log = logging.getLogger("agentcom.broker")

COMMAND_TIMEOUT_S = 5.0
BLOCK_MAX_S = 5.0
"""The longest blocking read; a demoted primary that never answers is noticed this much and the command limit later."""

MAX_CONNECTIONS = 8
RECONNECT_CAP_S = 10.0
MINIMUM_REDIS = (7, 0)
MINIMUM_VALKEY = (8, 0)

AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,
    TryAgainError,
    OSError,
)
"""What means that Redis is away for the moment, and will be back. Refused credentials are among them: see `is_away`."""

AWAY_CODES = ("MISCONF", "BUSY", "NOREPLICAS", "UNKILLABLE", "UNBLOCKED")
"""Answers of the same meaning for which redis-py has no exception: a full disk, a long script, a change of roles."""

REFUSED_IN_SCRIPT = ("ACL failure in script", "The user executing the script can't")
"""How an ACL rule shows that forbids what a script does."""

TROUBLE = (RedisError, OSError)
"""Everything that Redis, or the way to it, may answer instead of doing what was asked."""

T = TypeVar("T")


class Connections:
    """The two clients of one program. `commands` for everything that answers at once, `blocking` for blocking reads.

    Commands share one connection: a pool's checks before each command cost more than the command. Blocking reads do so
    where only one of them waits at a time.

    Args:
        url: of the server.
        one_reader: the program never waits in two blocking reads at once.
        repeats: how often a command is sent again after a lost connection; only where every command may be.
    """

    def __init__(self, url: str, *, one_reader: bool = False, repeats: int = 0) -> None:
        self.url = url
        self.commands = _client(url, COMMAND_TIMEOUT_S, single=True, repeats=repeats)
        self.blocking = _client(url, BLOCK_MAX_S + COMMAND_TIMEOUT_S, single=one_reader, repeats=0)

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
        ServerUnavailable: it cannot be reached.
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


async def check_server(redis: Redis, url: str) -> str:
    """Refuse a server that work should not be trusted to. Returns its product and version.

    Raises:
        ServerUnavailable, CredentialsRefused, ConfigurationError: as `connected` does.
    """
    try:
        server = await redis.info("server")
        memory = await redis.info("memory")
        persistence = await redis.info("persistence")
    except Exception as error:
        raise named(error, url) from error
    product = "valkey" if "valkey_version" in server else "redis"
    version = str(server.get(f"{product}_version", "0"))
    minimum = MINIMUM_VALKEY if product == "valkey" else MINIMUM_REDIS
    if _major_minor(version) < minimum:
        wanted = ".".join(map(str, minimum))
        raise ConfigurationError(f"{product} {version} at {mask_url(url)} is too old", f"Use {wanted} or newer")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        problem = f"{product} at {mask_url(url)} has maxmemory-policy {policy}, so it may drop accepted work"
        raise ConfigurationError(problem, "Set maxmemory-policy noeviction, as redis.conf of AgentCom does")
    if not persistence.get("aof_enabled"):
        log.warning("%s at %s has no append-only file: restarted, it forgets accepted work", product, mask_url(url))
    return f"{product} {version}"


def named(error: Exception, url: str) -> Exception:
    """The same error, as one that says what to do; errors that are not Redis's are returned as they are."""
    where = mask_url(url)
    if is_refusal(error):
        return _credentials_refused(error, f"Redis at {where}")
    if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
        return ServerUnavailable(
            f"cannot reach Redis at {where}: {str(error).rstrip('.') or type(error).__name__}",
            "Start it, or name another with --redis or AGENTCOM_REDIS",
        )
    if isinstance(error, RedisError):
        return ServerUnavailable(f"Redis at {where} answered: {error}", "See the server's log")
    return error


def is_away(error: Exception) -> bool:
    """Whether Redis cannot serve for the moment, and will again without anything being changed here."""
    if is_refusal(error):
        return False
    return isinstance(error, AWAY) or (isinstance(error, ResponseError) and str(error).startswith(AWAY_CODES))


def is_refusal(error: BaseException | None) -> bool:
    """Whether Redis refuses this user: the password, or by an ACL rule a command or key that is needed.

    What is refused while connecting, redis-py wraps in an ordinary ConnectionError.
    """
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return True
    if isinstance(error, ResponseError):
        return str(error).startswith(REFUSED_IN_SCRIPT)
    return isinstance(error, RedisConnectionError) and is_refusal(error.__cause__)


def stop_if_refused(error: Exception) -> None:
    """End what retrying cannot mend.

    Raises:
        CredentialsRefused: the error says that Redis refuses this user.
    """
    if is_refusal(error):
        raise _credentials_refused(error, "Redis") from error


def _credentials_refused(error: Exception, who: str) -> CredentialsRefused:
    return CredentialsRefused(
        f"{who} refused: {str(error).rstrip('.')}", "Check user and password in the URL, and the user's ACL rules"
    )


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


def _client(url: str, timeout_s: float, *, single: bool, repeats: int) -> Redis:
    try:
        options: dict[str, Any] = dict(parse_url(url))
        pool = BlockingConnectionPool(
            **options | {"connection_class": PACKING[options.get("connection_class", Connection)]},
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=COMMAND_TIMEOUT_S,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), repeats),
            health_check_interval=0,
            protocol=2,
        )
    except ValueError as error:
        raise ConfigurationError(f"{mask_url(url)} is not a Redis URL: {error}") from error
    return Redis(connection_pool=pool, single_connection_client=single)


def _major_minor(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
