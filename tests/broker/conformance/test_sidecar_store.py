"""A sidecar touches only what it owns."""

import anyio
import pytest

from agentcom.broker.sidecar_store import Output
from agentcom.model.messages import Beat
from tests.broker.conformance.pool import Pool, assign_body


async def test_orders_from_before_the_group_was_made_are_delivered(pool: Pool) -> None:
    orders = await pool.order(2)
    await pool.sidecar().open()
    await pool.sidecar().open()
    assert [(entry.id, entry.body) for entry in await pool.sidecar().read(10, 0)] == [
        (order, assign_body()) for order in orders
    ]
    assert await pool.pending() == dict.fromkeys(orders, "sc-1")


async def test_a_read_takes_no_more_than_it_was_asked_to_and_waits_for_nothing_else(pool: Pool) -> None:
    await pool.sidecar().open()
    assert await pool.sidecar().read(1, 1) == []
    first, second = await pool.order(2)
    assert [entry.id for entry in await pool.sidecar().read(1, 1)] == [first]
    assert await pool.pending() == {first: "sc-1"}
    assert [entry.id for entry in await pool.sidecar().read(1, 1)] == [second]


async def test_renewing_makes_an_order_fresh_again_without_counting_a_delivery(pool: Pool) -> None:
    await pool.sidecar().open()
    (order,) = await pool.order()
    await pool.sidecar().read(1, 0)
    read_at = anyio.current_time()
    await anyio.sleep(0.05)
    assert await pool.sidecar().renew([order]) == []
    (row,) = await pool.redis.xpending_range(pool.names.orders("oak"), "sidecar", "-", "+", 10)
    since_read_ms = (anyio.current_time() - read_at) * 1000
    assert row["time_since_delivered"] < since_read_ms - 40
    assert row["times_delivered"] == 1


@pytest.mark.pitfall_1
async def test_an_order_that_was_claimed_is_not_taken_back_by_renewing_it(pool: Pool) -> None:
    await pool.sidecar().open()
    mine, claimed, settled = await pool.order(3)
    await pool.sidecar().read(3, 0)
    await pool.redis.xclaim(pool.names.orders("oak"), "sidecar", "scheduler", 0, [claimed])
    await pool.redis.xack(pool.names.orders("oak"), "sidecar", settled)
    assert await pool.sidecar().renew([mine, claimed, settled, "1-1"]) == [claimed, settled, "1-1"]
    assert await pool.pending() == {mine: "sc-1", claimed: "scheduler"}


async def test_renewing_nothing_asks_nothing(pool: Pool) -> None:
    assert await pool.sidecar().renew([]) == []


async def test_an_outcome_and_its_order_are_settled_in_one_step(pool: Pool) -> None:
    await pool.sidecar().open()
    done, kept = await pool.order(2)
    await pool.sidecar().read(2, 0)
    await pool.sidecar().finish([done], [b"one", b"two"])
    assert await pool.pending() == {kept: "sc-1"}
    assert [fields[b"m"] for _, fields in await pool.redis.xrange(pool.names.reports)] == [b"one", b"two"]
    assert [id_.decode() for id_, _ in await pool.redis.xrange(pool.names.orders("oak"))] == [kept]


@pytest.mark.pitfall_1
async def test_an_order_is_not_settled_when_its_report_cannot_be_sent(pool: Pool) -> None:
    await pool.sidecar().open()
    (order,) = await pool.order()
    await pool.sidecar().read(1, 0)
    await pool.redis.set(pool.names.reports, "put here by hand")
    with pytest.raises(Exception, match=r"WRONGTYPE|wrong kind"):
        await pool.sidecar().finish([order], [b"one"])
    assert await pool.pending() == {order: "sc-1"}


async def test_a_restarted_sidecar_takes_over_what_older_starts_hold_and_forgets_them(pool: Pool) -> None:
    await pool.sidecar("sc-1").open()
    orders = await pool.order(3)
    await pool.sidecar("sc-1").read(1, 0)
    await pool.sidecar("sc-2").read(2, 0)
    taken = await pool.sidecar("sc-3").take_over()
    assert [entry.id for entry in taken] == orders
    assert all(entry.body == assign_body() for entry in taken)
    assert await pool.pending() == dict.fromkeys(orders, "sc-3")
    consumers = await pool.redis.xinfo_consumers(pool.names.orders("oak"), "sidecar")
    assert [consumer["name"] for consumer in consumers] == [b"sc-3"]


@pytest.mark.pitfall_1
async def test_nothing_is_taken_over_from_a_newer_start_the_scheduler_or_a_person(pool: Pool) -> None:
    await pool.sidecar("sc-3").open()
    newer, claimed, own, by_hand = await pool.order(4)
    await pool.sidecar("sc-3").read(1, 0)
    await pool.store.take_undelivered("oak", 1)
    await pool.sidecar("sc-2").read(1, 0)
    await pool.sidecar("by-hand").read(1, 0)
    assert [entry.id for entry in await pool.sidecar("sc-2").take_over()] == [own]
    assert await pool.pending() == {newer: "sc-3", claimed: "scheduler", own: "sc-2", by_hand: "by-hand"}


async def test_a_take_over_reaches_past_one_page_and_past_deleted_orders(pool: Pool) -> None:
    await pool.sidecar("sc-1").open()
    orders = await pool.order(2_500)
    await pool.sidecar("sc-1").read(2_500, 0)
    await pool.redis.xdel(pool.names.orders("oak"), *orders[:10])
    taken = await pool.sidecar("sc-2").take_over()
    assert [entry.id for entry in taken] == orders[10:]
    assert await pool.pending() == dict.fromkeys(orders[10:], "sc-2"), "what is deleted is not pending any more"


async def test_an_own_order_whose_body_was_deleted_is_found_empty(pool: Pool) -> None:
    await pool.sidecar().open()
    first, second = await pool.order(2)
    await pool.sidecar().read(2, 0)
    await pool.redis.xdel(pool.names.orders("oak"), first)
    entries = await pool.sidecar().entries(await pool.sidecar().pending())
    assert [(entry.id, entry.body) for entry in entries] == [(first, b""), (second, assign_body())]


@pytest.mark.pitfall_6
async def test_a_beat_overwrites_the_last_one_and_does_not_outlive_its_agent(pool: Pool) -> None:
    for count in (1, 2):
        await pool.sidecar().beat(Beat(agent="oak", incarnation="sc-1", count=count, at=1, state="idle"), 2.0)
    (beat,) = await pool.store.beats(["oak", "elm"])
    assert beat.count == 2
    assert 50_000 < await pool.redis.pttl(pool.names.beat("oak")) <= 60_000


async def test_a_beat_counts_only_for_the_agent_whose_key_it_is(pool: Pool) -> None:
    await pool.sidecar(agent="elm").beat(Beat(agent="oak", incarnation="sc-1", count=1, at=1, state="idle"), 2.0)
    await pool.redis.set(pool.names.beat("oak"), "garbage")
    assert await pool.store.beats(["elm", "oak"]) == []


@pytest.mark.pitfall_6
async def test_output_is_capped_and_never_without_an_end_of_life(pool: Pool) -> None:
    sidecar = pool.sidecar()
    for part in range(10):
        await sidecar.output([Output("t1", 1, part, b"x" * 100) for _ in range(500)])
    key = pool.names.output("t1")
    assert pool.policy.output_entries <= await pool.redis.xlen(key) < 2_500
    assert 0 < await pool.redis.ttl(key) <= pool.policy.retention_s
