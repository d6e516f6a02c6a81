"""A modelled Redis server: up or down, loading, demoted. It performs requests one by one, and lets readers block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.exceptions import BusyLoadingError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.simulation.loop import Handle, SimLoop
from tests.simulation.redis_model import RedisModel

PARKED = object()
"""No reply yet: the request waits at the server."""

READS = frozenset(
    {
        "get", "mget", "hmget", "hgetall", "exists", "zrange", "zcard", "xlen", "xrange", "xrevrange", "xread",
        "xpending", "xpending_range", "xinfo_stream", "xinfo_consumers", "pttl",
    }
)  # fmt: skip


class Request:
    """One command, pipeline or script on its way."""

    __slots__ = ("args", "closed", "deadline", "future", "link", "name", "named", "server", "timer")

    def __init__(self, link: Any, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.link = link
        self.name = name
        self.args = args
        self.named = named
        self.future: asyncio.Future[Any]
        self.server: Server
        self.deadline = 0.0
        self.closed = False
        """Its connection is gone, and the server knows it."""
        self.timer: Handle | None = None


Observer = Callable[["Server", Request, Any], None]


class Server:
    """One server process with its data.

    Args:
        loop: tells the time.
        model: the data.
        answer: how a reply goes back to whoever waits for it.
        observer: is told of every request that was performed, with its reply.
    """

    def __init__(
        self, loop: SimLoop, name: str, model: RedisModel, answer: Callable[[Request, Any], None], observer: Observer
    ) -> None:
        self.name = name
        self.model = model
        self.up = True
        self.loading = False
        self.readonly = False
        self.refusal: RedisError | None = None
        """What it answers to every write."""
        self.performed = 0
        self.observer = observer
        self._loop = loop
        self._answer = answer
        self._parked: dict[str, list[Request]] = {}

    def arrive(self, request: Request) -> Any:
        """Perform a request. Returns its reply, an exception as a value, or `PARKED`."""
        if not self.up:
            return RedisConnectionError("Connection closed by server.")
        if self.loading:
            return BusyLoadingError("Redis is loading the dataset in memory")
        if self.readonly and request.name not in READS:
            return ReadOnlyError("You can't write against a read only replica.")
        if self.refusal is not None and request.name not in READS:
            return self.refusal
        reply = self._perform(request)
        if self.model.added:
            self._serve()
        return reply

    def _perform(self, request: Request) -> Any:
        self.performed += 1
        reply: Any
        try:
            if request.name == "pipeline":
                reply = [self._one(*call) for call in request.args]
            else:
                reply = getattr(self.model, request.name)(*request.args, **request.named)
        except RedisError as error:
            reply = error
        if not reply and request.named.get("block"):
            self._park(request)
            return PARKED
        self.observer(self, request, reply)
        return reply

    def _one(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        try:
            return getattr(self.model, name)(*args, **named)
        except ResponseError as error:
            return error

    # ------------------------------------------------------- blocked readers

    def _park(self, request: Request) -> None:
        for key in _streams(request):
            self._parked.setdefault(key, []).append(request)
        request.timer = self._loop.after(request.named["block"] / 1000, self._end_block, request)

    def _end_block(self, request: Request) -> None:
        if not request.closed:
            self.leave(request)
            self._answer(request, [])

    def leave(self, request: Request) -> None:
        """It does not wait here any more."""
        if request.timer is not None:
            request.timer.cancel()
            request.timer = None
            for key in _streams(request):
                self._parked[key].remove(request)

    def _serve(self) -> None:
        while self.model.added:
            keys, self.model.added = self.model.added, []
            for key in dict.fromkeys(keys):
                for request in list(self._parked.get(key, ())):
                    reply = self._perform_parked(request)
                    if reply:
                        self.leave(request)
                        self._answer(request, reply)

    def _perform_parked(self, request: Request) -> Any:
        try:
            reply = getattr(self.model, request.name)(*request.args, **request.named)
        except RedisError as error:
            return error
        if reply:
            self.observer(self, request, reply)
        return reply

    # ----------------------------------------------------------- its own life

    def crash(self) -> None:
        """Everybody who waits here learns that the connection is gone."""
        self.up = False
        self.model.cached.clear()
        self._send_away(RedisConnectionError("Connection closed by server."))

    def demote(self) -> None:
        """It is a replica from now on."""
        self.readonly = True
        self._send_away(ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"))

    def _send_away(self, error: RedisError) -> None:
        waiting = {id(request): request for requests in self._parked.values() for request in requests}
        for request in waiting.values():
            self.leave(request)
            self._answer(request, error)


def _streams(request: Request) -> list[str]:
    streams = request.named.get("streams")
    if streams is None:
        streams = request.args[0] if request.name == "xread" else request.args[2]
    return list(streams)
