"""The way between processes and servers: it takes time, and it loses, cuts and resets as it is told.

A client here has one connection, as those of the schedulers and the sidecars do: the next request leaves when the
last one has been answered, has failed, or was given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from agentcom.broker.connection import BLOCK_MAX_S, COMMAND_TIMEOUT_S
from tests.simulation.loop import Killed, Process, SimLoop
from tests.simulation.server import PARKED, Request, Server

FASTEST_S, SLOWEST_S = 0.0002, 0.002
VERY_SLOW_S = 8.0
"""Longer than any client waits: the request is performed when nobody expects it any more."""

SHARES = ("lost", "unanswered", "reset", "reset_after", "very_slow", "partly")


class Weather:
    """What goes wrong with one request, by chance: shares from 0 to 1.

    - lost: it never arrives, and times out.
    - unanswered: it is performed, and its reply never arrives.
    - reset, reset_after: the connection breaks before it is performed, or after.
    - very_slow: it is performed after its sender gave it up, or its reply comes late.
    - partly: of a pipeline only the first part arrives.
    """

    def __init__(self, **shares: float) -> None:
        assert set(shares) <= set(SHARES), shares
        self._bounds: list[tuple[float, str]] = []
        total = 0.0
        for name in SHARES:
            total += shares.get(name, 0.0)
            self._bounds.append((total, name))
        self.bad = total

    def trouble(self, random: Random) -> str:
        if not self.bad:
            return ""
        drawn = random.random()
        return next((name for bound, name in self._bounds if drawn < bound), "")


CALM = Weather()


class Network:
    """All ways. `route` says which server a machine takes for the primary."""

    def __init__(self, loop: SimLoop, random: Random, route: Callable[[str], Server]) -> None:
        self.loop = loop
        self.weather = CALM
        self.cut: set[str] = set()
        """Machines that nothing reaches and nothing leaves."""
        self.route = route
        self._random = random

    def send(self, request: Request, timeout_s: float) -> None:
        """Let a request go its way; its future gets a reply, an error, or a timeout."""
        loop, random = self.loop, self._random
        now = loop.time()
        request.deadline = now + timeout_s
        request.server = request.link.connect()
        delay_s = FASTEST_S + (SLOWEST_S - FASTEST_S) * random.random()
        if request.link.machine in self.cut:
            self._time_out(request)
            return
        trouble = self.weather.trouble(random)
        if trouble in ("lost", "partly"):
            if trouble == "partly" and request.name == "pipeline":
                part = Request(request.link, "pipeline", request.args[: random.randrange(len(request.args) + 1)], {})
                part.server = request.server
                loop.after(delay_s, part.server.arrive, part)
            self._time_out(request)
        elif trouble == "reset":
            loop.after(delay_s, _fail, request, RedisConnectionError("Connection reset by peer"))
        else:
            if trouble == "very_slow":
                delay_s = VERY_SLOW_S * random.random()
                self._time_out(request)
            loop.after(delay_s, self._arrive, request, trouble)

    def _arrive(self, request: Request, trouble: str) -> None:
        if request.closed and request.named.get("block"):
            return  # the server finds the connection closed before it reads
        reply = request.server.arrive(request)
        if reply is PARKED:
            return
        if trouble == "unanswered":
            self._time_out(request)
        elif trouble == "reset_after":
            _fail(request, RedisConnectionError("Connection reset by peer"))
        else:
            self.answer(request, reply)

    def answer(self, request: Request, reply: Any) -> None:
        """Let a reply go back."""
        if request.link.machine in self.cut or (self.weather.bad and self._random.random() < self.weather.bad / 2):
            self._time_out(request)
        elif self._random.random() < 0.5:
            _deliver(request, reply)
        else:
            self.loop.after(FASTEST_S + (SLOWEST_S - FASTEST_S) * self._random.random(), _deliver, request, reply)

    def _time_out(self, request: Request) -> None:
        at_s = max(request.deadline, self.loop.time())
        self.loop.at(at_s, _fail, request, RedisTimeoutError("Timeout reading from socket"))

    def hang_up(self, request: Request) -> None:
        """Its sender is gone, or does not want it any more. A machine that is cut off cannot tell the server."""
        if request.link.machine not in self.cut:
            request.closed = True
            request.server.leave(request)


def _deliver(request: Request, reply: Any) -> None:
    future = request.future
    if not future.done():
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)


def _fail(request: Request, error: Exception) -> None:
    if not request.future.done():
        request.closed = True
        request.server.leave(request)
        request.future.set_exception(error)


class Route:
    """What the connections of one program know together: as `agentcom.broker.primary.Route` has it, none is used again
    without being made anew as soon as one of them is told that its server is no primary."""

    def __init__(self) -> None:
        self.generation = 0


class Link:
    """One client's connection, from one process on one machine. It stays with its server until that fails it.

    Args:
        repeats: how often the client itself sends a request again after an error of the connection.
    """

    def __init__(
        self, network: Network, process: Process, machine: str, timeout_s: float, route: Route, repeats: int = 0
    ) -> None:
        self.machine = machine
        self.process = process
        self._route = route
        self._generation = -1
        self._server: Server | None = None
        self._network = network
        self._timeout_s = timeout_s
        self._repeats = repeats
        self._busy = False
        self._queue: deque[asyncio.Future[None]] = deque()
        self._current: Request | None = None
        process.on_killed.append(self._drop)

    def connect(self) -> Server:
        """The server that it is connected to; if it is to none, or that is in doubt, the one that is the primary."""
        if self._server is None or self._generation != self._route.generation:
            self._server = self._network.route(self.machine)
            self._generation = self._route.generation
        return self._server

    async def call(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.process.step()
        while self._busy:
            turn: asyncio.Future[None] = self._network.loop.create_future()
            self._queue.append(turn)
            await turn
        self._busy = True
        try:
            return await self._trips(name, args, named)
        finally:
            self._busy = False
            while self._queue:
                turn = self._queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    break

    async def _trips(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        for _ in range(self._repeats):
            try:
                return await self._trip(name, args, named)
            except (RedisConnectionError, RedisTimeoutError):
                continue
        return await self._trip(name, args, named)

    async def _trip(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        request = self._current = Request(self, name, args, named)
        request.future = self._network.loop.create_future()
        self._network.send(request, self._timeout_s)
        try:
            self.process.step()
            return await request.future
        except (asyncio.CancelledError, Killed):
            self._server = None
            self._network.hang_up(request)
            request.future.cancel()
            raise
        except (RedisConnectionError, RedisTimeoutError):
            self._server = None
            raise
        except ResponseError as error:
            if isinstance(error, ReadOnlyError) or str(error).startswith("UNBLOCKED"):
                self._route.generation += 1
            raise

    def _drop(self) -> None:
        if self._current is not None and not self._current.future.done():
            self._network.hang_up(self._current)


class ModelClient:
    """What a store uses in the place of redis-py's client."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def __getattr__(self, name: str) -> Any:
        link = self.link

        async def command(*args: Any, **named: Any) -> Any:
            return await link.call(name, args, named)

        self.__dict__[name] = command
        return command

    def pipeline(self, transaction: bool = True) -> ModelPipeline:
        return ModelPipeline(self.link)


class ModelPipeline:
    """Commands that leave together, and are answered together."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def queue(*args: Any, **named: Any) -> ModelPipeline:
            self._calls.append((name, args, named))
            return self

        return queue

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        if not self._calls:
            return []
        replies = await self._link.call("pipeline", tuple(self._calls), {})
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if raise_on_error and errors:
            raise errors[0]
        return list(replies)


class SimConnections:
    """Stands for `agentcom.broker.connection.Connections`."""

    def __init__(self, network: Network, process: Process, machine: str, *, repeats: int = 0) -> None:
        self.url = "redis://simulated"
        route = Route()
        self.commands: Any = ModelClient(Link(network, process, machine, COMMAND_TIMEOUT_S, route, repeats))
        self.blocking: Any = ModelClient(Link(network, process, machine, BLOCK_MAX_S + COMMAND_TIMEOUT_S, route))
