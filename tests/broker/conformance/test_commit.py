"""A commit is performed whole, once, and only on what it builds on."""

from typing import Any

import pytest

from agentcom.broker.client_store import ClientStore
from agentcom.broker.commit import LINES_PER_ENTRY, REFUSALS_KEPT_S
from agentcom.model.codec import decode_costs, decode_lines, decode_refusals, decode_report
from agentcom.model.commit import Commit, RefusalOut
from agentcom.model.costs import Costs
from agentcom.model.messages import DeadLetter, Hello, Line, Refusal
from agentcom.model.task import Usage
from tests.broker.conformance.pool import Pool, agent, order_out, record


def of_everything() -> dict[str, Any]:
    """Parts of a commit that touch every kind of key."""
    return {
        "new": ["t1"],
        "records": {"t1": record("t1"), "t0": record("t0", "completed")},
        "opened": [("t1", 7)],
        "closed": ["t0"],
        "orders": [order_out("oak")],
        "agents": {"oak": agent("oak")},
        "keys": {"k": "t1@5", "gone": None},
        "costs": {"total": Costs(2, usage=Usage(1, 2)), "2026-11-27/oak": Costs(1), "2025-01-01": None},
        "refusals": [RefusalOut("1-1", [Refusal("t9", "no")])],
        "lines": [Line(1, "pool", "test")],
        "dead": [DeadLetter("t0", "heading", 1, "lost", "", 4)],
        "inbox_at": "5-0",
        "reports_at": "6-1",
    }


async def test_everything_in_a_commit_is_written(pool: Pool) -> None:
    fence = await pool.lead()
    assert await pool.commit(fence, **of_everything()) == "done"
    found = await pool.everything()
    names = pool.names
    assert set(found) == {
        names.head, names.task("t1"), names.task("t0"), names.open, names.orders("oak"), names.agents, names.keys,
        names.costs, names.refused("1-1"), names.journal, names.dead,
    }  # fmt: skip
    assert found[names.open] == [(b"t1", 7.0)]
    assert found[names.keys] == {b"k": b"t1@5"}
    assert {name: decode_costs(body) for name, body in found[names.costs].items()} == {
        b"total": Costs(2, usage=Usage(1, 2)), b"2026-11-27/oak": Costs(1),
    }  # fmt: skip
    assert found[names.head][b"inbox_at"] == b"5-0"
    assert found[names.head][b"reports_at"] == b"6-1"
    assert (await pool.store.head()).seq == 1


async def test_a_call_that_is_sent_twice_is_applied_once(pool: Pool) -> None:
    fence = await pool.lead()
    call = pool.store.encode(Commit(**of_everything()), fence)
    assert await pool.store.commit(call) == "done"
    written = await pool.everything()
    assert await pool.store.commit(call) == "repeated"
    assert await pool.everything() == written


async def test_two_commits_of_the_same_content_are_two(pool: Pool) -> None:
    fence = await pool.lead()
    assert await pool.commit(fence, orders=[order_out()]) == "done"
    assert await pool.commit(fence, orders=[order_out()]) == "done"
    assert await pool.redis.xlen(pool.names.orders("oak")) == 2


@pytest.mark.pitfall_1
async def test_the_commit_of_a_deposed_leader_writes_nothing(pool: Pool) -> None:
    first = await pool.lead("a")
    await pool.store.resign("a")
    await pool.lead("b")
    before = await pool.everything()
    assert await pool.commit(first, **of_everything()) == "deposed"
    assert await pool.everything() == before


async def test_a_commit_that_builds_on_lost_commits_writes_nothing(pool: Pool) -> None:
    fence = await pool.lead()
    for _ in range(3):
        assert await pool.commit(fence, closed=["t"]) == "done"
    await pool.redis.hset(pool.names.head, mapping={"seq": 1, "id": "x"})
    before = await pool.everything()
    assert await pool.commit(fence, **of_everything()) == "moved"
    assert await pool.everything() == before


