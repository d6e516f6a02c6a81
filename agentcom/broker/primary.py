"""Connections that find the primary, and leave a server that is none any more.

A server that was demoted goes on answering reads as if nothing had happened. So all connections of a program share a
`Route`: as soon as one of them is told that its server is no primary, none of them is used again without being made
anew. Where the address names several servers, or sentinels, to make a connection means to look for the primary first.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import anyio
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from agentcom.broker.packing import PackingConnection, PackingSSLConnection, PackingUnixConnection
from agentcom.broker.trouble import NoPrimary, SentinelRefused, is_refusal, label_of, shows_demotion
from agentcom.settings.addresses import Address, Place, place_name

log = logging.getLogger("agentcom.broker")

PROBE_S = 2.0
"""How long one server, or one sentinel, may take to answer while the primary is looked for."""

Visit = Callable[[Place], Awaitable[None]]
"""Connects to a server that has to be a primary; raises what is wrong with it."""


class _IsReplica(ResponseError):
    """A server is a replica, and accepts the user."""


class Route:
    """What the connections of one program know together about their way to the primary."""

    def __init__(self) -> None:
        self.generation = 0

    def doubt(self, seen: int | None) -> None:
        """A connection made in generation `seen` met a server that is no primary: all are to be made anew."""
        if seen == self.generation:
            self.generation += 1


class Finder(Route):
    """A route that is looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.place: Place | None = None

    async def find(self, visit: Visit) -> Place:
        """Visit servers until one is found to be the primary, and stay there.

        Raises:
            NoPrimary: there is none, or more than one.
            AuthenticationError: there is none, for a server or sentinel refused the user or password, which nobody has
                accepted before; or the last known primary refuses them now.
        """
        raise NotImplementedError

    def found(self, place: Place) -> int:
        """The primary is here. Returns 1 if that is news, by which connections to any other place become old; or 0."""
        if place == self.place:
            return 0
        if self.place is not None:
            log.warning("the primary is now %s, it was %s", place_name(place), place_name(self.place))
        self.place = place
        self.generation += 1
        return 1


