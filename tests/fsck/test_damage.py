"""Every kind of damage: it is explained, mended through the scheduler, and then the pool completes its work."""

from collections.abc import Awaitable, Callable

import pytest

from agentcom.model.commit import LAST_ID
from agentcom.model.task import TaskSpec
from tests.fsck.scene import Scene
from tests.scheduler.harness import at_work, eventually, leading, make_id

pytestmark = [pytest.mark.process, pytest.mark.pitfall_4]

Damage = Callable[[Scene], Awaitable[object]]


async def _lose_record(scene: Scene) -> None:
    await scene.redis.delete(scene.key("queued"))


async def _lose_record_of_running(scene: Scene) -> None:
    await scene.redis.delete(scene.key("first"))


async def _garble_record(scene: Scene) -> None:
    await scene.redis.set(scene.key("queued"), "garbage")


async def _make_record_a_hash(scene: Scene) -> None:
    await scene.redis.delete(scene.key("queued"))
    await scene.redis.hset(scene.key("queued"), "a", "b")


async def _leave_garbage(scene: Scene) -> None:
    await scene.redis.set(scene.names.task(make_id()), "garbage")


async def _put_ended_into_index(scene: Scene) -> None:
    await scene.redis.zadd(scene.names.open, {scene.tasks["done"]: 1})


async def _put_nonsense_into_index(scene: Scene) -> None:
    await scene.redis.zadd(scene.names.open, {"nonsense": 1})


async def _keep_ended_for_ever(scene: Scene) -> None:
    await scene.redis.persist(scene.key("done"))


async def _lose_index_entry(scene: Scene) -> None:
    await scene.redis.zrem(scene.names.open, scene.tasks["other"])


async def _lose_index(scene: Scene) -> None:
    await scene.redis.delete(scene.names.open)


async def _misplace(scene: Scene) -> None:
    await scene.redis.zadd(scene.names.open, {scene.tasks["other"]: 999})


async def _let_open_record_pass(scene: Scene) -> None:
    await scene.redis.expire(scene.key("other"), 1_000)


async def _lose_attempt(scene: Scene) -> None:
    await scene.rewrite_agent(running={})


async def _wait_for_nothing(scene: Scene) -> None:
    await scene.rewrite("blocked", waiting_for=[make_id()])


async def _wait_for_completed(scene: Scene) -> None:
    await scene.rewrite("blocked", waiting_for=[scene.tasks["done"]])


async def _wait_for_nobody(scene: Scene) -> None:
    await scene.rewrite("blocked", waiting_for=[])


async def _wait_for_damaged(scene: Scene) -> None:
    await scene.redis.zrem(scene.names.open, scene.tasks["queued"])
    await scene.redis.set(scene.key("queued"), "garbage", ex=1_000)


async def _same_place(scene: Scene) -> None:
    place = int(await scene.redis.zscore(scene.names.open, scene.tasks["queued"]))
    await scene.rewrite("other", seq=place)
    await scene.redis.zadd(scene.names.open, {scene.tasks["other"]: place})


async def _swap_record(scene: Scene) -> None:
    await scene.redis.set(scene.key("queued"), await scene.redis.get(scene.key("other")))


async def _swap_agent(scene: Scene) -> None:
    await scene.redis.hset(scene.names.agents, "elm", await scene.redis.hget(scene.names.agents, "oak"))


async def _garble_agent(scene: Scene) -> None:
    await scene.redis.hset(scene.names.agents, "oak", "garbage")


async def _lose_order(scene: Scene) -> None:
    await scene.redis.xack(scene.names.orders("oak"), "sidecar", scene.entries["first"])
    await scene.redis.xdel(scene.names.orders("oak"), scene.entries["first"])


async def _lose_stream(scene: Scene) -> None:
    await scene.redis.delete(scene.names.orders("oak"))


async def _acknowledge_order(scene: Scene) -> None:
    await scene.redis.xack(scene.names.orders("oak"), "sidecar", scene.entries["first"])


async def _delete_entry(scene: Scene) -> None:
    await scene.redis.xdel(scene.names.orders("oak"), scene.entries["first"])


async def _claim_order(scene: Scene) -> None:
    await scene.redis.xclaim(scene.names.orders("oak"), "sidecar", "somebody", 0, [scene.entries["first"]])


