"""Each trouble that a real server can be in is told apart, named to people in one line, and waited out or not."""

import logging
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis import exceptions

from agentcom.broker import connection
from agentcom.broker.connection import Connections, connected, explained, is_away, is_refusal, named, until_back
from agentcom.broker.embedded import ServerBinary
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.broker.sidecar_store import Output, SidecarStore
from agentcom.errors import CredentialsRefused, ServerUnavailable
from agentcom.settings import Policy
from agentcom.sidecar.trouble import Complaints
from tests.broker.groups import TcpServer, free_port, replicated, wait_for
from tests.broker.servers import ORIGINS, binary_of
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.process


@pytest.fixture(params=ORIGINS)
def binary(request: pytest.FixtureRequest) -> ServerBinary:
    return binary_of(request.param)


@pytest.fixture
def server(binary: ServerBinary, tmp_path: Path) -> Iterator[TcpServer]:
    with TcpServer(tmp_path / "server", binary) as server:
        yield server


@asynccontextmanager
async def open_to(url: str, **options: Any) -> AsyncIterator[Connections]:
    connections = Connections(url, **options)
    try:
        yield connections
    finally:
        await connections.close()


async def trouble_of(url: str, *command: Any, blocking: bool = False) -> Exception:
    """What a command brings over a connection of ours."""
    async with open_to(url) as connections:
        with pytest.raises((exceptions.RedisError, OSError)) as caught:
            await (connections.blocking if blocking else connections.commands).execute_command(*command)
    return caught.value


def is_said(error: Exception, start: str) -> None:
    """An error passes, and is one line that says what it is, what it means and what to do."""
    assert is_away(error)
    assert not is_refusal(error)
    line = explained(error)
    assert line.startswith(f"{start}, "), line
    assert re.fullmatch(r"[^\n]+\. [A-Z][^\n]+", line), line
    told = named(error, "redis://u:secret@h")
    assert isinstance(told, ServerUnavailable)
    assert str(told).startswith(f"cannot use Redis at redis://u:***@h: {start}, ")


def is_said_to_be_refused(error: Exception, start: str) -> None:
    """An error ends the program, and says why."""
    assert is_refusal(error)
    assert not is_away(error)
    assert explained(error).startswith(f"{start}, ")
    told = named(error, "redis://u:secret@h")
    assert isinstance(told, CredentialsRefused)
    assert str(told).startswith(f"Redis at redis://u:***@h refused: {start}, ")
    assert str(told).endswith(". Check user and password in the URL, and the user's ACL rules")


# ------------------------------------------------------------ replicas


async def test_a_replica_takes_no_writes(binary: ServerBinary, tmp_path: Path) -> None:
    with replicated(tmp_path, binary) as (_, replica):
        is_said(await trouble_of(replica.url, "SET", "k", "v"), "READONLY")
        async with open_to(replica.url) as connections:
            with pytest.raises(exceptions.RedisError) as in_a_script:
                await SchedulerStore(connections, "p", Policy()).lead("me")
            is_said(in_a_script.value, "READONLY")
            sidecar = SidecarStore(connections, "p", "oak", "sc-1", Policy())
            with pytest.raises(exceptions.RedisError) as in_a_pipeline:
                await sidecar.output([Output("t", 1, 1, b"printed")])
            is_said(in_a_pipeline.value, "READONLY")


async def test_a_replica_without_its_primary_answers_nothing(binary: ServerBinary, tmp_path: Path) -> None:
    with replicated(tmp_path, binary) as (primary, replica):
        replica("CONFIG", "SET", "replica-serve-stale-data", "no")
        primary.kill()
        wait_for(lambda: "down" in replica("INFO", "replication")["master_link_status"])
        is_said(await trouble_of(replica.url, "GET", "k"), "MASTERDOWN")


async def test_a_blocking_read_ends_when_its_server_is_demoted(server: TcpServer) -> None:
    server("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    timer = threading.Timer(0.3, lambda: server("REPLICAOF", "127.0.0.1", free_port()))
    timer.start()
    read = ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 4_000, "STREAMS", "s", ">")
    is_said(await trouble_of(server.url, *read, blocking=True), "UNBLOCKED")
    timer.join()


