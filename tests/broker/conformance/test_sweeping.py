"""What is stuck with a silent agent is claimed, all of it, and nothing else."""

from typing import Any

import anyio
import pytest

from agentcom.scheduler.events import Emptied, Reclaimed
from agentcom.scheduler.sweep import AGENTS_PER_LOOK, ORDERS_PER_LOOK, ORDERS_PER_ROUND, Sweep
from agentcom.settings import Policy
from tests.broker.conformance.pool import Pool, assign_body

IDLE_MS = 400


async def delivered(pool: Pool, count: int, agent: str = "oak") -> list[str]:
    """Orders pending with the agent's sidecar."""
    await pool.sidecar(agent=agent).open()
    orders = await pool.order(count, agent)
    await pool.sidecar(agent=agent).read(count, 0)
    return orders


def raised(error: Exception) -> None:
    raise error


def sweep_of(pool: Pool) -> Sweep:
    return Sweep(pool.store, Policy(beat_s=IDLE_MS / 2_000, stale_beats=2), raised)


async def test_only_what_was_idle_for_long_enough_is_claimed(pool: Pool) -> None:
    old = await delivered(pool, 2)
    await anyio.sleep(IDLE_MS * 2 / 1000)
    young = await delivered(pool, 2)
    claimed, cursor = await pool.store.claim_stuck("oak", IDLE_MS, "-", 100)
    assert [entry.id for entry in claimed] == old
    assert claimed[0].body == assign_body()
    assert cursor == "-"
    assert await pool.pending() == {**dict.fromkeys(old, "scheduler"), **dict.fromkeys(young, "sc-1")}


async def test_what_was_renewed_is_not_claimed(pool: Pool) -> None:
    orders = await delivered(pool, 2)
    await anyio.sleep(IDLE_MS * 2 / 1000)
    await pool.sidecar().renew(orders[:1])
    claimed, _ = await pool.store.claim_stuck("oak", IDLE_MS, "-", 100)
    assert [entry.id for entry in claimed] == orders[1:]


@pytest.mark.pitfall_10
async def test_the_cursor_reaches_a_tail_behind_more_than_a_page(pool: Pool) -> None:
    orders = await delivered(pool, 25)
    await anyio.sleep(IDLE_MS * 2 / 1000)
    pages, cursors = [], ["-"]
    for _ in range(3):
        claimed, cursor = await pool.store.claim_stuck("oak", IDLE_MS, cursors[-1], 10)
        pages.append([entry.id for entry in claimed])
        cursors.append(cursor)
    assert pages == [orders[:10], orders[10:20], orders[20:]]
    assert cursors == ["-", f"({orders[9]}", f"({orders[19]}", "-"], "the next round begins again"


@pytest.mark.pitfall_10
async def test_what_is_stuck_behind_more_than_a_page_of_renewed_orders_is_reached_at_once(pool: Pool) -> None:
    orders = await delivered(pool, 25)
    await anyio.sleep(IDLE_MS * 2 / 1000)
    await pool.sidecar().renew(orders[:20])
    claimed, _ = await pool.store.claim_stuck("oak", IDLE_MS, "-", 10)
    assert [entry.id for entry in claimed] == orders[20:]


