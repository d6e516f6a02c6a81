"""Where the primary is, is found out, and followed: with several addresses, and with sentinels."""

import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from agentcom.broker import connection, primary
from agentcom.broker.connection import Connections, connected, explained, named, until_back
from agentcom.errors import ConfigurationError, CredentialsRefused, ServerUnavailable
from tests.broker.groups import SentinelServer, TcpServer, free_port, replicated, watched
from tests.broker.servers import any_binary
from tests.patience import PATIENCE_S
from tests.scheduler.harness import QUICK, Agent, Pool, at_work, eventually, leading

pytestmark = pytest.mark.process

FOLLOWED_WITHIN_S = 90.0
"""Sentinels of these tests promote in 4 to 8 s, then a client's wait between two tries counts, up to 10. A machine
that stood still for 2 seconds keeps them from acting for 30 more (redis.io, Sentinel, "TILT mode")."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[TcpServer, TcpServer]]:
    with replicated(tmp_path, any_binary()) as pair:
        yield pair


@asynccontextmanager
async def to(url: str, **options: Any) -> AsyncIterator[Connections]:
    connections = Connections(url, **options)
    try:
        yield connections
    finally:
        await connections.close()


def both(*servers: TcpServer) -> str:
    return "redis://" + ",".join(server.place for server in servers)


def promote(server: TcpServer) -> None:
    server("REPLICAOF", "NO", "ONE")


def demote(server: TcpServer, to: TcpServer) -> None:
    """As a person does it: unlike a sentinel it cuts no connections."""
    server("REPLICAOF", "127.0.0.1", to.port)


async def write(connections: Connections, value: str) -> list[Exception]:
    """Write, waiting for a primary as long as that takes; what was heard meanwhile."""
    heard: list[Exception] = []
    with anyio.fail_after(FOLLOWED_WITHIN_S):
        await until_back(lambda: connections.commands.set("k", value), heard.append)
    return heard


# ------------------------------------------------------------ several addresses


async def test_the_primary_is_found_wherever_it_stands_among_the_addresses(pair: tuple[TcpServer, TcpServer]) -> None:
    first, second = pair
    nobody = f"127.0.0.1:{free_port()}"
    for url in (both(first, second), both(second, first), f"redis://{nobody},{second.place},{first.place}/3"):
        async with connected(url) as connections:
            await connections.commands.set("k", "v")
            assert await connections.blocking.get("k") == b"v"


async def test_both_clients_follow_when_the_primary_is_killed_and_another_promoted(
    pair: tuple[TcpServer, TcpServer],
) -> None:
    first, second = pair
    async with to(both(first, second), one_reader=True) as connections:
        await connections.commands.set("k", "before")
        await connections.blocking.xread({"s": "0"}, block=1)
        first.kill()
        timer = threading.Timer(0.5, promote, (second,))
        timer.start()
        heard = await write(connections, "after")
        timer.join()
        assert re.search(r"no primary found: .*127.0.0.1:\d+: it is a replica", explained(heard[-1]))
        second("XADD", "s", "*", "f", "v")
        assert await connections.blocking.xread({"s": "0"}, block=1)


async def test_a_demotion_that_cuts_no_connection_is_followed_by_both_clients(
    pair: tuple[TcpServer, TcpServer],
) -> None:
    first, second = pair
    async with to(both(first, second), one_reader=True) as connections:
        await connections.commands.set("k", "before")
        assert await connections.blocking.get("k") == b"before"
        promote(second)
        demote(first, second)
        heard = await write(connections, "after")
        assert explained(heard[0]).startswith("READONLY, ")
        # Nobody told this client: the old primary would answer it for ever.
        info: Any = await connections.blocking.info("server")
        assert info["tcp_port"] == second.port


async def test_a_single_address_that_leads_elsewhere_after_a_fail_over_is_connected_to_anew(
    pair: tuple[TcpServer, TcpServer],
) -> None:
    first, second = pair
    with switch() as (url, lead_to):
        lead_to(first)
        async with to(url) as connections:
            await connections.commands.set("k", "before")
            assert await connections.blocking.get("k") == b"before"
            promote(second)
            demote(first, second)
            lead_to(second)
            assert len(await write(connections, "after")) == 1, "the next try found the new primary"
            info: Any = await connections.blocking.info("server")
            assert info["tcp_port"] == second.port


async def test_two_that_say_they_are_the_primary_are_refused_and_named(
    pair: tuple[TcpServer, TcpServer],
) -> None:
    first, second = pair
    async with to(both(first, second)) as connections:
        await connections.commands.set("k", "v")
        promote(second)
        await connections.commands.connection.disconnect()  # type: ignore[union-attr]
        await connections.commands.set("k", "v")
        assert first("GET", "k") == b"v", "who has a primary stays there when the connection is lost"
    with pytest.raises(ServerUnavailable, match=f"{first.place} and {second.place} both say that they are the primary"):
        async with connected(both(first, second)):
            raise AssertionError


async def test_a_frozen_primary_is_left_for_the_promoted_one(
    pair: tuple[TcpServer, TcpServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connection, "BLOCK_MAX_S", 0.5)
    monkeypatch.setattr(primary, "PROBE_S", 0.5)
    first, second = pair
    async with to(both(first, second), one_reader=True) as connections:
        await connections.commands.set("k", "before")
        assert await connections.blocking.get("k") == b"before"
        first.freeze()
        promote(second)
        heard = await write(connections, "after")
        assert explained(heard[0]).startswith("no answer in time, ")
        assert await connections.blocking.get("k") == b"after"


async def test_a_wrong_password_is_refused_by_any_of_them_at_once(pair: tuple[TcpServer, TcpServer]) -> None:
    first, second = pair
    for server in pair:
        server("CONFIG", "SET", "requirepass", "right")
    url = both(first, second).replace("://", "://default:wrong@")
    with anyio.fail_after(PATIENCE_S), pytest.raises(CredentialsRefused, match="WRONGPASS") as refusal:
        async with connected(url, wait=True):
            raise AssertionError
    assert "default:***@" in str(refusal.value)
    async with connected(url.replace("wrong", "right")):
        pass


async def test_one_server_with_another_password_ends_nobody_while_the_primary_is_away(
    pair: tuple[TcpServer, TcpServer],
) -> None:
    first, second = pair
    with TcpServer(first.folder.with_name("odd"), any_binary(), {"requirepass": "odd"}) as odd:
        first.kill()
        with pytest.raises(ServerUnavailable, match=f"{second.place}: it is a replica; {odd.place}: NOAUTH"):
            async with connected(both(first, second, odd)):
                raise AssertionError


async def test_who_had_found_the_primary_is_not_ended_by_another_server_that_refuses_it(
    pair: tuple[TcpServer, TcpServer],
) -> None:
    first, _ = pair
    with TcpServer(first.folder.with_name("odd"), any_binary(), {"requirepass": "odd"}) as odd:
        async with to(both(first, odd)) as connections:
            await connections.commands.set("k", "v")
            first.kill()
            await connections.commands.connection.disconnect()  # type: ignore[union-attr]
            with pytest.raises(RedisConnectionError) as away:
                await connections.commands.get("k")
            assert isinstance(named(away.value, "redis://h"), ServerUnavailable)
            assert f"{odd.place}: NOAUTH" in str(away.value)
            first.start()
            await write(connections, "after")
            first("CONFIG", "SET", "requirepass", "new")
            await connections.commands.connection.disconnect()  # type: ignore[union-attr]
            with pytest.raises(RedisConnectionError) as refused:
                await connections.commands.get("k")
            assert isinstance(named(refused.value, "redis://h"), CredentialsRefused), "the primary itself refuses it"


# ------------------------------------------------------------ sentinels


def through(*sentinels: TcpServer, user: str = "", options: str = "") -> str:
    return f"sentinel://{user}{','.join(sentinel.place for sentinel in sentinels)}/main{options}"


@pytest.mark.pitfall_6
@pytest.mark.timeout(300)
async def test_with_sentinels_everything_follows_to_the_new_primary_and_nobody_goes_back(tmp_path: Path) -> None:
    with watched(tmp_path, any_binary()) as (first, second, sentinels):
        async with to(through(*sentinels), one_reader=True) as connections:
            await connections.commands.set("k", "before")
            assert await connections.blocking.get("k") == b"before"
            first.kill()
            heard = await write(connections, "after")
            assert {type(named(error, "redis://h")) for error in heard} == {ServerUnavailable}
            assert second("GET", "k") == b"after"
            assert await connections.blocking.get("k") == b"after"
            first.start()  # it believes to be the primary still, until a sentinel tells it otherwise
            await connections.commands.connection.disconnect()  # type: ignore[union-attr]
            await write(connections, "later")
            assert second("GET", "k") == b"later"
            async with to(through(*sentinels)) as newcomer:
                assert await newcomer.commands.get("k") == b"later"
            sentinels[0].kill()
            async with to(through(*sentinels)) as newcomer:
                assert await newcomer.commands.get("k") == b"later", "one sentinel of three is enough"


@pytest.mark.timeout(300)
async def test_a_pool_goes_on_after_a_fail_over(tmp_path: Path) -> None:
    with watched(tmp_path, any_binary()) as (first, second, sentinels):
        pool = Pool(through(*sentinels), "p", QUICK)
        async with at_work() as group, leading(pool, group):
            group.start_soon(Agent(pool, "oak").run)
            before = await pool.submit(20)
            await eventually(lambda: pool.all_completed(before))
            first("WAIT", 1, 10_000)
            first.kill()
            with anyio.fail_after(FOLLOWED_WITHIN_S):
                after = await until_back(lambda: pool.submit(1), lambda _: None)
            await eventually(lambda: pool.all_completed(before + after), FOLLOWED_WITHIN_S)
            await pool.judge(before + after)
        assert second("INFO", "replication")["role"] == "master"
        await pool.connections.close()


async def test_a_sentinel_that_is_behind_is_not_believed(pair: tuple[TcpServer, TcpServer]) -> None:
    first, second = pair
    with sentinel_that_says(second) as behind, sentinel_that_says(first) as current:
        async with connected(f"sentinel://{behind},{current}/main") as connections:
            await connections.commands.set("k", "v")
        with pytest.raises(ServerUnavailable, match=rf"no primary found: {second.place}: it is a replica"):
            async with connected(f"sentinel://{behind}/main"):
                raise AssertionError


async def test_what_keeps_sentinels_from_helping_is_named(tmp_path: Path) -> None:
    binary = any_binary()
    nobody = TcpServer(tmp_path / "never started", binary)
    with (
        TcpServer(tmp_path / "server", binary) as server,
        SentinelServer(tmp_path / "sentinel", binary, server, "requirepass guarded") as sentinel,
    ):
        for options, refusal in (("", "Authentication required"), ("?sentinel_password=wrong", "invalid username")):
            with pytest.raises(CredentialsRefused, match=refusal) as caught, anyio.fail_after(PATIENCE_S):
                async with connected(through(sentinel, options=options), wait=True):
                    raise AssertionError
            assert f"sentinel {sentinel.place}: " in str(caught.value)
            assert str(caught.value).endswith("Check sentinel_username and sentinel_password in the URL")
        guarded = "?sentinel_password=guarded"
        async with connected(through(sentinel, options=guarded)) as connections:
            assert await connections.commands.ping()
        with sentinel_that_says(nobody) as other:
            url = f"sentinel://{sentinel.place},{other}/main"
            with pytest.raises(ServerUnavailable, match=f"sentinel {sentinel.place}: .*Authentication required"):
                async with connected(url):
                    raise AssertionError
        with pytest.raises(ServerUnavailable, match=f"sentinel {sentinel.place}: it knows no service 'other'"):
            async with connected(through(sentinel, options=guarded).replace("/main", "/other")):
                raise AssertionError
        with pytest.raises(ServerUnavailable, match=r"no primary found: sentinel .*unknown command"):
            async with connected(through(server)):
                raise AssertionError
        with pytest.raises(ServerUnavailable, match="it is a sentinel, name it with sentinel://"):
            async with connected(f"{both(sentinel, sentinel)},127.0.0.1:{free_port()}?password=guarded"):
                raise AssertionError


# ------------------------------------------------------------ stand-ins


@contextmanager
def sentinel_that_says(server: TcpServer) -> Iterator[str]:
    """A sentinel's place that gives this server for the primary, whatever it is asked."""
    answer = f"*2\r\n$9\r\n127.0.0.1\r\n${len(str(server.port))}\r\n{server.port}\r\n".encode()

    def serve(client: socket.socket) -> None:
        with client:
            while b"SENTINEL" not in (asked := client.recv(1000)):
                if not asked:
                    return
                client.sendall(b"+OK\r\n" * asked.count(b"SETINFO"))
            client.sendall(b"+OK\r\n" * asked.count(b"SETINFO") + answer)
            client.recv(1000)

    with listening(serve) as place:
        yield place


@contextmanager
def switch() -> Iterator[tuple[str, Any]]:
    """An address that leads now to one server, now to another, as a name or a load balancer does."""
    target: list[TcpServer] = []

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", target[-1].port)) as server:
            back = threading.Thread(target=pump, args=(server, client))
            back.start()
            pump(client, server)
            back.join()

    with listening(serve) as place:
        yield f"redis://{place}", target.append


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def listening(serve: Any) -> Iterator[str]:
    """Calls `serve` with each connection, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(5)


async def test_a_sentinel_named_as_a_server_and_a_database_that_is_not_there_are_said_and_end_a_program(
    tmp_path: Path,
) -> None:
    with watched(tmp_path, any_binary()) as (first, _, sentinels):
        for url, said in (
            (f"redis://{sentinels[0].place}", "is a sentinel, which keeps no data. Name the service"),
            (f"redis://{first.place}/99", "has no database of that number"),
        ):
            with anyio.fail_after(FOLLOWED_WITHIN_S), pytest.raises(ConfigurationError, match=said):
                async with connected(url, wait=True):
                    pass
