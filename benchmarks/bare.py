"""The limit: redis-py and hiredis alone move entries through streams, with no scheduler, no records, no fences."""

from __future__ import annotations

import asyncio
import time

from redis.asyncio import Redis

BODY = b"x" * 150
PIPELINE = 100


async def moved_per_s(url: str, entries: int) -> float:
    """Entries a second through XADD, XREADGROUP and XACK, in pipelines of 100, one after the other."""
    redis = Redis.from_url(url, protocol=2)
    await redis.delete("bare")
    await redis.xgroup_create("bare", "g", id="0", mkstream=True)
    started = time.perf_counter()
    for _ in range(0, entries, PIPELINE):
        pipeline = redis.pipeline(transaction=False)
        for _ in range(PIPELINE):
            pipeline.xadd("bare", {"m": BODY})
        await pipeline.execute()
    done = 0
    while done < entries:
        reply = await redis.xreadgroup("g", "c", {"bare": ">"}, count=PIPELINE)
        ids = [entry for entry, _ in reply[0][1]]
        pipeline = redis.pipeline(transaction=False)
        for entry in ids:
            pipeline.xack("bare", "g", entry)
        await pipeline.execute()
        done += len(ids)
    took_s = time.perf_counter() - started
    await redis.delete("bare")
    await redis.aclose()
    return entries / took_s


async def answer_hops(url: str, hops: int) -> None:
    """The other side of `hop_ms`, in a process of its own: answers with the time at which it woke."""
    redis = Redis.from_url(url, protocol=2)
    await redis.xgroup_create("hop", "g", id="0", mkstream=True)
    for _ in range(hops):
        reply = await redis.xreadgroup("g", "c", {"hop": ">"}, count=1, block=10_000)
        woke_ns = time.perf_counter_ns()
        entry, _ = reply[0][1][0]
        pipeline = redis.pipeline(transaction=False)
        pipeline.xack("hop", "g", entry)
        pipeline.rpush("hop-back", woke_ns)
        await pipeline.execute()
    await redis.aclose()


async def hop_ms(url: str, hops: int, pause_s: float) -> list[float]:
    """Milliseconds from before an XADD until the other side wakes from its blocking read; one at a time."""
    redis = Redis.from_url(url, protocol=2)
    times: list[float] = []
    for _ in range(hops):
        await asyncio.sleep(pause_s)
        sent_ns = time.perf_counter_ns()
        await redis.xadd("hop", {"m": BODY})
        _, woke_ns = await redis.blpop("hop-back", timeout=10)
        times.append((int(woke_ns) - sent_ns) / 1e6)
    await redis.aclose()
    return times
