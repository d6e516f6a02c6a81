"""What one look at a pool sees, on every server."""

from __future__ import annotations

import time

import pytest
from redis.exceptions import ResponseError

from agentcom.broker.connection import Connections
from agentcom.broker.sidecar_store import Output
from agentcom.diagnosis import diagnose
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.commit import Commit
from agentcom.model.messages import Beat, DeadLetter, Line
from agentcom.monitor.reading import look
from agentcom.settings import Policy
from tests.broker.conformance.pool import Pool, agent, order_out, record

POLICY = Policy()


async def test_a_pool_that_has_nothing_yet_is_seen_as_empty(pool: Pool, connections: Connections) -> None:
    seen = await look(connections, "p")
    assert (seen.leader, seen.epoch, seen.open, seen.agents, seen.tasks, seen.orders, seen.lines) == (
        "",
        0,
        0,
        [],
        [],
        [],
        [],
    )
    assert (seen.signs, seen.letters, seen.printed_at, seen.inbox_since_at, seen.reports_since_at) == ({}, [], {}, 0, 0)
    assert seen.whole


async def test_one_look_sees_records_beats_orders_and_signs(pool: Pool, connections: Connections) -> None:
    fence = await pool.lead("h1:1:x")
    oak = AgentRecord(name="oak", incarnation="sc-1", card=Card(), running={"1.n": "t1"})
    await pool.commit(
        fence,
        records={"t1": record("t1", "working"), "t2": record("t2", "queued"), "t3": record("t3", "failed")},
        opened=[("t1", 1), ("t2", 2)],
        agents={"oak": oak, "elm": agent("elm")},
        orders=[order_out("oak"), order_out("elm")],
        dead=[DeadLetter("t3", "heading", 7, "lost", "", 4), DeadLetter("t2", "sent back", 8, "lost", "", 4)],
        lines=[Line(5, "pool", "lead")],
        signs={"livelock": "1700000000000"},
    )
    sidecar = pool.sidecar("sc-1")
    await sidecar.open()
    await sidecar.read(10, 0)
    await sidecar.beat(Beat(agent="oak", incarnation="sc-1", count=1, at=1, state="working"), 2.0)
    await sidecar.output([Output("t1", 1, 6, b"on it\n")])
    seen = await look(connections, "p")
    assert (seen.leader, seen.epoch, seen.seq, seen.open, seen.dead) == ("h1:1:x", 1, 1, 2, 2)
    assert [agent.name for agent in seen.agents] == ["elm", "oak"]
    assert set(seen.beats) == {"oak"}
    assert {task.spec.id for task in seen.tasks} == {"t1", "t2"}
    assert [(order.agent, order.task, order.consumer) for order in seen.orders] == [
        ("elm", "t1", ""),
        ("oak", "t1", "sc-1"),
    ]
    assert [line.trigger for line in seen.lines] == ["lead"]
    assert [letter.task for letter in seen.letters] == ["t3"], "the task of the other is not dead any more"
    assert seen.signs == {"livelock": 1_700_000_000_000}
    assert abs(seen.printed_at["t1"] - seen.server_at) < 60_000


async def test_what_the_scheduler_reclaimed_is_told_apart(pool: Pool, connections: Connections) -> None:
    fence = await pool.lead()
    await pool.commit(fence, agents={"oak": agent("oak")}, orders=[order_out("oak")])
    await pool.store.take_undelivered("oak", 10)
    (order,) = (await look(connections, "p")).orders
    assert (order.consumer, order.reclaimed) == ("scheduler", True)


async def test_since_when_something_is_unread_is_told_by_the_servers_clock(
    pool: Pool, connections: Connections
) -> None:
    await pool.redis.xadd(pool.names.inbox, {"m": b"{}"}, id="1700000000000-0")
    await pool.redis.xadd(pool.names.inbox, {"m": b"{}"})
    await pool.redis.xadd(pool.names.reports, {"m": b"{}"}, id="1700000000005-0")
    seen = await look(connections, "p")
    assert (seen.inbox, seen.inbox_since_at, seen.reports_since_at) == (2, 1_700_000_000_000, 1_700_000_000_005)
    assert abs(seen.server_at - time.time() * 1000) < 60_000
    assert abs(seen.skew_ms) < 60_000


async def test_a_sign_that_cannot_be_read_is_shown_all_the_same(pool: Pool, connections: Connections) -> None:
    await pool.redis.hset(pool.names.head, mapping={"sign:livelock": "x", "sign:other": "9" * 4_400})
    seen = await look(connections, "p")
    assert seen.signs == {"livelock": 0, "other": 0}
    assert "livelock" in {finding.rule for finding in diagnose(seen, POLICY, seen.at)}


async def test_a_head_that_cannot_be_read_is_for_fsck_and_hides_nothing_else(
    pool: Pool, connections: Connections
) -> None:
    await pool.redis.hset(pool.names.head, mapping={"epoch": "x", "seq": "9" * 5_000, "admitted": "-1"})
    await pool.redis.set(pool.names.leader, "h1:1:x")
    seen = await look(connections, "p")
    assert (seen.leader, seen.epoch, seen.seq, seen.admitted) == ("h1:1:x", 0, 0, 0)


async def test_a_look_writes_nothing(pool: Pool, connections: Connections) -> None:
    fence = await pool.lead()
    await pool.commit(fence, agents={"oak": agent("oak")}, orders=[order_out("oak")], opened=[("t1", 1)])
    before = await pool.everything()
    await look(connections, "p")
    assert await pool.everything() == before


async def test_a_pool_whose_head_is_no_hash_is_an_error_and_not_an_empty_pool(
    pool: Pool, connections: Connections
) -> None:
    await pool.redis.set(pool.names.head, "garbage")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await look(connections, "p")


async def test_of_a_large_pool_a_bounded_part_is_read(pool: Pool, connections: Connections) -> None:
    fence = await pool.lead()
    tasks = [f"t{n}" for n in range(700)]
    crowd = {f"a{n}": agent(f"a{n}") for n in range(600)}
    call = Commit(records={task: record(task) for task in tasks}, opened=[(task, n) for n, task in enumerate(tasks)])
    call.agents = dict(crowd)
    assert await pool.store.commit(pool.store.encode(call, fence)) == "done"
    seen = await look(connections, "p")
    assert (len(seen.tasks), seen.open, seen.whole) == (500, 700, False)
    assert len(seen.agents) == 600


async def test_what_a_server_says_of_itself_if_it_says_anything(connections: Connections, server_url: str) -> None:
    server = (await look(connections, "p")).server
    assert (server is None) == (not server_url), "fakeredis has no INFO"
    if server is None:
        return
    assert server.product in ("redis", "valkey")
    assert (server.eviction, server.role, server.loading, server.replicas) == ("noeviction", "master", False, 0)
    assert (server.rdb_save, server.aof, server.aof_write, server.aof_rewrite) == ("ok", True, "ok", "ok")
    assert server.memory_bytes
    assert server.clients
    assert server.clients_max
    assert server.clients < server.clients_max
