"""How much waits unread is looked at in the same step in which something is added."""

from contextlib import suppress

import pytest
from msgspec import Raw
from redis.exceptions import ResponseError

from agentcom.broker.client_store import ClientStore
from agentcom.errors import Refused
from agentcom.model.codec import MAX_REQUEST_BYTES
from agentcom.model.messages import Cancel, Submit
from tests.broker.conformance.pool import Pool

SUBMIT = Submit(tasks=[])


@pytest.fixture
async def client(pool: Pool) -> ClientStore:
    await pool.redis.hset(pool.names.head, "max_inbox", 3)
    return ClientStore(pool.connections, "p")


async def test_requests_are_taken_all_or_none(pool: Pool, client: ClientStore) -> None:
    with pytest.raises(Refused, match="0 requests wait there unread, of at most 3, so these 4 requests do not fit"):
        await client.request([SUBMIT] * 4)
    assert await pool.redis.xlen(pool.names.inbox) == 0
    entries = await client.request([SUBMIT] * 3)
    assert entries == sorted(set(entries))
    assert len(entries) == await pool.redis.xlen(pool.names.inbox) == 3
    with pytest.raises(Refused, match="so this request does not fit"):
        await client.request([SUBMIT])


async def test_there_has_to_be_room_for_what_will_follow_too(pool: Pool, client: ClientStore) -> None:
    with pytest.raises(Refused, match="so these 4 requests do not fit"):
        await client.request([SUBMIT], more=3)
    await client.request([SUBMIT], more=2)
    await client.request([SUBMIT] * 5, begun=True)
    assert await pool.redis.xlen(pool.names.inbox) == 6


async def test_what_is_no_submission_has_a_reserve(pool: Pool, client: ClientStore) -> None:
    await client.request([Cancel(task="t")] * 103)
    with pytest.raises(Refused, match="103 requests wait there unread, of at most 103"):
        await client.request([Cancel(task="t")])


async def test_requests_that_are_few_and_large_are_bounded_too(pool: Pool, client: ClientStore) -> None:
    await pool.redis.hset(pool.names.head, mapping={"max_inbox": 1_000, "max_inbox_bytes": 100_000})
    large = Submit(tasks=[Raw(b'"' + b"x" * 30_000 + b'"')])
    full = "bytes of requests wait there unread, of at most 100,000, so "
    with pytest.raises(Refused, match=f"{full}these 4 requests do not fit"):
        await client.request([large] * 4)
    await client.request([large] * 2)
    with suppress(ResponseError):  # of fakeredis, which does not tell
        assert await pool.redis.memory_usage(pool.names.inbox) > 60_000
        with pytest.raises(Refused, match=f"{full}these 2 requests do not fit"):
            await client.request([large] * 2)
        assert await pool.redis.xlen(pool.names.inbox) == 2
    await client.request([Cancel(task="t")])


async def test_a_request_that_no_leader_would_read_is_not_sent(pool: Pool, client: ClientStore) -> None:
    with pytest.raises(Refused, match="over 16,777,216"):
        await client.request([Submit(tasks=[Raw(b'"' + b"x" * MAX_REQUEST_BYTES + b'"')])])
    assert await pool.redis.exists(pool.names.inbox) == 0


async def test_the_leader_says_how_much_may_wait(pool: Pool) -> None:
    await pool.lead()
    assert await pool.redis.hmget(pool.names.head, "max_inbox", "max_inbox_bytes") == [b"100000", b"1073741824"]


async def test_reports_that_settle_nothing_are_bounded_and_those_that_do_are_not(pool: Pool) -> None:
    sidecar = pool.sidecar()
    await sidecar.open()
    sidecar._policy = sidecar._policy.__class__(max_inbox=2)
    for _ in range(2):
        await sidecar.finish([], [b"hello"])
    with pytest.raises(ResponseError, match="FULL 2 reports wait unread"):
        await sidecar.finish([], [b"hello"])
    (entry,) = await pool.order()
    await sidecar.read(1, 0)
    await sidecar.finish([entry], [b"finished"])
    assert await pool.redis.xlen(pool.names.reports) == 3
    assert await pool.pending() == {}