async def _list_ended_task(scene: Scene) -> None:
    await scene.rewrite_agent(running=await scene.running() | {"9.x": scene.tasks["done"]})


async def _order_garbage(scene: Scene) -> None:
    await scene.redis.xadd(scene.names.orders("oak"), {"m": "garbage"})


async def _order_of_nobody(scene: Scene) -> None:
    await scene.order()


async def _order_for_nobody(scene: Scene) -> None:
    await scene.order(agent="ghost")


async def _use_up_orders(scene: Scene) -> None:
    await scene.order(id_=LAST_ID)


async def _bind_garbage(scene: Scene) -> None:
    await scene.redis.hset(scene.names.keys, "some-key", "garbage")


async def _garble_binding(scene: Scene) -> None:
    await scene.redis.hset(scene.names.keys, "bound-other", "garbage")


async def _lose_binding(scene: Scene) -> None:
    await scene.redis.hdel(scene.names.keys, "bound-other")


async def _bind_huge_number(scene: Scene) -> None:
    await scene.redis.hset(scene.names.keys, "some-key", "t@" + "5" * 5_000)


async def _lose_bindings(scene: Scene) -> None:
    await scene.redis.delete(scene.names.keys)


async def _garble_costs(scene: Scene) -> None:
    await scene.redis.hset(scene.names.costs, "total", "garbage")


async def _leave_costs(scene: Scene) -> None:
    await scene.redis.hset(scene.names.costs, "by-hand", '{"attempts":1}')


async def _keep_slot(scene: Scene) -> None:
    await scene.rewrite_agent(reserved=[scene.tasks["queued"]])


async def _leave_beat(scene: Scene) -> None:
    await scene.redis.set(scene.names.beat("oak"), "x")


async def _leave_output(scene: Scene) -> None:
    await scene.redis.xadd(scene.names.output(scene.tasks["first"]), {"a": 1, "at": 1, "t": "x"})


async def _leave_refusal(scene: Scene) -> None:
    await scene.redis.set(scene.names.refused("1-1"), "[]")


async def _move_head(scene: Scene) -> None:
    await scene.redis.hset(scene.names.head, "reports_at", f"{2**62}-0")


async def _garble_position(scene: Scene) -> None:
    await scene.redis.hset(scene.names.head, "inbox_at", "garbage")


async def _garble_admitted(scene: Scene) -> None:
    await scene.redis.hset(scene.names.head, "admitted", "\u00b2")


async def _let_index_pass(scene: Scene) -> None:
    await scene.redis.expire(scene.names.open, 1_000)


async def _let_head_pass(scene: Scene) -> None:
    await scene.redis.expire(scene.names.head, 1_000)


async def _leave_alerts(scene: Scene) -> None:
    await scene.redis.hset(scene.names.named("alerts"), "version", "1")


