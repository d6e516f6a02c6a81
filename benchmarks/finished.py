"""Whether tasks that are finished cost those that come later: two pools on one server, one of which keeps none.

python -m benchmarks.finished [10000] [100000]

In each round, first the one pool and then the other takes on so many tasks while its scheduler is stopped (that is
submitting alone), and then works them off (assigning and completing). Ratios within this run are what counts; that of
the CPU time, of Redis, scheduler and sidecar together, is the least disturbed by whatever else the machine does.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field

import anyio
from msgspec import Raw

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import Connections
from agentcom.broker.keys import Keys
from agentcom.ids import IdMaker
from agentcom.model.codec import encode
from agentcom.model.messages import Submit
from agentcom.model.task import TaskSpec
from benchmarks.processes import Pool, cpu_s, pool, server
from benchmarks.report import Row, table

ROUNDS = 9
TASKS_PER_ROUND = 2_000
TASKS_PER_FILL = 10_000
SIZES = (10_000, 100_000)


@dataclass
class Side:
    """One of the two pools, and what a task cost there, in microseconds."""

    name: str
    running: Pool
    connections: Connections
    keeps: bool
    submit_us: list[float] = field(default_factory=list)
    work_us: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    async def submit(self, tasks: int) -> float:
        """Submit so many, one a request, in pipelines of 100; seconds it took."""
        store, ids = ClientStore(self.connections, self.name), IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom)
        started = time.perf_counter()
        for _ in range(0, tasks, 100):
            specs = [TaskSpec(id=ids.make(), text="do nothing", requires="python") for _ in range(100)]
            await store.request([Submit(tasks=[Raw(encode(spec))]) for spec in specs])
        return time.perf_counter() - started

    async def worked_off(self) -> float:
        """Wait until nothing is open; seconds it took."""
        redis, keys = self.connections.commands, Keys(self.name)
        started = time.perf_counter()
        while await redis.xlen(keys.inbox) or await redis.zcard(keys.open):
            await anyio.sleep(0.002)
        return time.perf_counter() - started

    async def fill(self, finished: int) -> None:
        """Finish so many, through the pool as it is."""
        for _ in range(0, finished, TASKS_PER_FILL):
            await self.submit(min(finished, TASKS_PER_FILL))
            await self.worked_off()

    async def round(self, tasks: int) -> None:
        """One measurement."""
        used_s = self.cpu_s()
        os.kill(self.running.scheduler, signal.SIGSTOP)
        try:
            submitted_s = await self.submit(tasks)
        finally:
            os.kill(self.running.scheduler, signal.SIGCONT)
        self.work_us.append(await self.worked_off() / tasks * 1e6)
        self.submit_us.append(submitted_s / tasks * 1e6)
        self.cpu_us.append((self.cpu_s() - used_s) / tasks * 1e6)
        if not self.keeps:
            await self.forget()

    def cpu_s(self) -> float:
        """What the processes have used so far."""
        return sum(cpu_s(pid) for pid in (self.running.server, self.running.scheduler, self.running.sidecar))

    async def forget(self) -> None:
        """Remove the records of finished tasks, as if their retention were over."""
        redis = self.connections.commands
        keys = [key async for key in redis.scan_iter(match=Keys(self.name).tasks_pattern, count=1_000)]
        for first in range(0, len(keys), 1_000):
            await redis.unlink(*keys[first : first + 1_000])


async def compare(finished: int, rounds: int = ROUNDS, tasks: int = TASKS_PER_ROUND) -> tuple[Side, Side]:
    """Measure a pool that keeps none, and one that keeps so many."""
    with server() as redis, pool(redis, name="none") as none, pool(redis, name="many") as many:
        connections = Connections(redis.url)
        sides = Side("none", none, connections, keeps=False), Side("many", many, connections, keeps=True)
        for side in sides:
            await side.submit(500)
            await side.worked_off()
        await sides[0].forget()
        await sides[1].fill(finished)
        for _ in range(rounds):
            for side in sides:
                await side.round(tasks)
        await connections.close()
    return sides


def ratios(sides: tuple[Side, Side]) -> tuple[float, float, float]:
    """How much more a task costs where many are finished: to submit it and to work it off, of each the best round; and
    the median of the CPU time."""
    none, many = sides
    cpu = statistics.median(many.cpu_us) / statistics.median(none.cpu_us)
    return min(many.submit_us) / min(none.submit_us), min(many.work_us) / min(none.work_us), cpu


async def measure(finished: int) -> None:
    """Compare, and print it."""
    sides = await compare(finished)
    submit, work, cpu = ratios(sides)
    rows: list[Row] = [
        {
            "finished tasks": kept,
            "submit, µs": min(side.submit_us),
            "assign and complete, µs": min(side.work_us),
            "CPU in all, µs": statistics.median(side.cpu_us),
        }
        for kept, side in zip(("none", f"{finished:,} and more"), sides, strict=True)
    ]
    last: Row = {
        "finished tasks": "ratio",
        "submit, µs": submit,
        "assign and complete, µs": work,
        "CPU in all, µs": cpu,
    }
    rows.append(last)
    print(table(rows) + "\n", flush=True)


def main() -> None:
    for finished in [int(argument) for argument in sys.argv[1:]] or SIZES:
        anyio.run(measure, finished)


if __name__ == "__main__":
    main()