class Several(Finder):
    """Several servers, of which somebody else sees to it that exactly one is the primary.

    The last known primary is tried first and alone: a short loss of the connection moves nobody elsewhere. Otherwise
    all are looked at, for a former primary that was restarted may still believe that it is the one.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        super().__init__()
        self._places = places

    async def find(self, visit: Visit) -> Place:
        """As `Finder.find`."""
        heard: dict[str, Exception] = {}
        if self.place is not None and await _fits(visit, self.place, heard):
            return self.place
        fit = [place for place in self._places if place_name(place) not in heard and await _fits(visit, place, heard)]
        if len(fit) > 1:
            names = " and ".join(map(place_name, fit))
            raise NoPrimary(f"{names} both say that they are the primary; make one a replica of the other")
        if not fit:
            raise _nothing_found(heard, self.place)
        await visit(fit[0])
        return fit[0]


class Sentinels(Finder):
    """Sentinels, which say where the primary is. The server that is meant is asked, too: a sentinel may be behind.

    redis-py's own Sentinel takes refused credentials for a sentinel that is away, and believes the first answer.
    """

    def __init__(self, address: Address, tls: dict[str, Any]) -> None:
        super().__init__()
        self._places = list(address.places)
        self._service = address.service
        self._options: dict[str, Any] = {
            "username": address.sentinel_username or None,
            "password": address.sentinel_password or None,
            "socket_connect_timeout": PROBE_S,
            "socket_timeout": PROBE_S,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            **({"ssl": True, **tls} if address.tls else {}),
        }

    async def find(self, visit: Visit) -> Place:
        """As `Finder.find`."""
        heard: dict[str, Exception] = {}
        tried: set[Place] = set()
        for sentinel in tuple(self._places):
            try:
                with anyio.fail_after(PROBE_S):
                    place = await self._ask(sentinel)
            except (RedisError, OSError) as error:
                heard[f"sentinel {place_name(sentinel)}"] = _as_sentinels(error, sentinel)
                continue
            if place not in tried and await _fits(visit, place, heard):
                self._places.remove(sentinel)
                self._places.insert(0, sentinel)
                return place
            tried.add(place)
        raise _nothing_found(heard, self.place, sentinels_answer=bool(tried))

    async def _ask(self, sentinel: Place) -> Place:
        host, port = sentinel
        redis: Any = Redis(host=host, port=port, **self._options)
        async with redis:
            reply = await redis.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        if reply is None:
            raise ResponseError(f"it knows no service {self._service!r}")
        return reply[0].decode(), int(reply[1])


class Watchful(AbstractConnection):
    """Is made anew before its next use as soon as the route is in doubt."""

    def __init__(self, *, route: Route, **options: Any) -> None:
        super().__init__(**options)
        # Not to tell its name and version: who writes several times before reading loses the answer of a server that
        # has too many clients, and closes the connection with it.
        self.driver_info = self.lib_name = self.lib_version = None
        self._route = route
        self._generation: int | None = None
        """In which generation of the route it was made; None while it is being made."""

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        """Connect, unless it is connected."""
        if not self.is_connected:
            generation, self._generation = self._route.generation, None
            await super().connect_check_health(check_health, retry_socket_connect)
            self._generation = generation

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send, over a connection that is not in doubt."""
        if self._generation is not None and self._generation != self._route.generation:
            await self.disconnect(nowait=True)
        await super().send_packed_command(command, check_health)

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Receive. Other replies may be on their way, so a server that is no primary is left only afterwards."""
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if shows_demotion(error):
                self._route.doubt(self._generation)
            raise


class Following(Watchful):
    """Goes to wherever the primary is."""

    _route: Finder
    host: str
    port: int

    async def connect_check_health(self, *_: Any, **__: Any) -> None:
        """Find the primary and connect to it, unless this is connected."""
        if self.is_connected:
            return
        generation, self._generation = self._route.generation, None
        try:
            place = await self._route.find(self._visit)
        except BaseException:
            await self.disconnect(nowait=True)
            raise
        self._generation = generation + self._route.found(place)

    async def _visit(self, place: Place) -> None:
        await self.disconnect(nowait=True)
        self.host, self.port = place
        # Not Watchful's: that would take the connection for a finished one.
        await super(Watchful, self).connect_check_health(check_health=False, retry_socket_connect=False)
        # Unlike ROLE and INFO, HELLO is open to every user, and answered also while a script runs or data is loaded.
        await self.send_command("HELLO", check_health=False)
        reply = await self.read_response()
        told = dict(zip(reply[::2], reply[1::2], strict=True))
        if told[b"mode"] == b"sentinel":
            raise ResponseError("it is a sentinel, name it with sentinel://")
        if told[b"role"] != b"master":
            raise _IsReplica("it is a replica")


class WatchfulTcp(Watchful, PackingConnection):
    """To one server over TCP."""


class WatchfulTls(Watchful, PackingSSLConnection):
    """To one server over TLS."""


class WatchfulUnix(Watchful, PackingUnixConnection):
    """To one server over a unix socket."""


class FollowingTcp(Following, PackingConnection):
    """To the primary over TCP."""


class FollowingTls(Following, PackingSSLConnection):
    """To the primary over TLS."""


async def _fits(visit: Visit, place: Place, heard: dict[str, Exception]) -> bool:
    """Whether a server is a primary; if not, what was heard is noted."""
    try:
        with anyio.fail_after(PROBE_S):
            await visit(place)
    except (RedisError, OSError) as error:
        heard[place_name(place)] = error
        return False
    return True


def _nothing_found(heard: dict[str, Exception], last: Place | None, *, sentinels_answer: bool = False) -> Exception:
    """Credentials that a replica, another sentinel, or the last known primary accepts are not wrong: who refuses them
    is set up badly, and that must not end programs during a fail-over. That primary itself may come to refuse them."""
    worked_elsewhere = {who for who in heard if last is not None and who != place_name(last)}
    accepted = any(isinstance(error, _IsReplica) for error in heard.values())
    for who, error in heard.items():
        known_good = sentinels_answer if isinstance(error, SentinelRefused) else accepted
        if is_refusal(error) and not known_good and who not in worked_elsewhere:
            return error
    return NoPrimary("no primary found: " + "; ".join(f"{who}: {label_of(error)}" for who, error in heard.items()))


def _as_sentinels(error: Exception, sentinel: Place) -> Exception:
    return SentinelRefused(f"sentinel {place_name(sentinel)}: {error}") if is_refusal(error) else error