async def test_a_replica_named_as_the_only_server_is_refused_with_what_to_name(
    binary: ServerBinary, tmp_path: Path
) -> None:
    with (
        replicated(tmp_path, binary) as (primary, replica),
        pytest.raises(ServerUnavailable, match=f"is a replica of {primary.place}, .* Name the primary, all servers"),
    ):
        async with connected(replica.url):
            raise AssertionError


async def test_that_a_fail_over_may_lose_accepted_work_is_warned_of(
    binary: ServerBinary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with replicated(tmp_path, binary) as (primary, _):
        async with connected(primary.url):
            assert "replicas and min-replicas-to-write 0: a fail-over may lose accepted work" in caplog.text
        caplog.clear()
        primary("CONFIG", "SET", "min-replicas-to-write", "1")
        async with connected(primary.url):
            assert "min-replicas" not in caplog.text


# ------------------------------------------------------------ servers that are at their end


async def test_a_server_that_loads_its_data_is_waited_for(server: TcpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server("CONFIG", "SET", "save", "3600 1000000")
    server("EVAL", "for i = 1, 3000 do redis.call('SET', 'k' .. i, string.rep('x', 100)) end", 0)
    server("SAVE")
    server.kill()
    slowly = {"key-load-delay": 1000, "loading-process-events-interval-bytes": 1024}
    monkeypatch.setattr(server, "_settings", server._settings | slowly)
    server.start(ready=False)
    is_said(await trouble_of(server.url, "GET", "k1"), "LOADING")
    async with open_to(server.url) as connections:
        heard: list[Exception] = []
        with anyio.fail_after(60):
            assert await until_back(lambda: connections.commands.get("k3000"), heard.append) == b"x" * 100
        assert {explained(error).partition(",")[0] for error in heard} <= {"LOADING", "no answer in time"}


async def test_a_script_that_does_not_end_is_told_from_a_server_that_is_away(server: TcpServer) -> None:
    server("CONFIG", "SET", "lua-time-limit", "50")

    def loop() -> None:
        with pytest.raises(exceptions.ResponseError, match="killed"):
            server("EVAL", "while true do end", 0)

    looping = threading.Thread(target=loop)
    looping.start()
    await anyio.sleep(0.5)
    try:
        is_said(await trouble_of(server.url, "GET", "k"), "BUSY")
    finally:
        server("SCRIPT", "KILL")
        looping.join()


async def test_full_memory_is_named(server: TcpServer) -> None:
    server("CONFIG", "SET", "maxmemory", "1")
    is_said(await trouble_of(server.url, "SET", "k", "v"), "OOM")


async def test_a_server_that_cannot_save_is_named_also_from_within_scripts_and_pipelines(
    server: TcpServer, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    server("CONFIG", "SET", "dir", str(gone))
    server("CONFIG", "SET", "save", "3600 1000000")
    gone.rmdir()
    server("BGSAVE")
    wait_for(lambda: server("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
    is_said(await trouble_of(server.url, "SET", "k", "v"), "MISCONF")
    async with open_to(server.url) as connections:
        with pytest.raises(exceptions.RedisError) as in_a_script:
            await SchedulerStore(connections, "p", Policy()).lead("me")
        is_said(in_a_script.value, "MISCONF")
        with pytest.raises(exceptions.RedisError) as in_a_pipeline:
            await SidecarStore(connections, "p", "oak", "sc-1", Policy()).output([Output("t", 1, 1, b"printed")])
        is_said(in_a_pipeline.value, "MISCONF")


async def test_too_few_replicas_are_named(server: TcpServer) -> None:
    server("CONFIG", "SET", "min-replicas-to-write", "1")
    is_said(await trouble_of(server.url, "SET", "k", "v"), "NOREPLICAS")


async def test_a_full_connection_limit_is_named_and_waited_out(server: TcpServer) -> None:
    server("CONFIG", "SET", "maxclients", "1")
    with server.client() as taken:
        assert taken.ping()
        is_said(await trouble_of(server.url, "GET", "k"), "max number of clients reached")
        async with open_to(server.url) as connections:
            heard: list[Exception] = []

            def let_in(error: Exception) -> None:
                heard.append(error)
                taken.close()

            assert await until_back(connections.commands.ping, let_in)
            assert len(heard) >= 1


async def test_a_node_of_a_cluster_is_named(binary: ServerBinary, tmp_path: Path) -> None:
    with TcpServer(tmp_path, binary, {"cluster-enabled": "yes", "cluster-port": free_port()}) as node:
        error = await trouble_of(node.url, "SET", "k", "v")
        assert explained(error).startswith("CLUSTERDOWN, the server is a node of a Redis Cluster")


# ------------------------------------------------------------ credentials


def authless(server: TcpServer) -> str:
    return server.url


def with_a_wrong_password(server: TcpServer) -> str:
    return server.url.replace("://", "://default:wrong@")


@pytest.mark.parametrize(("url_of", "start"), [(authless, "NOAUTH"), (with_a_wrong_password, "WRONGPASS")])
async def test_a_missing_and_a_wrong_password_end_a_program_after_one_try(
    server: TcpServer, url_of: Callable[[TcpServer], str], start: str
) -> None:
    with server.client() as admin:
        admin.config_set("requirepass", "right")
        is_said_to_be_refused(await trouble_of(url_of(server), "GET", "k"), start)
        admin.config_resetstat()
        async with open_to(url_of(server), repeats=3) as connections:
            with anyio.fail_after(PATIENCE_S), pytest.raises(CredentialsRefused):
                await until_back(connections.commands.ping, lambda _: None)
        tries = admin.info("stats")["total_connections_received"]
        assert tries <= 1, "what was refused is not tried again"


async def test_what_a_user_may_not_do_is_named(server: TcpServer) -> None:
    server("ACL", "SETUSER", "oak", "on", ">p", "~*", "+@all", "-xadd")
    url = server.url.replace("://", "://oak:p@")
    error = await trouble_of(url, "XADD", "s", "*", "f", "v")
    is_said_to_be_refused(error, "NOPERM")
    assert "xadd" in explained(error), "the server's own words say which command"
    async with open_to(url) as connections:
        with pytest.raises(exceptions.RedisError) as in_a_script:
            await SidecarStore(connections, "p", "oak", "sc-1", Policy()).finish([], [b"report"])
        is_said_to_be_refused(in_a_script.value, "NOPERM")


# ------------------------------------------------------------ silence


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits a tenth as long."""
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connection, "BLOCK_MAX_S", 0.5)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_server_that_freezes_is_noticed_in_time_and_used_again_when_it_thaws(
    server: TcpServer, blocking: bool
) -> None:
    async with open_to(server.url, one_reader=True) as connections:
        client: Any = connections.blocking if blocking else connections.commands
        action = (lambda: client.xread({"s": "0"}, block=400)) if blocking else (lambda: client.get("k"))
        await action()
        server.freeze()
        heard: list[Exception] = []

        def hear(error: Exception) -> None:
            heard.append(error)
            server.thaw()

        began = anyio.current_time()
        await until_back(action, hear)
        assert anyio.current_time() - began < 5, "each client's limit is at most a second here"
        is_said(heard[0], "no answer in time")


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_peer_that_is_silent_from_the_start_is_noticed_in_time(blocking: bool) -> None:
    with silent_server() as url, anyio.fail_after(5):
        is_said(await trouble_of(url, "PING", blocking=blocking), "no answer in time")


async def test_connections_ask_the_system_to_look_for_a_peer_that_is_gone(server: TcpServer) -> None:
    for url in (server.url, f"{server.url},127.0.0.1:{free_port()}"):
        async with open_to(url) as connections:
            await connections.commands.ping()
            held: Any = connections.commands.connection
            peer = held._writer.get_extra_info("socket")
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15


# ------------------------------------------------------------ what people read


async def test_a_sidecar_logs_trouble_once_and_by_its_name(server: TcpServer, caplog: pytest.LogCaptureFixture) -> None:
    server("CONFIG", "SET", "maxmemory", "1")
    error = await trouble_of(server.url, "SET", "k", "v")
    complaints = Complaints()
    with caplog.at_level(logging.WARNING):
        complaints.of("beats").say(error)
        complaints.of("beats").say(error)
        complaints.of("reports").say(error)
    assert [record.getMessage() for record in caplog.records] == [
        f"Redis is in trouble, trying again: {explained(error)}"
    ]
    assert "OOM, the server's memory is full. Raise maxmemory" in caplog.text
