"""Which servers are trusted, what is waited out, and what ends a program."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis import exceptions
from redis.asyncio import Redis

import agentcom
from agentcom.broker import connection
from agentcom.broker.connection import (
    RECONNECT_CAP_S,
    Connections,
    backoff_s,
    check_server,
    connected,
    explained,
    is_away,
    is_refusal,
    named,
    stop_if_refused,
    until_back,
)
from agentcom.broker.embedded import EmbeddedServer, candidates
from agentcom.broker.keys import Keys
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.broker.trouble import MEANINGS
from agentcom.errors import ConfigurationError, CredentialsRefused, ServerUnavailable
from agentcom.model.commit import Commit
from agentcom.model.messages import Beat
from agentcom.settings import Policy
from tests.broker.conformance.pool import assign_body, order_out
from tests.patience import PATIENCE_S

URL = "redis://someone:secret@somewhere:6379/0"

AWAY: list[Exception] = [
    exceptions.ConnectionError("Connection refused"),
    exceptions.TimeoutError("Timeout reading from socket"),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    exceptions.MasterDownError("Link with MASTER is down"),
    exceptions.ClusterDownError("The cluster is down"),
    exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    exceptions.MaxConnectionsError("Too many connections"),
    exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    exceptions.ResponseError("BUSY Redis is busy running a script."),
    exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
    exceptions.ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"),
    exceptions.ResponseError("UNKILLABLE Sorry the script already executed write commands"),
    ConnectionResetError("reset by peer"),
    TimeoutError(),
]

REFUSED: list[Exception] = [
    exceptions.AuthenticationError("invalid username-password pair or user is disabled."),
    exceptions.AuthorizationError("no"),
    exceptions.NoPermissionError("User elm has no permissions to run the 'xadd' command"),
    exceptions.ResponseError("ACL failure in script: No permissions to access a key script: 1f2e"),
    exceptions.ResponseError("The user executing the script can't run this command or subcommand script: 1f2e"),
]

BROKEN: list[Exception] = [
    exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    exceptions.ResponseError("NOGROUP No such key"),
    exceptions.DataError("Invalid input of type"),
]


def said(error: Exception) -> str:
    return f"{type(error).__name__} {error}"[:40]


# ------------------------------------------------------------ kinds of trouble


@pytest.mark.parametrize("error", AWAY, ids=said)
async def test_what_passes_by_itself_is_waited_out(error: Exception) -> None:
    assert is_away(error)
    assert not is_refusal(error)
    stop_if_refused(error)
    failures = [error, error]

    async def action() -> str:
        if failures:
            raise failures.pop()
        return "done"

    heard: list[Exception] = []
    assert await until_back(action, heard.append) == "done"
    assert heard == [error, error]
    assert isinstance(named(error, URL), ServerUnavailable)


@pytest.mark.parametrize("error", REFUSED, ids=said)
async def test_refused_credentials_end_the_program_at_once(error: Exception) -> None:
    assert is_refusal(error)
    assert not is_away(error)
    tries: list[int] = []

    async def action() -> None:
        tries.append(1)
        raise error

    with pytest.raises(CredentialsRefused, match="ACL rules") as refusal:
        await until_back(action, lambda _: None)
    assert (len(tries), refusal.value.exit_code) == (1, 78)
    with pytest.raises(CredentialsRefused):
        stop_if_refused(error)
    assert isinstance(named(error, URL), CredentialsRefused)


@pytest.mark.parametrize("error", BROKEN, ids=said)
async def test_other_answers_are_no_absence(error: Exception) -> None:
    assert not is_away(error)
    assert not is_refusal(error)

    async def action() -> None:
        raise error

    with pytest.raises(type(error)):
        await until_back(action, lambda _: None)
    assert str(error) in str(named(error, URL))


def test_errors_are_named_without_the_password_and_foreign_ones_left_alone() -> None:
    for error in (*AWAY, *REFUSED, *BROKEN):
        assert "secret" not in str(named(error, URL))
        assert "someone:***@somewhere" in str(named(error, URL))
    foreign = ValueError("not Redis's")
    assert named(foreign, URL) is foreign


@pytest.mark.parametrize("code", [code for code in MEANINGS if code.isupper()])
def test_every_answer_that_is_known_is_explained_in_one_line_also_from_within_a_pipeline(code: str) -> None:
    for words in (f"{code} said", f"Command # 1 (XADD k * f (v) …) of pipeline caused error: ('{code} said',)"):
        line = explained(exceptions.ResponseError(words))
        assert line.startswith(f"{code}, {MEANINGS[code].what}")
        assert line.endswith(f". {MEANINGS[code].remedy}")
        assert "XADD" not in line


def test_what_is_not_known_is_said_as_it_is() -> None:
    assert explained(exceptions.ResponseError("BUSYGROUP Consumer Group\nexists.")) == "BUSYGROUP Consumer Group exists"
    assert explained(OSError()) == "OSError"
    assert not is_away(exceptions.ResponseError("BUSYGROUP Consumer Group name already exists"))


def test_the_wait_is_random_up_to_a_bound_that_doubles_and_ends_somewhere() -> None:
    for attempt in (0, 1, 3, 10, 10_000):
        bound = min(RECONNECT_CAP_S, 0.2 * 2 ** min(attempt, 20))
        waits = [backoff_s(attempt) for _ in range(300)]
        assert 0.05 <= min(waits) <= bound * 0.3 + 0.05
        assert bound * 0.7 <= max(waits) <= bound


# ------------------------------------------------------------ fit servers


class Told:
    """Stands in for a server that tells this of itself."""

    def __init__(self, **told: Any) -> None:
        self._told = {"aof_enabled": 1, **told}

    async def info(self, _: str) -> dict[str, Any]:
        return self._told


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"redis_version": "6.2.14"}, "redis 6.2.14 .* too old. Use 7.0 or newer"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.9"}, "valkey 7.2.9 .* too old. Use 8.0 or newer"),
        ({"redis_version": "unknown"}, "too old"),
        ({"redis_version": "7.0.0", "maxmemory_policy": "allkeys-lru"}, "may drop accepted work.* noeviction"),
    ],
)
async def test_an_unfit_server_is_refused_with_what_to_do(told: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        await check_server(Told(**told), URL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "product"),
    [
        ({"redis_version": "7.0.0"}, "redis 7.0.0"),
        ({"redis_version": 8.2}, "redis 8.2"),
        ({"redis_version": "10.0-rc1", "maxmemory_policy": "noeviction"}, "redis 10.0-rc1"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, "valkey 8.0.1"),
    ],
)
async def test_a_fit_server_is_told_by_product_and_version(told: dict[str, Any], product: str) -> None:
    assert await check_server(Told(**told), URL) == product  # type: ignore[arg-type]


async def test_a_server_that_forgets_everything_with_a_restart_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    await check_server(Told(redis_version="7.0.0", aof_enabled=0), URL)  # type: ignore[arg-type]
    assert "no append-only file" in caplog.text


async def test_an_unreachable_server_and_a_malformed_url_are_named() -> None:
    with pytest.raises(ServerUnavailable, match="cannot reach Redis at unix:///nowhere"):
        async with connected("unix:///nowhere/redis.sock"):
            raise AssertionError
    with pytest.raises(ConfigurationError, match="is not a Redis URL"):
        Connections("http://x")


# ------------------------------------------------------------ on a real server


@pytest.fixture
async def admin(own_server: EmbeddedServer) -> AsyncIterator[Any]:
    redis = Redis.from_url(own_server.url)
    yield redis
    await redis.aclose()


@pytest.mark.process
async def test_a_server_that_evicts_is_refused(own_server: EmbeddedServer, admin: Any) -> None:
    async with connected(own_server.url):
        pass
    await admin.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigurationError, match="allkeys-lru"):
        async with connected(own_server.url):
            raise AssertionError


@pytest.mark.process
async def test_a_wrong_password_is_refused_at_once_before_and_while_connected(
    own_server: EmbeddedServer, admin: Any
) -> None:
    connections = Connections(own_server.url)
    await admin.config_set("requirepass", "right")
    try:
        with anyio.fail_after(PATIENCE_S):
            with pytest.raises(CredentialsRefused):
                await until_back(connections.commands.ping, lambda _: None)
            with pytest.raises(CredentialsRefused, match=r"invalid|WRONGPASS"):
                async with connected(f"{own_server.url}?username=default&password=wrong"):
                    raise AssertionError
    finally:
        await connections.close()
        await admin.config_set("requirepass", "")


@pytest.mark.process
async def test_a_rule_that_forbids_what_a_commit_does_is_refused_credentials(
    own_server: EmbeddedServer, admin: Any
) -> None:
    await admin.execute_command("ACL", "SETUSER", "s", "on", ">p", "~*", "+@all", "-xadd")
    connections = Connections(f"{own_server.url}?username=s&password=p")
    store = SchedulerStore(connections, "p", Policy())
    fence = await store.lead("leader")
    assert fence is not None
    call = store.encode(Commit(dead=[], refusals=[], keys={"k": "t@1"}, orders=[]), fence)
    assert await store.commit(call) == "done"
    fence.seq += 1
    with pytest.raises(CredentialsRefused):
        await until_back(lambda: store.commit(store.encode(Commit(orders=[order_out()]), fence)), lambda _: None)
    await connections.close()


@pytest.mark.process
@pytest.mark.pitfall_6
async def test_full_memory_refuses_new_work_and_lets_what_is_open_be_finished(
    own_server: EmbeddedServer, admin: Any
) -> None:
    connections = Connections(own_server.url)
    store = SchedulerStore(connections, "p", Policy())
    sidecar = SidecarStore(connections, "p", "oak", "sc-1", Policy())
    await sidecar.open()
    order = (await admin.xadd(Keys("p").orders("oak"), {"m": assign_body()})).decode()
    await admin.config_set("maxmemory", 1)
    try:
        with pytest.raises(exceptions.OutOfMemoryError):
            await admin.xadd(Keys("p").inbox, {"m": "a request"})
        await sidecar.open()
        assert await store.take_undelivered("elm", 1) == [], "a sweep goes on: it is what frees memory in the end"
        assert [entry.id for entry in await sidecar.read(1, 1)] == [order]
        await sidecar.beat(Beat(agent="oak", incarnation="sc-1", count=1, at=1, state="working"), 30.0)
        assert await sidecar.renew([order]) == []
        await sidecar.finish([order], [b"report"])
        fence = await store.lead("leader")
        assert fence is not None
        batches = await store.read(await store.head(), 10, 1, inbox=True)
        (report,) = batches[store.reports]
        assert await store.commit(store.encode(Commit(reports_at=report.id), fence)) == "done"
        assert await admin.xlen(Keys("p").reports) == 0
    finally:
        await admin.config_set("maxmemory", 0)
        await connections.close()


@pytest.mark.process
async def test_a_service_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, candidates(os.environ)[0])
    async with anyio.create_task_group() as group:

        async def late() -> None:
            await anyio.sleep(0.5)
            await anyio.to_thread.run_sync(server.start)

        group.start_soon(late)
        with anyio.fail_after(20):
            async with connected(server.url, wait=True) as connections:
                assert await connections.commands.ping()
    server.stop()


@pytest.mark.process
async def test_a_server_that_is_killed_and_comes_back_is_waited_for(own_server: EmbeddedServer) -> None:
    connections = Connections(own_server.url)
    assert await connections.commands.set("k", "v")
    heard: list[Exception] = []
    own_server.kill()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, own_server.start)
        assert await until_back(lambda: connections.commands.get("k"), heard.append) == b"v"
    assert heard
    assert all(is_away(error) for error in heard)
    await connections.close()


@pytest.mark.process
async def test_a_command_to_a_server_that_hangs_is_given_up(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "COMMAND_TIMEOUT_S", 0.2)
    connections = Connections(own_server.url)
    await connections.commands.client_pause(1_000)
    with pytest.raises(Exception) as error:  # noqa: PT011 - which one is what is asked for
        await connections.commands.ping()
    assert is_away(error.value)
    await connections.close()


@pytest.mark.process
async def test_a_client_goes_on_after_the_server_was_restarted(tmp_path: Path) -> None:
    binary = candidates(os.environ)[0]
    with EmbeddedServer(tmp_path, binary, appendfsync="always") as server:
        async with agentcom.Client(server.url, "p") as client:
            first = await client.submit("before", confirm_s=0)
            server.kill()
            server.start()
            second = await client.submit("after", confirm_s=0)
            assert first.id != second.id
            assert await client.store.head()
