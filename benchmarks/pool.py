"""The whole pool, each part a process of its own: throughput, latency, idle cost, and how fast a new leader loads.

python -m benchmarks.pool [throughput] [latency] [idle] [load]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from msgspec import Raw
from redis.asyncio import Redis

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import Connections
from agentcom.broker.keys import Keys
from agentcom.client import Client
from agentcom.ids import IdMaker
from agentcom.model.codec import decode_carried, encode
from agentcom.model.messages import Submit
from agentcom.model.task import TaskRecord, TaskSpec
from benchmarks.bare import hop_ms, moved_per_s
from benchmarks.processes import cpu_s, own_peak_mb, pool, server
from benchmarks.report import Row, table

TASKS = 10_000
HOPS = 500
IDLE_S = 60.0
LOADED = 1_000_000


# ---------------------------------------------------------------- throughput


async def submit(connections: Connections, tasks: int) -> None:
    """Submit no-op tasks one a request, in pipelines of 100."""
    store, ids = ClientStore(connections, "default"), IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom)
    for _ in range(0, tasks, 100):
        specs = [TaskSpec(id=ids.make(), text="do nothing", requires="python") for _ in range(100)]
        await store.request([Submit(tasks=[Raw(encode(spec))]) for spec in specs])


async def drained(connections: Connections, keys: Keys) -> None:
    """Wait until every submitted task has ended."""
    redis = connections.commands
    while await redis.xlen(keys.inbox) or await redis.zcard(keys.open):
        await anyio.sleep(0.02)


async def commands_so_far(redis: Redis) -> int:
    """How many commands the server has executed, those inside scripts included."""
    return sum(row["calls"] for row in (await redis.info("commandstats")).values())


async def throughput() -> None:
    """Submit alone, drain alone, all at once; and the bare loop before and after, as the machine is noisy."""
    with server() as redis:
        connections, keys = Connections(redis.url), Keys("default")
        bare = [await moved_per_s(redis.url, 2 * TASKS)]
        started = time.perf_counter()
        await submit(connections, TASKS)
        submit_alone = TASKS / (time.perf_counter() - started)
        with pool(redis):
            began = await _first_end(connections, keys)
            await drained(connections, keys)
            drain_alone = TASKS / (time.perf_counter() - began)
        with pool(redis) as running:
            await submit(connections, 500)
            await drained(connections, keys)
            memory = (await connections.commands.info("memory"))["used_memory"]
            before = await commands_so_far(connections.commands)
            best = 0.0
            runs = 3
            for _ in range(runs):
                started = time.perf_counter()
                await submit(connections, TASKS)
                await drained(connections, keys)
                best = max(best, TASKS / (time.perf_counter() - started))
            commands = (await commands_so_far(connections.commands) - before) / TASKS / runs
            grown = ((await connections.commands.info("memory"))["used_memory"] - memory) / TASKS / runs
            peaks = running.peaks_mb()
        bare.append(await moved_per_s(redis.url, 2 * TASKS))
        limit = statistics.mean(bare)
        rows: list[Row] = [
            {"what": "bare loop, entries/s", "figure": limit, "of the bare loop": 1.0},
            {"what": "submit alone, tasks/s", "figure": submit_alone, "of the bare loop": submit_alone / limit},
            {"what": "drain alone, tasks/s", "figure": drain_alone, "of the bare loop": drain_alone / limit},
            {"what": "all at once, tasks/s", "figure": best, "of the bare loop": best / limit},
            {"what": "server commands a task", "figure": commands, "of the bare loop": ""},
            {"what": "bytes kept a task in Redis", "figure": grown, "of the bare loop": ""},
            {"what": "peak MB of the submitter", "figure": own_peak_mb(), "of the bare loop": ""},
            *({"what": f"peak MB of {name}", "figure": mb, "of the bare loop": ""} for name, mb in peaks.items()),
        ]
        await connections.close()
    print(table(rows))


async def _first_end(connections: Connections, keys: Keys) -> float:
    """When the drain begins: the pool's processes take a while to start, which is not what is measured."""
    while await connections.commands.zcard(keys.open) == 0:
        await anyio.sleep(0.001)
    return time.perf_counter()


# ------------------------------------------------------------------- latency