async def test_a_new_id_that_exists_already_refuses_the_whole_commit(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.redis.set(pool.names.task("t1"), "a record")
    before = await pool.everything()
    assert await pool.commit(fence, **of_everything()) == "exists"
    assert await pool.everything() == before


async def test_everything_lost_means_deposed_and_writes_nothing(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.redis.flushall()
    assert await pool.commit(fence, **of_everything()) == "deposed"
    assert await pool.everything() == {}


@pytest.mark.parametrize("name", ["orders", "open", "agents", "keys", "journal", "dead", "inbox", "reports"])
async def test_a_key_of_the_wrong_type_refuses_the_whole_commit_and_is_named(pool: Pool, name: str) -> None:
    fence = await pool.lead()
    key = pool.names.orders("oak") if name == "orders" else getattr(pool.names, name)
    await pool.redis.set(key, "put here by hand")
    before = await pool.everything()
    with pytest.raises(Exception, match=f"{name}.* is a string"):
        await pool.commit(fence, **of_everything())
    assert await pool.everything() == before
    await pool.redis.delete(key)
    assert await pool.commit(fence, **of_everything()) == "done"


async def test_a_wrong_head_or_leader_refuses_the_whole_commit(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.redis.delete(pool.names.leader)
    await pool.redis.xadd(pool.names.leader, {"put": "by hand"})
    before = await pool.everything()
    with pytest.raises(Exception, match=r"WRONGTYPE|wrong kind"):
        await pool.commit(fence, **of_everything())
    assert await pool.everything() == before


@pytest.mark.pitfall_1
async def test_a_command_that_fails_when_others_were_performed_fails_alone(pool: Pool) -> None:
    """Redis undoes nothing. If the commit stopped half-way, sending it again would order the same work twice."""
    fence = await pool.lead()
    await pool.redis.xadd(pool.names.orders("oak"), {"x": "y"}, id=f"{2**64 - 1}-{2**64 - 1}")
    call = pool.store.encode(Commit(orders=[order_out("elm"), order_out("oak")], inbox_at="5-0"), fence)
    with pytest.raises(Exception, match="exhausted"):
        await pool.store.commit(call)
    assert await pool.store.commit(call) == "repeated"
    assert await pool.redis.xlen(pool.names.orders("elm")) == 1
    head = await pool.redis.hgetall(pool.names.head)
    assert (head[b"seq"], head[b"inbox_at"]) == (b"1", b"5-0")


async def test_scripts_are_sent_again_when_the_server_forgot_them(pool: Pool) -> None:
    fence = await pool.lead()
    for part in range(2):
        await pool.redis.script_flush()
        assert await pool.commit(fence, closed=[f"t{part}"]) == "done"
    await pool.redis.script_flush()
    assert await pool.store.renew_lead("leader")


# ------------------------------------------------------------ positions


async def test_what_was_taken_into_account_is_trimmed_in_the_same_step(pool: Pool) -> None:
    fence = await pool.lead()
    entries = [(await pool.redis.xadd(pool.names.inbox, {"m": n})).decode() for n in range(5)]
    reports = [(await pool.redis.xadd(pool.names.reports, {"m": n})).decode() for n in range(5)]
    await pool.commit(fence, inbox_at=entries[2], reports_at=reports[0])
    assert [id_.decode() for id_, _ in await pool.redis.xrange(pool.names.inbox)] == entries[3:]
    assert [id_.decode() for id_, _ in await pool.redis.xrange(pool.names.reports)] == reports[1:]
    head = await pool.store.head()
    assert (head.inbox_at, head.reports_at) == (entries[2], reports[0])
    batches = await pool.store.read(head, 10, 0, inbox=True)
    assert [entry.id for entry in batches[pool.store.inbox]] == entries[3:]


async def test_a_commit_that_read_nothing_trims_nothing(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.redis.xadd(pool.names.inbox, {"m": "x"})
    await pool.commit(fence, closed=["t"])
    assert await pool.redis.xlen(pool.names.inbox) == 1


@pytest.mark.parametrize("entry", [f"5-{2**64 - 1}", f"{2**64 - 1}-{2**64 - 1}"])
async def test_the_highest_ids_that_somebody_can_give_by_hand_can_be_taken_into_account(pool: Pool, entry: str) -> None:
    fence = await pool.lead()
    await pool.redis.xadd(pool.names.inbox, {"m": "x"}, id=entry)
    assert await pool.commit(fence, inbox_at=entry) == "done"
    assert not await pool.store.read(await pool.store.head(), 10, 1, inbox=True)


# ------------------------------------------------------------- costs


async def test_what_work_cost_is_read_again_as_it_was_and_days_are_forgotten(pool: Pool) -> None:
    fence = await pool.lead()
    costs = {
        "total": Costs(3, 2, 9, 40, Usage(1, 2, 3, 4, 5, 0.5), 1.5),
        "2026-11-27": Costs(1),
        "2026-11-26": Costs(2),
    }
    assert await pool.commit(fence, costs=costs) == "done"
    assert await pool.store.costs() == costs
    assert await pool.commit(fence, costs={"2026-11-26": None, "2026-11-27": Costs(7)}) == "done"
    assert await pool.store.costs() == {"total": costs["total"], "2026-11-27": Costs(7)}


async def test_costs_that_cannot_be_read_are_passed_over(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.commit(fence, costs={"2026-11-27/oak": Costs(1), "total": Costs(1)})
    await pool.redis.hset(pool.names.costs, mapping={"2026-11-26": "garbage", "by-hand": '{"attempts":1}'})
    assert await pool.store.costs() == {"2026-11-27/oak": Costs(1), "total": Costs(1)}
    client = ClientStore(pool.connections, "p")
    assert await client.costs("2026-11-01") == {"2026-11-27/oak": Costs(1)}
    assert await client.costs("2026-11-28") == {}


async def test_a_commit_of_costs_that_is_sent_twice_is_counted_once(pool: Pool) -> None:
    fence = await pool.lead()
    call = pool.store.encode(Commit(costs={"total": Costs(5)}), fence)
    assert [await pool.store.commit(call) for _ in range(2)] == ["done", "repeated"]
    assert await pool.store.costs() == {"total": Costs(5)}


# ------------------------------------------------------------ bounds


async def test_records_get_their_time_to_live_when_the_task_ended_and_lose_it_when_it_is_sent_back(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.commit(fence, records={"t1": record("t1", "failed"), "t2": record("t2", "working")})
    assert 0 < await pool.redis.ttl(pool.names.task("t1")) <= pool.policy.retention_s
    assert await pool.redis.ttl(pool.names.task("t2")) == -1
    await pool.commit(fence, records={"t1": record("t1", "queued")}, opened=[("t1", 1)])
    assert await pool.redis.ttl(pool.names.task("t1")) == -1


@pytest.mark.pitfall_6
async def test_a_task_that_is_dropped_without_a_new_record_gets_a_time_to_live_too(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.redis.set(pool.names.task("t1"), "damaged")
    await pool.commit(fence, closed=["t1"])
    assert 0 < await pool.redis.ttl(pool.names.task("t1")) <= pool.policy.retention_s


async def test_the_reason_of_a_refusal_can_be_read_for_an_hour(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.commit(fence, refusals=[RefusalOut("1-1", [Refusal("t", "no")])], inbox_at="1-1")
    key = pool.names.refused("1-1")
    assert decode_refusals(await pool.redis.get(key)) == [Refusal("t", "no")]
    assert REFUSALS_KEPT_S - 5 < await pool.redis.ttl(key) <= REFUSALS_KEPT_S


async def test_journal_lines_travel_in_order_several_to_an_entry(pool: Pool) -> None:
    fence = await pool.lead()
    lines = [Line(at, "pool", "test") for at in range(LINES_PER_ENTRY * 2 + 1)]
    await pool.commit(fence, lines=lines)
    entries = await pool.redis.xrange(pool.names.journal)
    assert len(entries) == 3
    assert [line for _, fields in entries for line in decode_lines(fields[b"l"])] == lines


@pytest.mark.pitfall_6
async def test_journal_and_dead_letters_are_capped(pool: Pool) -> None:
    fence = await pool.lead()
    for start in range(0, 1_000, 100):
        letters = [DeadLetter(f"t{n}", "heading", n, "lost", "", 4) for n in range(start, start + 100)]
        lines = [Line(n, "pool", "test") for n in range(100 * LINES_PER_ENTRY)]
        await pool.commit(fence, dead=letters, lines=lines)
    for stream in (pool.names.journal, pool.names.dead):
        assert 100 <= await pool.redis.xlen(stream) <= 250, "approximate trimming keeps whole nodes"
    assert b"t999" in (await pool.redis.xrevrange(pool.names.dead, count=1))[0][1][b"m"]


async def test_settled_orders_are_acknowledged_and_deleted(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.sidecar().open()
    orders = await pool.order(3)
    await pool.sidecar().read(3, 0)
    await pool.commit(fence, settled=[("oak", orders[0]), ("oak", orders[2])])
    assert await pool.pending() == {orders[1]: "sc-1"}
    assert await pool.redis.xlen(pool.names.orders("oak")) == 1


@pytest.mark.pitfall_6
async def test_a_forgotten_agent_leaves_no_key_behind(pool: Pool) -> None:
    fence = await pool.lead()
    await pool.commit(fence, agents={"oak": agent("oak"), "elm": agent("elm")})
    await pool.order(2)
    await pool.commit(fence, agents={"oak": None}, settled=[("oak", "1-1")])
    assert await pool.redis.hkeys(pool.names.agents) == [b"elm"]
    assert not await pool.redis.exists(pool.names.orders("oak"))


async def test_a_big_commit_is_one_step(pool: Pool) -> None:
    """More than Lua unpacks at once, in every part that is as long as its caller likes."""
    fence = await pool.lead()
    await pool.sidecar().open()
    pipeline = pool.redis.pipeline(transaction=False)
    for _ in range(9_000):
        pipeline.xadd(pool.names.orders("oak"), {"m": "x"})
    orders = [id_.decode() for id_ in await pipeline.execute()]
    await pool.sidecar().read(9_000, 0)
    new = [f"t{n}" for n in range(9_000)]
    closed = [f"old{n}" for n in range(9_000)]
    reply = await pool.commit(
        fence,
        new=new,
        records={task: record(task) for task in new},
        opened=[(task, seq) for seq, task in enumerate(new)],
        closed=closed,
        settled=[("oak", order) for order in orders],
        keys={f"k{n}": f"t{n}@1" if n % 2 else None for n in range(9_000)},
        agents={f"a{n}": agent(f"a{n}") for n in range(3_000)},
        lines=[Line(n, "pool", "test") for n in range(9_000)],
    )
    assert reply == "done"
    assert await pool.redis.zcard(pool.names.open) == 9_000
    assert await pool.redis.hlen(pool.names.keys) == 4_500
    assert await pool.pending() == {}
    assert await pool.redis.xlen(pool.names.orders("oak")) == 0
    assert await pool.commit(fence, new=["t8999"], records={"t8999": record("t8999")}) == "exists"


async def test_a_finish_of_more_orders_than_lua_unpacks_is_one_step(pool: Pool) -> None:
    await pool.sidecar().open()
    orders = await pool.order(3)
    await pool.sidecar().read(3, 0)
    hello = b'{"type":"hello","agent":"oak","incarnation":"sc-1","card":{}}'
    await pool.sidecar().finish([*orders, *(f"1-{n}" for n in range(1, 9_000))], [hello] * 9_000)
    assert await pool.pending() == {}
    assert await pool.redis.xlen(pool.names.reports) == 9_000
    ((_, fields),) = await pool.redis.xrange(pool.names.reports, count=1)
    assert isinstance(decode_report(fields[b"m"]), Hello)


@pytest.mark.pitfall_1
async def test_what_was_read_elsewhere_is_not_committed_where_it_would_trim_what_nobody_read(pool: Pool) -> None:
    """A fail-over between reading and committing: the new server lacks the last entry, and holds another before it."""
    fence = await pool.lead()
    await pool.redis.xadd(pool.names.reports, {"m": "unread"}, id="5-0")
    assert await pool.commit(fence, reports_at="7-0", orders=[order_out()]) == "moved"
    assert await pool.redis.xlen(pool.names.reports) == 1
    assert not await pool.redis.exists(pool.names.orders("oak"))
    await pool.redis.xadd(pool.names.reports, {"m": "read"}, id="7-0")
    assert await pool.commit(fence, reports_at="7-0") == "done"
    assert await pool.redis.xlen(pool.names.reports) == 0
