"""What is known of a pool's incidents, shared by all who tell of them: read as a whole, changed by compare-and-swap."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from agentcom.broker import scripts
from agentcom.broker.connection import Connections
from agentcom.broker.keys import Keys

KEPT_MS = 7 * 86_400_000
"""When nobody has written for so long, it is forgotten."""

_VERSION = b"version"


class Notes(Struct, frozen=True):
    """What stands there.

    Attributes:
        now: Unix time in ms by the server's clock, which is the same for all who tell.
        version: of what was read; another after every change.
        fields: the notes by name.
    """

    now: int
    version: bytes
    fields: dict[bytes, bytes]


class AlertStore:
    """The notes of one pool."""

    def __init__(self, connections: Connections, pool: str) -> None:
        self._redis = connections.commands
        self._key = Keys(pool).alerts

    async def read(self) -> Notes:
        """All notes. Raises what redis-py raises when Redis is away."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.time()
        pipeline.hgetall(self._key)
        (seconds, microseconds), fields = await pipeline.execute()
        version = fields.pop(_VERSION, b"")
        return Notes(seconds * 1000 + microseconds // 1000, version, fields)

    async def write(self, read: Notes, version: bytes, changed: Mapping[bytes, bytes], gone: Collection[bytes]) -> bool:
        """Change some notes. False: somebody else changed them since they were read, and nothing was done.

        Args:
            read: what the change builds on.
            version: one that never was before.
            changed, gone: notes to write, and names of notes to remove.
        """
        pairs = [part for pair in changed.items() for part in pair]
        arguments = [read.version, version, KEPT_MS, len(gone), *gone, *pairs]
        return bool(await scripts.ALERT(self._redis, [self._key], arguments))