DAMAGES: dict[str, tuple[str, Damage]] = {
    "a position that is none": ("damaged_head", _garble_position),
    "a count of tasks that is no number": ("damaged_head", _garble_admitted),
    "an index that would pass": ("passes_away", _let_index_pass),
    "a head that would pass": ("passes_away", _let_head_pass),
    "alerts without end of life": ("no_end", _leave_alerts),
    "a record is gone": ("no_record", _lose_record),
    "the record of a running task is gone": ("no_record", _lose_record_of_running),
    "a record is garbage": ("damaged_record", _garble_record),
    "a record is a hash": ("damaged_record", _make_record_a_hash),
    "a record of another task": ("damaged_record", _swap_record),
    "a record of another agent": ("damaged_agent", _swap_agent),
    "garbage where a record could be": ("damaged_record", _leave_garbage),
    "an ended task in the index": ("ended_in_index", _put_ended_into_index),
    "nonsense in the index": ("no_record", _put_nonsense_into_index),
    "an ended task without end of life": ("kept_for_ever", _keep_ended_for_ever),
    "an open task not in the index": ("not_in_index", _lose_index_entry),
    "no index at all": ("not_in_index", _lose_index),
    "a wrong place in the index": ("misplaced", _misplace),
    "an open record that would pass": ("open_record_passes", _let_open_record_pass),
    "an attempt that nobody lists": ("nobody_has_it", _lose_attempt),
    "waiting for a task that is not there": ("waits_in_vain", _wait_for_nothing),
    "waiting for a completed task": ("waits_in_vain", _wait_for_completed),
    "waiting for nobody": ("waits_for_nobody", _wait_for_nobody),
    "waiting for a damaged task": ("waited_for_damaged", _wait_for_damaged),
    "two tasks in one place": ("same_place", _same_place),
    "an agent's record is garbage": ("damaged_agent", _garble_agent),
    "an order is gone": ("order_missing", _lose_order),
    "a stream of orders is gone": ("order_missing", _lose_stream),
    "an order is acknowledged and not deleted": ("order_not_removed", _acknowledge_order),
    "an order is deleted and not acknowledged": ("entry_gone", _delete_entry),
    "an order is pending with a stranger": ("held_by_stranger", _claim_order),
    "an agent lists an ended task": ("slot_lost", _list_ended_task),
    "garbage among the orders": ("order_unreadable", _order_garbage),
    "an order of an attempt that nobody has": ("order_of_nobody", _order_of_nobody),
    "orders for an agent that is not there": ("orders_of_nobody", _order_for_nobody),
    "a stream of orders that is used up": ("orders_used_up", _use_up_orders),
    "an idempotency key of garbage": ("damaged_binding", _bind_garbage),
    "an idempotency key that was garbled": ("damaged_binding", _garble_binding),
    "an idempotency key of a huge number": ("damaged_binding", _bind_huge_number),
    "an idempotency key is gone": ("key_not_bound", _lose_binding),
    "all idempotency keys are gone": ("key_not_bound", _lose_bindings),
    "costs that were garbled": ("damaged_costs", _garble_costs),
    "costs that somebody made up": ("damaged_costs", _leave_costs),
    "a slot that is kept for nothing": ("slot_kept", _keep_slot),
    "a beat without end of life": ("no_end", _leave_beat),
    "an output without end of life": ("no_end", _leave_output),
    "a refusal without end of life": ("no_end", _leave_refusal),
    "a position ahead of the reports": ("position_ahead", _move_head),
}


@pytest.mark.parametrize(("kind", "damage"), DAMAGES.values(), ids=DAMAGES)
async def test_damage_under_a_leader_is_explained_and_mended_and_no_work_is_lost(
    scene: Scene, kind: str, damage: Damage
) -> None:
    async with at_work() as group, leading(scene.pool, group) as leader:
        await scene.set()
        assert (await scene.look()).found == []
        await damage(scene)
        before = await scene.look()
        assert kind in {one.kind for one in before.found}, before.found
        assert all(one.text and one.remedy and one.fix for one in before.found)
        done = await scene.repair(before)
        assert done.now.found == [], done
        assert {(one.kind, one.subject) for one in before.found} <= {(one.kind, one.subject) for one in done.mended}
        assert (await scene.look()).found == []
        assert await scene.pool.said("repair")
        await scene.work_off()
        assert await scene.states() == {"completed": 7}
        assert (await scene.look()).found == []
        assert leader.terms == 1


@pytest.mark.parametrize(("kind", "damage"), DAMAGES.values(), ids=DAMAGES)
async def test_damage_that_a_new_leader_finds_is_mended_and_what_can_be_done_is_done(
    scene: Scene, kind: str, damage: Damage
) -> None:
    async with at_work() as group:
        async with leading(scene.pool, group) as leader:
            await scene.set()
            await leader.stop()
        await damage(scene)
        assert kind in await scene.kinds()
        async with leading(scene.pool, group) as leader:
            done = await scene.repair(await scene.look())
            assert done.now.found == [], done
            assert (await scene.look()).found == []
            if not await scene.redis.hexists(scene.names.agents, "oak"):
                await scene._hello()
            await scene.work_off()
            states = await scene.states()
            assert states["completed"] >= 5, states
            assert (await scene.look()).found == []
            assert leader.terms == 1


async def _foreign(scene: Scene) -> None:
    await scene.redis.set(scene.names.named("something"), "else")


async def _dead_as_string(scene: Scene) -> None:
    await scene.redis.set(scene.names.dead, "by hand")


async def _output_as_string(scene: Scene) -> None:
    await scene.redis.set(scene.names.output(scene.tasks["first"]), "by hand")


async def _orders_as_string(scene: Scene) -> None:
    await scene.redis.set(scene.names.orders("ghost"), "by hand")


