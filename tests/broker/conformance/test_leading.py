"""Who leads."""

import anyio
import pytest

from agentcom.broker.connection import Connections
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.settings import Policy
from tests.broker.conformance.pool import Pool


async def test_one_leads_and_a_second_one_does_not(pool: Pool) -> None:
    fence = await pool.store.lead("a")
    assert fence is not None
    assert (fence.owner, fence.epoch) == ("a", 1)
    assert await pool.store.lead("b") is None
    assert await pool.store.leader() == "a"


async def test_every_leadership_has_a_higher_epoch(pool: Pool) -> None:
    epochs = []
    for owner in ("a", "b", "a"):
        epochs.append((await pool.lead(owner)).epoch)
        await pool.store.resign(owner)
    assert epochs == [1, 2, 3]


async def test_a_leader_that_lost_its_way_leads_anew_under_its_own_lease(pool: Pool) -> None:
    first = await pool.lead("a")
    second = await pool.lead("a")
    assert second.epoch == first.epoch + 1
    assert await pool.commit(first, closed=["t"]) == "deposed"


async def test_who_resigns_is_replaced_at_once(pool: Pool) -> None:
    await pool.lead("a")
    await pool.store.resign("a")
    assert await pool.store.leader() == ""
    assert (await pool.lead("b")).owner == "b"


async def test_only_the_leader_can_resign_or_renew(pool: Pool) -> None:
    await pool.lead("a")
    await pool.store.resign("b")
    assert not await pool.store.renew_lead("b")
    assert await pool.store.leader() == "a"


async def test_a_lease_that_is_not_renewed_expires(connections: Connections) -> None:
    store = SchedulerStore(connections, "p", Policy(lease_s=0.1))
    await store.lead("a")
    await anyio.sleep(0.15)
    assert not await store.renew_lead("a"), "its lease is over, even though nobody else leads yet"
    assert await store.lead("b") is not None


async def test_renewing_gives_a_whole_lease_again(pool: Pool) -> None:
    await pool.lead("a")
    await pool.redis.pexpire(pool.names.leader, 200)
    assert await pool.store.renew_lead("a")
    assert await pool.redis.pttl(pool.names.leader) > 500


async def test_a_commit_renews_the_lease_of_the_leader_but_of_nobody_else(pool: Pool) -> None:
    fence = await pool.lead("a")
    await pool.redis.pexpire(pool.names.leader, 200)
    assert await pool.commit(fence, closed=["t"]) == "done"
    assert await pool.redis.pttl(pool.names.leader) > 500
    await pool.redis.set(pool.names.leader, "b", px=200)
    assert await pool.commit(fence, closed=["t"]) == "done"
    assert await pool.redis.pttl(pool.names.leader) <= 200


@pytest.mark.pitfall_1
async def test_an_epoch_that_came_back_after_a_fail_over_does_not_let_two_leaders_write(pool: Pool) -> None:
    before = await pool.lead("a")
    await pool.redis.delete(pool.names.leader)
    await pool.redis.hset(pool.names.head, "epoch", before.epoch - 1)  # what the lost second of writes does
    after = await pool.lead("b")
    assert after.epoch == before.epoch
    assert await pool.commit(before, closed=["t"]) == "deposed"
    assert await pool.commit(after, closed=["t"]) == "done"