@pytest.mark.pitfall_1
async def test_what_is_renewed_between_looking_and_claiming_is_not_claimed(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = await delivered(pool, 2)
    await anyio.sleep(IDLE_MS * 2 / 1000)
    look = pool.redis.xpending_range

    async def then_renew(*arguments: Any, **options: Any) -> Any:
        found = await look(*arguments, **options)
        await pool.sidecar().renew(orders[:1])
        return found

    monkeypatch.setattr(pool.redis, "xpending_range", then_renew)
    claimed, _ = await pool.store.claim_stuck("oak", IDLE_MS, "-", 10)
    assert [entry.id for entry in claimed] == orders[1:]


async def test_an_order_that_was_deleted_is_dropped_and_the_others_are_claimed(pool: Pool) -> None:
    orders = await delivered(pool, 3)
    await pool.redis.xdel(pool.names.orders("oak"), orders[1])
    await anyio.sleep(IDLE_MS * 2 / 1000)
    claimed, _ = await pool.store.claim_stuck("oak", IDLE_MS, "-", 100)
    assert [entry.id for entry in claimed] == [orders[0], orders[2]]
    assert await pool.pending() == dict.fromkeys([orders[0], orders[2]], "scheduler")


async def test_what_a_silent_agent_never_read_is_taken_too_also_if_it_never_made_its_group(pool: Pool) -> None:
    orders = await pool.order(3)
    first = await pool.store.take_undelivered("oak", 2)
    rest = await pool.store.take_undelivered("oak", 2)
    assert [entry.id for entry in (*first, *rest)] == orders
    assert await pool.pending() == dict.fromkeys(orders, "scheduler")


@pytest.mark.pitfall_1
async def test_what_a_leader_claimed_and_did_not_commit_is_found_by_the_next_one(pool: Pool) -> None:
    mine = await delivered(pool, 2, "elm")
    stuck = await delivered(pool, 2)
    await pool.order(2)
    await pool.store.take_undelivered("oak", 100)
    await anyio.sleep(IDLE_MS * 2 / 1000)
    await pool.store.claim_stuck("oak", IDLE_MS, "-", 1)
    left = await sweep_of(pool).left_over(["oak", "elm", "nobody"])
    assert {event.agent for event in left} == {"oak"}
    assert len(left) == 3
    assert left[0] == Reclaimed("oak", stuck[0], "1.n")
    assert await pool.pending("elm") == dict.fromkeys(mine, "sc-1")


async def test_an_agent_without_any_order_is_emptied_but_one_whose_orders_are_young_is_not(pool: Pool) -> None:
    await delivered(pool, 1, "oak")
    await pool.sidecar(agent="elm").open()
    sweep = Sweep(pool.store, Policy(), raised)
    silent = ["oak", "elm", "nobody"]
    assert await sweep.look(silent) == [], "a last report may have settled its order just now, and not been read yet"
    assert await sweep.look(silent) == [Emptied("elm"), Emptied("nobody")]


async def test_who_is_heard_from_in_between_is_looked_at_twice_again(pool: Pool) -> None:
    await pool.sidecar(agent="elm").open()
    sweep = sweep_of(pool)
    assert await sweep.look(["elm"]) == []
    assert await sweep.look([]) == []
    assert await sweep.look(["elm"]) == []
    assert await sweep.look(["elm"]) == [Emptied("elm")]


@pytest.mark.pitfall_10
async def test_an_order_that_nobody_has_pending_any_more_does_not_hold_its_agent_for_ever(pool: Pool) -> None:
    """Somebody acknowledged it without deleting it, or deleted its consumer: it will never be delivered again."""
    orders = await delivered(pool, 1)
    await pool.redis.xack(pool.names.orders("oak"), "sidecar", *orders)
    sweep = sweep_of(pool)
    assert await sweep.look(["oak"]) == []
    assert await sweep.look(["oak"]) == [Emptied("oak")]


async def test_each_order_is_reclaimed_once_in_a_look_with_the_token_that_it_carries(pool: Pool) -> None:
    orders = await delivered(pool, 2)
    orders += await pool.order(1)
    orders.append((await pool.redis.xadd(pool.names.orders("oak"), {"m": "garbage"})).decode())
    await anyio.sleep(IDLE_MS * 2 / 1000)
    found = await sweep_of(pool).look(["oak"])
    tokens = {event.entry: event.token for event in found if isinstance(event, Reclaimed)}
    assert tokens == {orders[0]: "1.n", orders[1]: "1.n", orders[2]: "1.n", orders[3]: ""}


@pytest.mark.pitfall_10
async def test_a_damaged_stream_keeps_nobody_elses_orders_from_being_reclaimed(pool: Pool) -> None:
    for name in ("ash", "oak"):
        await pool.order(1, name)
    await pool.redis.set(pool.names.orders("elm"), "no stream")
    told: list[Exception] = []
    sweep = Sweep(pool.store, Policy(), told.append)
    found = await sweep.look(["ash", "elm", "oak"])
    assert [event.agent for event in found] == ["ash", "oak"]
    assert [str(error)[:9] for error in told] == ["WRONGTYPE"]


@pytest.mark.pitfall_6
async def test_a_look_is_bounded_in_orders_and_goes_on_with_the_next_agent(pool: Pool) -> None:
    silent = [f"a{n}" for n in range(8)]
    for name in silent:
        await pool.order(ORDERS_PER_LOOK + 50, name)
    sweep = Sweep(pool.store, Policy(), raised)
    first, second = await sweep.look(silent), await sweep.look(silent)
    assert len(first) == ORDERS_PER_ROUND
    assert {event.agent for event in first} == set(silent[:5])
    assert [event.agent for event in second[::ORDERS_PER_LOOK]][:3] == silent[5:], "it goes on where it stopped"
    entries = [(event.agent, event.entry) for event in (*first, *second) if isinstance(event, Reclaimed)]
    assert len(entries) == len(set(entries)) == 8 * ORDERS_PER_LOOK + 5 * 50


@pytest.mark.pitfall_6
async def test_a_look_is_bounded_in_agents_and_each_has_its_turn(pool: Pool) -> None:
    silent = [f"a{n}" for n in range(AGENTS_PER_LOOK + 20)]
    sweep = sweep_of(pool)
    looks = [await sweep.look(silent) for _ in range(5)]
    assert [len(look) for look in looks] == [0, 80, 100, 100, 100], "each is emptied at the second look into it"
    assert {event.agent for event in (*looks[1], *looks[2])} == set(silent)


async def test_nobody_silent_costs_nothing(pool: Pool) -> None:
    sweep = sweep_of(pool)
    assert await sweep.look([]) == []
    assert await sweep.left_over([]) == []
