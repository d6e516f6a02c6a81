"""Connections that encode commands with hiredis, as redis-py's synchronous ones do: a commit has thousands of
arguments, and redis-py's asyncio connections join them one by one in Python."""

from __future__ import annotations

import hiredis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import DataError


class _Packing(AbstractConnection):
    def pack_command(self, *args: object) -> list[bytes]:
        name, *rest = args
        # A name such as "XINFO STREAM" is two arguments to the server.
        words = name.split() if isinstance(name, bytes | str) else [name]
        try:
            return [hiredis.pack_command((*words, *rest))]
        except TypeError as error:
            raise DataError(str(error)) from error


class PackingConnection(_Packing, Connection):
    """Over TCP."""


class PackingSSLConnection(_Packing, SSLConnection):
    """Over TLS."""


class PackingUnixConnection(_Packing, UnixDomainSocketConnection):
    """Over a unix socket."""
