"""Redis in every kind of trouble: what runs goes on, and what was reached is said when it is over."""

from __future__ import annotations

import logging
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import structs

from agentcom.broker import embedded
from agentcom.broker.embedded import EmbeddedServer, ServerBinary
from agentcom.broker.keys import ORDERS_GROUP
from agentcom.errors import CredentialsRefused
from agentcom.model.codec import encode
from agentcom.model.messages import Goodbye, Hello
from agentcom.sidecar.journal import Journal
from agentcom.sidecar.runners.python import Task
from tests.patience import PATIENCE_S
from tests.sidecar.harness import POLICY, Sidecar, assign, command, python, results, until, working

pytestmark = pytest.mark.process


async def at_once(task: Task) -> str:
    return "done"


async def a_while(task: Task) -> str:
    await anyio.sleep(0.4)
    return "done"


async def is_running(sidecar: Sidecar) -> None:
    async def running() -> bool:
        return bool(await sidecar.desk.pending())

    await until(running)
    await anyio.sleep(0.1)


@pytest.mark.pitfall_3
async def test_a_command_goes_on_while_redis_is_killed_and_its_outcome_is_reported_after(
    own_server: EmbeddedServer, pool, tmp_path
):
    script = "sleep 0.7; echo $$; echo whole"
    async with working(own_server.url, pool, tmp_path, command(tmp_path, "sh", "-c", script)) as sidecar:
        order = await sidecar.order()
        await is_running(sidecar)
        own_server.kill()

        async def noted() -> bool:
            return any((tmp_path / "journal" / "outbox").glob("*.json"))

        await until(noted)
        own_server.start()
        report = await sidecar.desk.outcome(order)
        assert (report.outcome.result, report.incarnation) == ("completed", sidecar.incarnation)
        assert await sidecar.desk.left() == 0
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"

        async def forgotten() -> bool:
            return not any((tmp_path / "journal" / "outbox").iterdir())

        await until(forgotten)
        assert b"whole" in await until(lambda: sidecar.desk.output(order.task))


@pytest.mark.pitfall_3
async def test_to_wait_for_redis_costs_next_to_nothing_and_is_said_once(
    own_server: EmbeddedServer, pool, tmp_path, caplog: pytest.LogCaptureFixture
):
    async def chatty(task: Task) -> None:
        for _ in range(60):
            task.log("x" * 1_000)
            await anyio.sleep(0.02)

    async with working(own_server.url, pool, tmp_path, python(chatty)) as sidecar:
        order = await sidecar.order()
        await is_running(sidecar)
        own_server.kill()
        with caplog.at_level(logging.INFO, "agentcom.sidecar"):
            before = time.process_time()
            await anyio.sleep(1)
            assert time.process_time() - before < 0.2
            assert 1 <= len(caplog.records) <= 4, caplog.text
            own_server.start()
            await sidecar.desk.outcome(order)

            async def said() -> bool:
                return "Redis answers again" in caplog.text

            await until(said)


def block(what: str) -> tuple[list[list[Any]], list[list[Any]]]:
    """Commands that bring a server into trouble, and out of it."""
    return {
        "OOM": ([["CONFIG", "SET", "maxmemory", "1"]], [["CONFIG", "SET", "maxmemory", "0"]]),
        "READONLY": ([["REPLICAOF", "127.0.0.1", "9"]], [["REPLICAOF", "NO", "ONE"]]),
        "MASTERDOWN": (
            [["CONFIG", "SET", "replica-serve-stale-data", "no"], ["REPLICAOF", "127.0.0.1", "9"]],
            [["REPLICAOF", "NO", "ONE"]],
        ),
        "NOREPLICAS": (
            [["CONFIG", "SET", "min-replicas-to-write", "3"]],
            [["CONFIG", "SET", "min-replicas-to-write", "0"]],
        ),
        "maxclients": ([["CONFIG", "SET", "maxclients", "1"]], [["CONFIG", "SET", "maxclients", "1000"]]),
    }[what]


@pytest.mark.parametrize("what", ["OOM", "READONLY", "MASTERDOWN", "NOREPLICAS", "maxclients"])
async def test_a_server_that_refuses_for_a_while_ends_nothing(own_server: EmbeddedServer, pool, tmp_path, what: str):
    into, out_of = block(what)
    async with working(own_server.url, pool, tmp_path, python(a_while)) as sidecar:
        order = await sidecar.order()
        await is_running(sidecar)
        for arguments in into:
            await sidecar.desk.redis.execute_command(*arguments)
        await anyio.sleep(0.6)
        assert not sidecar.ended.is_set()
        for arguments in out_of:
            await sidecar.desk.redis.execute_command(*arguments)
        assert (await sidecar.desk.outcome(order)).outcome.result == "completed"
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"


