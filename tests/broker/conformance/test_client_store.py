"""What people see, also where something in it cannot be read."""

import pytest

from agentcom.broker.client_store import ClientStore, Printed
from agentcom.broker.connection import Connections
from agentcom.broker.sidecar_store import Output
from agentcom.model.commit import RefusalOut
from agentcom.model.messages import Beat, Cancel, DeadLetter, Line, Refusal
from tests.broker.conformance.pool import Pool, agent, record


@pytest.fixture
async def client(connections: Connections) -> ClientStore:
    return ClientStore(connections, "p")


async def test_requests_reach_the_inbox_in_order_and_count_as_read_once_they_are_committed(
    pool: Pool, client: ClientStore
) -> None:
    fence = await pool.lead()
    first, second = await client.request([Cancel(task="t1"), Cancel(task="t2")])
    bodies = [fields[b"m"] for _, fields in await pool.redis.xrange(pool.names.inbox)]
    assert [b"t1" in bodies[0], b"t2" in bodies[1]] == [True, True]
    assert not await client.taken_into_account(first)
    await pool.commit(fence, inbox_at=first, refusals=[RefusalOut(first, [Refusal("t1", "no")])])
    assert await client.taken_into_account(first)
    assert not await client.taken_into_account(second)
    assert await client.refusals(first) == [Refusal("t1", "no")]
    assert await client.refusals(second) is None


async def test_records_and_ids_that_can_be_read_are_shown(pool: Pool, client: ClientStore) -> None:
    fence = await pool.lead()
    await pool.commit(fence, records={task: record(task) for task in "ab"}, opened=[("b", 1), ("a", 2)])
    await pool.redis.set(pool.names.task("c"), "garbage")
    assert set(await client.records(["a", "b", "c", "d"])) == {"a", "b"}
    assert await client.open_ids(1) == ["b"]
    assert {task async for task in client.all_ids()} == {"a", "b", "c"}


async def test_agents_and_their_beats_that_can_be_read_are_shown(pool: Pool, client: ClientStore) -> None:
    fence = await pool.lead()
    await pool.commit(fence, agents={"oak": agent("oak"), "elm": agent("elm")})
    await pool.redis.hset(pool.names.agents, "fir", "garbage")
    beat = Beat(agent="oak", incarnation="sc-1", count=1, at=1, state="idle")
    await pool.sidecar().beat(beat, 2.0)
    await pool.redis.set(pool.names.beat("elm"), "garbage")
    assert [known.name for known in await client.agents()] == ["elm", "oak"]
    assert await client.beats(["oak", "elm", "fir"]) == {"oak": beat}
    assert await client.beats([]) == {}


async def test_the_pool_at_a_glance(pool: Pool, client: ClientStore) -> None:
    empty = await client.head()
    assert (empty.leader, empty.epoch, empty.seq, empty.open) == ("", 0, 0, 0)
    fence = await pool.lead()
    await client.request([Cancel(task="t")])
    await pool.commit(fence, opened=[("a", 1)], dead=[DeadLetter("t0", "heading", 1, "lost", "", 4)])
    head = await client.head()
    assert (head.leader, head.epoch, head.seq) == ("leader", 1, 1)
    assert (head.inbox, head.reports, head.open, head.dead) == (1, 0, 1, 1)


async def test_the_journal_is_read_from_where_one_was_and_garbage_in_it_is_passed_over(
    pool: Pool, client: ClientStore
) -> None:
    fence = await pool.lead()
    assert await client.journal_end() == "0-0"
    await pool.commit(fence, lines=[Line(1, "pool", "one")])
    since = await client.journal_end()
    for fields in ({"l": "garbage"}, {"other": "x"}):
        await pool.redis.xadd(pool.names.journal, fields)
    await pool.commit(fence, lines=[Line(2, "pool", "two")])
    later = [line.trigger for _, lines in await client.journal(since, 0) for line in lines]
    assert later == ["two"]
    tail = [line.trigger for _, lines in await client.journal_tail(10) for line in lines]
    assert tail == ["one", "two"]
    assert await client.journal(await client.journal_end(), 1) == []


async def test_dead_letters_come_newest_first_without_garbage(pool: Pool, client: ClientStore) -> None:
    fence = await pool.lead()
    letters = [DeadLetter(f"t{n}", "heading", n, "lost", "", 4) for n in range(2)]
    await pool.commit(fence, dead=letters)
    await pool.redis.xadd(pool.names.dead, {"other": "x"})
    assert await client.dead(10) == letters[::-1]


async def test_output_is_read_from_where_one_was_and_garbage_in_it_does_not_end_it(
    pool: Pool, client: ClientStore
) -> None:
    await pool.sidecar().output([Output("t", 1, 5, b"one\n")])
    (first,) = await client.output("t", "0-0", 0)
    await pool.redis.xadd(pool.names.output("t"), {"a": "garbage"})
    await pool.sidecar().output([Output("t", 2, 6, b"two\n")])
    odd, second = await client.output("t", first.entry, 0)
    assert first == Printed(first.entry, 1, 5, b"one\n")
    assert (odd.attempt, odd.at, odd.body) == (0, 0, b"")
    assert (second.attempt, second.at, second.body) == (2, 6, b"two\n")