async def latency() -> None:
    """From before a submission until the agent's function began, one at a time; the bare hop in the same run."""
    rows: list[Row] = []
    for pause_s in (0.0, 0.01):
        with server() as redis:
            code = f"import anyio; from benchmarks.bare import *; anyio.run(answer_hops, {redis.url!r}, {HOPS})"
            other = subprocess.Popen([sys.executable, "-c", code])  # noqa: ASYNC220 - it is not waited for here
            await anyio.sleep(1)
            bare = await hop_ms(redis.url, HOPS, pause_s)
            other.wait()
            with pool(redis):
                ours = await _submit_to_start_ms(redis.url, pause_s)
        pause = f", {pause_s * 1000:g} ms pause before each"
        found = [_quantiles(f"bare hop, ms{pause}", bare), _quantiles(f"submit → function starts, ms{pause}", ours)]
        ratio = {name: found[1][name] / found[0][name] for name in ("p50", "p95", "p99")}
        rows += [*found, {"what": "ratio", **ratio}]
    print(table(rows))


async def _submit_to_start_ms(url: str, pause_s: float) -> list[float]:
    async with Client(url) as client:
        await (await client.submit("tell", requires="python")).wait()
        return await starts_ms(client, HOPS, pause_s)


async def starts_ms(client: Client, hops: int, pause_s: float) -> list[float]:
    """From before each of so many submissions, one at a time, until the agent's function began."""
    times: list[float] = []
    for _ in range(hops):
        await anyio.sleep(pause_s)
        sent_ns = time.perf_counter_ns()
        task = await client.submit("tell", requires="python", confirm_s=0)
        outcome = await task.wait()
        times.append((outcome.value - sent_ns) / 1e6)
    return times


def _quantiles(what: str, times: list[float]) -> dict[str, Any]:
    cuts = statistics.quantiles(times, n=100)
    return {"what": what, "p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


# ---------------------------------------------------------------------- idle


async def idle() -> None:
    """Commands and CPU of a scheduler and a sidecar with nothing to do."""
    rows = []
    for name in ("scheduler", "sidecar"):
        with server() as redis, pool(redis, scheduler=name == "scheduler", sidecar=name == "sidecar") as running:
            connections = Connections(redis.url)
            pid = running.scheduler or running.sidecar
            before, used_s = await commands_so_far(connections.commands), cpu_s(pid)
            await anyio.sleep(IDLE_S)
            commands = await commands_so_far(connections.commands) - before - 1
            row = {"process": name, "commands/s": commands / IDLE_S, "CPU s/min": (cpu_s(pid) - used_s) / IDLE_S * 60}
            rows.append(row)
            await connections.close()
    print(table(rows))


# ---------------------------------------------------------------------- load


async def load() -> None:
    """How fast a new leader loads open tasks, against a bare loop that reads and decodes the same records."""
    from agentcom.broker.scheduler_store import SchedulerStore
    from agentcom.scheduler.core import Core
    from agentcom.scheduler.service import no_collection
    from agentcom.settings import Policy

    with server() as redis:
        connections, keys, policy = Connections(redis.url), Keys("default"), Policy()
        await _write_open_tasks(connections, keys)
        store = SchedulerStore(connections, "default", policy)
        started = time.perf_counter()
        read = 0
        for first in range(0, LOADED, 2_000):
            ids = await connections.commands.zrange(keys.open, first, first + 1_999)
            bodies = await connections.commands.mget([keys.task(id_.decode()) for id_ in ids])
            read += sum(decode_carried(body) is not None for body in bodies)
        bare_s = time.perf_counter() - started
        core = Core(policy, lambda: "")
        started = time.perf_counter()
        core.load_agents([], 0)
        with no_collection():
            async for records, _ in store.open_records():
                core.load_tasks(records.values(), 0)
        ours_s = time.perf_counter() - started
        await connections.close()
    rows = [
        {"what": f"bare loop, {read:,} records, s", "figure": bare_s},
        {"what": f"new leader, {core.open_tasks:,} tasks, s", "figure": ours_s},
        {"what": "ratio", "figure": ours_s / bare_s},
    ]
    print(table(rows))


async def _write_open_tasks(connections: Connections, keys: Keys) -> None:
    ids = IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom)
    for first in range(0, LOADED, 5_000):
        pipeline = connections.commands.pipeline(transaction=False)
        index: dict[str, float] = {}
        for seq in range(first, first + 5_000):
            spec = TaskSpec(id=ids.make(), text="do nothing", requires=f"s{seq % 100}")
            record: TaskRecord[TaskSpec] = TaskRecord(
                spec=spec, seq=seq, state="queued", submitted_at=1, changed_at=1, ready_at=1
            )
            pipeline.set(keys.task(spec.id), encode(record))
            index[spec.id] = seq
        pipeline.zadd(keys.open, index)
        await pipeline.execute()


PARTS: dict[str, Callable[[], Awaitable[None]]] = {
    "throughput": throughput,
    "latency": latency,
    "idle": idle,
    "load": load,
}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        print(f"\n{name}\n", flush=True)
        anyio.run(PARTS[name])


if __name__ == "__main__":
    main()