@pytest.mark.parametrize("key", ["reports", "beat", "orders", "output"])
async def test_a_key_of_the_wrong_type_ends_nothing(server: EmbeddedServer, pool, tmp_path, key: str):
    async def work(task: Task) -> None:
        task.log("one")
        await anyio.sleep(0.4)
        task.log("two")

    async with working(server.url, pool, tmp_path, python(work)) as sidecar:
        redis, keys = sidecar.desk.redis, sidecar.desk.keys
        order = await sidecar.order()
        await is_running(sidecar)
        name = {
            "reports": keys.reports,
            "beat": keys.beat("oak"),
            "orders": keys.orders("oak"),
            "output": keys.output(order.task),
        }[key]
        await redis.delete(name)
        await redis.hset(name, "in", "the way")
        await anyio.sleep(0.5)
        assert not sidecar.ended.is_set()
        await redis.delete(name)
        if key == "reports":
            assert (await sidecar.desk.outcome(order)).outcome.result == "completed"

        async def works_again() -> bool:
            another = await sidecar.order()
            with anyio.move_on_after(1):
                return (await sidecar.desk.outcome(another)).outcome.result == "completed"
            return False

        await until(works_again)


@pytest.mark.parametrize("binary", embedded.candidates(os.environ), ids=str)
async def test_a_stream_that_vanishes_is_made_anew(binary: ServerBinary, pool, tmp_path: Path):
    with EmbeddedServer(tmp_path / "server", binary) as server:
        async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
            redis, orders = sidecar.desk.redis, sidecar.desk.orders
            for vanish in (
                lambda: redis.delete(orders),
                lambda: redis.xgroup_destroy(orders, ORDERS_GROUP),
                redis.flushall,
            ):
                await sidecar.desk.outcome(await sidecar.order())
                await vanish()
            assert (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"


async def test_scripts_that_the_server_forgot_are_sent_again(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        await sidecar.desk.outcome(await sidecar.order())
        await sidecar.desk.redis.script_flush()
        await sidecar.desk.outcome(await sidecar.order())


async def test_output_that_redis_refuses_is_dropped_and_not_piled_up(server: EmbeddedServer, pool, tmp_path):
    async def work(task: Task) -> None:
        task.log(task.text)
        await anyio.sleep(0.6)

    async with working(server.url, pool, tmp_path, python(work)) as sidecar:
        order = assign(sidecar.incarnation, "refused")
        await sidecar.desk.redis.set(sidecar.desk.keys.output(order.task), "in the way")
        await sidecar.desk.order(order)
        await sidecar.desk.outcome(order)
        await sidecar.desk.redis.delete(sidecar.desk.keys.output(order.task))
        other = await sidecar.order("kept")
        await sidecar.desk.outcome(other)
        assert await until(lambda: sidecar.desk.output(other.task)) == b"kept\n"
        assert await sidecar.desk.output(order.task) == b""


# ------------------------------------------------------------------- start and stop


async def test_a_sidecar_that_starts_before_redis_waits_for_it(own_server: EmbeddedServer, pool, tmp_path):
    own_server.kill()
    async with working(own_server.url, pool, tmp_path, python(at_once), greets=False) as sidecar:
        await anyio.sleep(0.5)
        assert not sidecar.ended.is_set()
        own_server.start()
        assert isinstance(await sidecar.desk.hello(), Hello)


async def test_a_sidecar_that_waits_for_redis_can_be_stopped(own_server: EmbeddedServer, pool, tmp_path):
    own_server.kill()
    async with working(own_server.url, pool, tmp_path, python(at_once), greets=False) as sidecar:
        await anyio.sleep(0.3)
        await sidecar.stop(within_s=30)


@pytest.mark.pitfall_3
async def test_what_cannot_be_said_at_the_end_is_said_by_the_next_start(
    own_server: EmbeddedServer, pool, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agentcom.sidecar.service.GOODBYE_S", 0.3)
    policy = structs.replace(POLICY, drain_s=0.8)
    runner = command(tmp_path, "sh", "-c", "sleep $(cat)")
    async with working(own_server.url, pool, tmp_path, runner, policy=policy) as sidecar:
        done, endless = await sidecar.order("0.3"), await sidecar.order("60")
        await is_running(sidecar)
        own_server.kill()
        await sidecar.stop(within_s=30)
    assert len([report for note in Journal(tmp_path / "journal").unsent() for report in note.reports]) == 3
    own_server.start()
    async with working(own_server.url, pool, tmp_path, runner) as sidecar:
        assert (await sidecar.desk.outcome(done)).outcome.result == "completed"
        assert (await sidecar.desk.outcome(endless)).outcome.result == "handed_back"
        kinds = [type(one) for one in await sidecar.desk.reports()]
        assert kinds.index(Goodbye) < len(kinds) - 1
        assert kinds[-1] is Hello
        assert await sidecar.desk.left() == 0


def raises_refused() -> AbstractContextManager[object]:
    return pytest.raises(CredentialsRefused, match="Check user and password")


@pytest.mark.parametrize("what", ["user", "commands"])
async def test_a_user_that_redis_refuses_stops_it_at_once(own_server: EmbeddedServer, pool, tmp_path, what: str):
    rules = {"user": "reset on >right ~* &* +@all", "commands": "reset on >wrong ~* &* +@all -xreadgroup -xgroup"}[what]
    async with working(own_server.url, pool, tmp_path / "unused", python(at_once)) as helper:
        await helper.desk.redis.execute_command("ACL", "SETUSER", "oak", *rules.split())
        url = own_server.url.replace("unix://", "unix://oak:wrong@")
        with raises_refused():
            async with working(url, pool, tmp_path, python(at_once), greets=False) as sidecar:
                with anyio.fail_after(PATIENCE_S):
                    await sidecar.ended.wait()


async def test_a_user_that_is_refused_later_brings_what_runs_to_an_end_first(
    own_server: EmbeddedServer, pool, tmp_path
):
    async with working(own_server.url, pool, tmp_path / "unused", python(at_once)) as helper:
        await helper.desk.redis.execute_command("ACL", "SETUSER", "elm", "on", ">secret", "~*", "&*", "+@all")
        url = own_server.url.replace("unix://", "unix://elm:secret@")
        with raises_refused():
            async with working(url, pool + "x", tmp_path, python(a_while)) as sidecar:
                await sidecar.order()
                await is_running(sidecar)
                await helper.desk.redis.execute_command("ACL", "SETUSER", "elm", "resetpass", ">other")
                await helper.desk.redis.execute_command("CLIENT", "KILL", "USER", "elm", "SKIPME", "yes")
                with anyio.fail_after(15):
                    await sidecar.ended.wait()
        noted = b"".join(bytes(report) for note in Journal(tmp_path / "journal").unsent() for report in note.reports)
        assert b'"completed"' in noted


@pytest.mark.pitfall_1
async def test_after_an_outage_leases_are_renewed_at_once(own_server: EmbeddedServer, pool, tmp_path):
    policy = structs.replace(POLICY, beat_s=60.0)
    async with working(own_server.url, pool, tmp_path, command(tmp_path, "sleep", "60"), policy=policy) as sidecar:
        await sidecar.order()
        await is_running(sidecar)
        own_server.kill()
        await anyio.sleep(0.5)
        back_at = anyio.current_time()
        own_server.start()

        async def renewed() -> bool:
            [row] = await sidecar.desk.pending()
            return row["time_since_delivered"] < (anyio.current_time() - back_at) * 1000

        await until(renewed)


async def test_a_flood_of_orders_while_reports_are_stuck_stays_bounded(server: EmbeddedServer, pool, tmp_path):
    """Nobody orders more than the slots hold, but whoever does gets it back, once, when reports go through again."""
    async with working(server.url, pool, tmp_path, python(at_once), slots=5) as sidecar:
        redis, keys = sidecar.desk.redis, sidecar.desk.keys
        saved = await redis.dump(keys.reports)
        await redis.delete(keys.reports)
        await redis.set(keys.reports, "in the way")
        orders = [assign(sidecar.incarnation) for _ in range(600)]
        pipeline = redis.pipeline(transaction=False)
        for order in orders:
            pipeline.xadd(sidecar.desk.orders, {"m": encode(order)})
        await pipeline.execute()
        await anyio.sleep(0.5)
        await redis.delete(keys.reports)
        await redis.restore(keys.reports, 0, saved)

        async def all_said() -> bool:
            return len(results(await sidecar.desk.reports())) == 600

        await until(all_said)
        assert await sidecar.desk.left() == 0
