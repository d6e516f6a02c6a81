"""A small TCP proxy for tests, one door per client: it cuts, delays, refuses, and half-opens connections.

A half-open connection stays open, and nothing goes through any more: as when a machine or a firewall between the two
ends went away without a word. It never comes back to life, since bytes that were swallowed would be missing; whoever
connects anew after the fault gets through.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Condition = Literal["clear", "refuse", "delay", "mute", "deaf"]
"""clear; refuse: nobody gets in; delay: everything comes late; mute: half-open both ways; deaf: requests arrive, and
their replies are swallowed."""

CHUNK = 65_536


@dataclass(eq=False)
class _Connection:
    """Two halves of one connection; `dead` once something of it was swallowed."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False


@dataclass
class Door:
    """What one client connects to."""

    name: str
    port: int = 0
    condition: Condition = "clear"
    delay_s: float = 0.0
    connections: set[_Connection] = field(default_factory=set)
    let_in: int = 0
    cut: int = 0
    half_opened: int = 0

    def swallows(self, *, reply: bool) -> bool:
        """Whether bytes in this direction vanish now."""
        return self.condition == "mute" or (reply and self.condition == "deaf")


class Proxy:
    """Doors to one server's unix socket, each on a port of the loopback interface. A thread of its own serves them."""

    def __init__(self, server: Path, names: list[str]) -> None:
        self._server = server
        self.doors = {name: Door(name) for name in names}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listeners: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, name: str, condition: Condition, delay_s: float = 0.0) -> None:
        """Put a door under a condition until it is set to another."""
        self._call(self._set(self.doors[name], condition, delay_s))

    def cut(self, name: str) -> int:
        """Close all connections through this door at once; how many there were."""
        return self._call(self._cut(self.doors[name]))

    def totals(self) -> Counter[str]:
        """What went through all doors, and what did not."""
        doors = self.doors.values()
        return Counter(
            {
                "connections let in": sum(door.let_in for door in doors),
                "cut": sum(door.cut for door in doors),
                "half-opened": sum(door.half_opened for door in doors),
            }
        )

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        for door in self.doors.values():
            listener = await asyncio.start_server(partial(self._enter, door), "127.0.0.1", 0)
            door.port = listener.sockets[0].getsockname()[1]
            self._listeners.append(listener)

    async def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        for door in self.doors.values():
            await self._cut(door)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set(self, door: Door, condition: Condition, delay_s: float) -> None:
        door.condition, door.delay_s = condition, delay_s

    async def _cut(self, door: Door) -> int:
        count = len(door.connections)
        for connection in door.connections:
            for half in (connection.client, connection.server):
                half.transport.abort()
        door.cut += count
        return count

    async def _enter(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if door.condition == "refuse":
                return
            from_server, to_server = await asyncio.open_unix_connection(self._server)
            connection = _Connection(writer, to_server)
            door.connections.add(connection)
            door.let_in += 1
            try:
                await asyncio.gather(
                    self._forward(door, connection, reader, reply=False),
                    self._forward(door, connection, from_server, reply=True),
                )
            finally:
                door.connections.discard(connection)
                to_server.transport.abort()
        except (OSError, asyncio.CancelledError):
            return  # the server is away, or the harness closes: the client sees its connection end
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _forward(self, door: Door, connection: _Connection, source: asyncio.StreamReader, *, reply: bool) -> None:
        """Pass on until either end closes. A dead connection is read on, and kept open, but passes nothing on."""
        to = connection.client if reply else connection.server
        while chunk := await source.read(CHUNK):
            if connection.dead or door.swallows(reply=reply):
                door.half_opened += not connection.dead
                connection.dead = True
                continue
            if door.condition == "delay":
                await asyncio.sleep(door.delay_s)
            to.write(chunk)
            await to.drain()
        if not connection.dead:
            with suppress(OSError):
                connection.client.close()
                connection.server.close()
