"""Which Redis a command or program means: the one it names, else the one that `agentcom up` runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from agentcom.broker.runtime import default_data_dir, read_live
from agentcom.errors import ServerUnavailable
from agentcom.places import expanded
from agentcom.settings import Settings, load

NAMED_BY_ENVIRONMENT = ("AGENTCOM_REDIS", "AGENTCOM_POOL", "AGENTCOM_DATA_DIR")


def data_dir_of(settings: Settings, environ: Mapping[str, str]) -> Path:
    """Where this machine keeps the pool's files."""
    return expanded(settings.data_dir) if settings.data_dir else default_data_dir(environ, settings.pool)


def settings_from_environment(url: str | None, pool: str | None) -> Settings:
    """Settings of a program that has no settings file: what it gives, else what the environment names."""
    environ = {name: os.environ[name] for name in NAMED_BY_ENVIRONMENT if name in os.environ}
    return load(None, environ, {"redis": url, "pool": pool}).settings


def redis_url(settings: Settings, environ: Mapping[str, str]) -> str:
    """The URL to connect to.

    Raises:
        ServerUnavailable: none was named, and `agentcom up` does not run here.
    """
    if settings.redis:
        return settings.redis
    data_dir = data_dir_of(settings, environ)
    runtime = read_live(data_dir)
    if runtime is None:
        raise ServerUnavailable(
            f"no Redis is named, and no `agentcom up` runs for pool {settings.pool!r} here (looked in {data_dir})",
            "Start `agentcom up`, or name a server with --redis or AGENTCOM_REDIS",
        )
    return runtime.url