async def _put_binary_into_index(scene: Scene) -> None:
    await scene.redis.zadd(scene.names.open, {b"\xff\xfe": 1})


async def _use_up_dead(scene: Scene) -> None:
    await scene.redis.xadd(scene.names.dead, {"m": "x"}, id=LAST_ID)


BY_HAND: dict[str, tuple[str, str, Damage]] = {
    "a key that no part of AgentCom knows": ("nobody_owns", "key:something", _foreign),
    "dead letters that are a string": ("wrong_type", "key:dead", _dead_as_string),
    "an output that is a string": ("wrong_type", "key:output:", _output_as_string),
    "orders that are a string": ("wrong_type", "key:orders:ghost", _orders_as_string),
    "no text in the index": ("no_record", "task:", _put_binary_into_index),
    "dead letters that are used up": ("used_up", "key:dead", _use_up_dead),
}


@pytest.mark.parametrize(("kind", "subject", "damage"), BY_HAND.values(), ids=BY_HAND)
async def test_what_only_a_person_can_judge_is_told_and_left_alone(
    scene: Scene, kind: str, subject: str, damage: Damage
) -> None:
    async with at_work() as group, leading(scene.pool, group):
        await scene.set()
        await damage(scene)
        (one,) = (await scene.look()).found
        assert one.kind == kind
        assert one.subject.startswith(subject)
        assert "redis-cli" in one.remedy
        assert (await scene.repair(await scene.look())).now.found == [one]
        await scene.redis.zrem(scene.names.open, b"\xff\xfe")
        await scene.work_off()
        assert await scene.states() == {"completed": 7}


async def test_much_damage_at_once_is_mended_in_bounded_requests(scene: Scene) -> None:
    async with at_work() as group, leading(scene.pool, group):
        await scene.set()
        await scene._submit(*(f"more-{n}" for n in range(1_200)))
        await scene._is("more-1199", "queued")
        while await scene.redis.zcard(scene.names.open) < 1_206:
            await scene._at_rest()
        await scene.redis.delete(scene.names.open)
        await scene.rewrite_agent(running={})
        done = await scene.repair(await scene.look())
        assert done.now.found == []
        assert len(done.mended) >= 1_206
        assert await scene.redis.zcard(scene.names.open) == 1_206


async def test_harmless_oddities_are_told_apart(scene: Scene) -> None:
    async with at_work() as group, leading(scene.pool, group):
        await scene.set()
        gone = make_id()
        await scene.redis.hset(scene.names.keys, "old", f"{gone}@1")
        rejected = make_id()
        await scene.pool.request([TaskSpec(id=rejected, text="x", key="may be used again", requires="(((")])
        await eventually(lambda: scene.pool.redis.exists(scene.names.task(rejected)))
        await scene.redis.xadd(scene.names.output(gone), {"t": "x"})
        await scene.redis.expire(scene.names.output(gone), 100)
        await scene.redis.xadd(scene.names.dead, {"m": "garbage"})
        await scene.redis.set(scene.names.task(make_id()), "garbage", ex=100)
        await scene.rewrite("other", spec={"id": scene.tasks["other"], "text": "x", "new_in_the_next_version": 1})
        look = await scene.look()
        assert look.found == []
        assert {remark.kind: remark.count for remark in look.remarks} == {
            "foreign_record": 1,
            "key_of_nothing": 1,
            "damaged_letter": 1,
            "output_of_nothing": 1,
            "damaged_record_passes": 1,
        }


@pytest.mark.parametrize("name", ["inbox", "reports", "open", "agents", "keys", "head", "journal"])
async def test_a_vital_key_of_the_wrong_type_is_all_that_is_told(scene: Scene, name: str) -> None:
    """Whatever else could be said follows from it."""
    async with at_work() as group:
        async with leading(scene.pool, group) as leader:
            await scene.set()
            await leader.stop()
        await scene.redis.rename(scene.names.named(name), scene.names.named("kept"))
        await scene.redis.set(scene.names.named(name), "by hand")
        found = (await scene.look()).found
        assert {(one.kind, one.subject) for one in found} == {
            ("wrong_type", f"key:{name}"),
            ("nobody_owns", "key:kept"),
        }
        await scene.redis.rename(scene.names.named("kept"), scene.names.named(name))
        assert (await scene.look()).found == []
