"""Whether a server may be trusted with work."""

from __future__ import annotations

import logging
import re
from typing import Any

from redis.asyncio import Redis

from agentcom.broker.trouble import named
from agentcom.errors import ConfigurationError, ServerUnavailable
from agentcom.settings.rendering import mask_url

log = logging.getLogger("agentcom.broker")

MINIMUM_REDIS = (7, 0)
MINIMUM_VALKEY = (8, 0)


async def check_server(redis: Redis, url: str) -> str:
    """Refuse a server that work should not be trusted to, and warn of what may lose some. Returns product and version.

    Raises:
        ServerUnavailable: it cannot be reached, or is a replica.
        CredentialsRefused: it refuses the user or password.
        ConfigurationError: it is a sentinel, has no such database, is too old, or may evict what it promised to keep.
    """
    told: dict[str, Any] = {}
    try:
        for section in ("server", "memory", "persistence", "replication"):
            told |= await redis.info(section)
    except Exception as error:
        raise named(error, url) from error
    if told.get("redis_mode") == "sentinel":
        problem = f"{mask_url(url)} is a sentinel, which keeps no data"
        raise ConfigurationError(problem, "Name the service that it watches: sentinel://HOST:PORT/SERVICE")
    product = "valkey" if "valkey_version" in told else "redis"
    where = f"{product} at {mask_url(url)}"
    version = str(told.get(f"{product}_version", "0"))
    minimum = MINIMUM_VALKEY if product == "valkey" else MINIMUM_REDIS
    if _major_minor(version) < minimum:
        wanted = ".".join(map(str, minimum))
        raise ConfigurationError(f"{product} {version} at {mask_url(url)} is too old", f"Use {wanted} or newer")
    if told.get("role", "master") != "master":
        primary = f"{told.get('master_host', 'another')}:{told.get('master_port', '')}".rstrip(":")
        raise ServerUnavailable(
            f"{where} is a replica of {primary}, and takes no writes",
            "Name the primary, all servers (redis://HOST,HOST) or sentinels (sentinel://HOST/SERVICE)",
        )
    policy = told.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        problem = f"{where} has maxmemory-policy {policy}, so it may drop accepted work"
        raise ConfigurationError(problem, "Set maxmemory-policy noeviction, as redis.conf of AgentCom does")
    _warn(told, where)
    return f"{product} {version}"


def _warn(told: dict[str, Any], where: str) -> None:
    if not told.get("aof_enabled"):
        log.warning("%s has no append-only file: restarted, it forgets accepted work", where)
    # A server tells how many replicas keep up only if it insists on some.
    if told.get("connected_slaves") and "min_slaves_good_slaves" not in told:
        log.warning("%s has replicas and min-replicas-to-write 0: a fail-over may lose accepted work", where)


def _major_minor(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
