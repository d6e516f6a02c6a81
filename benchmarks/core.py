"""The core alone, without Redis: what an assignment costs, and what a waiting task weighs.

    python -m benchmarks.core [--quick]

An assignment here is the whole cycle in a full pool: one attempt's end is reported, its task completes, its slot is
given to the next waiting task. Ratios within this run are what counts.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from msgspec import Raw

from agentcom.ids import IdMaker
from agentcom.model.agent import Card
from agentcom.model.codec import encode
from agentcom.model.messages import Finished, Hello, Submit
from agentcom.model.task import Outcome, TaskSpec
from agentcom.scheduler.core import Core
from agentcom.scheduler.events import Reported, Requested
from agentcom.settings import Policy
from benchmarks.report import Row, table

NOW = 1_700_000_000_000
TASKS_PER_SUBMIT = 100
DONE = Outcome("completed")


class Pool:
    """A core whose agents are all busy, with as many tasks waiting as wanted."""

    def __init__(self, agents: int, demands: int) -> None:
        rng = random.Random(1)
        self.core = Core(Policy(), lambda: f"{rng.getrandbits(64):016x}")
        self._demands = itertools.cycle(range(demands))
        self._ids = IdMaker(lambda: NOW, os.urandom)
        self._running: dict[str, tuple[str, str]] = {}
        self._turn = 0
        for number in range(agents):
            hello = Hello(agent=f"a{number}", incarnation="i", card=card_of(number, demands))
            self.core.apply(Reported(f"{number}-0", hello), NOW)
        self.core.take(NOW)
        self._names = [f"a{number}" for number in range(agents)]

    def fill(self, waiting: int) -> None:
        """Submit until so many tasks wait."""
        while (missing := waiting - self.core.waiting()) > 0:
            wanted = itertools.islice(self._demands, min(TASKS_PER_SUBMIT, missing))
            specs = [Raw(encode(TaskSpec(id=self._ids.make(), text="do nothing", requires=f"s{d}"))) for d in wanted]
            self.core.apply(Requested("0-1", Submit(tasks=specs), {}), NOW)
            self._collect()

    def turn_over(self, attempts: int, batch: int) -> float:
        """So many attempts end and as many begin, in batches as the service makes them; seconds it took."""
        made = 0
        started = time.perf_counter()
        while made < attempts:
            for name in self._next_names(batch):
                if name in self._running:
                    task, token = self._running.pop(name)
                    end = Finished(agent=name, incarnation="i", task=task, token=token, outcome=DONE)
                    self.core.apply(Reported("1-1", end), NOW)
            made += self._collect()
        return time.perf_counter() - started

    def _next_names(self, batch: int) -> list[str]:
        first = self._turn
        self._turn = (first + batch) % len(self._names)
        return (
            (self._names[first:] + self._names[:first])[:batch]
            if first + batch > len(self._names)
            else self._names[first : first + batch]
        )

    def _collect(self) -> int:
        commit = self.core.take(NOW)
        for order in commit.orders:
            token, task = next(reversed(self.core.agents[order.agent].running.items()))
            self._running[order.agent] = (task, token)
        return len(commit.orders)


def card_of(number: int, demands: int) -> Card:
    """Each agent has every tenth skill or so: enough that each demand is met by a tenth of the agents."""
    skills = {f"s{d}": 1 for d in range(demands) if demands <= 10 or (d * 7 + number) % 10 == 0}
    return Card(attributes=dict(itertools.islice(skills.items(), 200)))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(agents: int, demands: int, waiting: int) -> tuple[float, float]:
    """Microseconds an assignment, and bytes a waiting task."""
    pool = Pool(agents, demands)
    pool.fill(1)
    gc.collect()
    before = resident_bytes()
    pool.fill(waiting)
    weight = (resident_bytes() - before) / waiting
    batch = min(agents, 100)
    attempts = min(2_000, waiting // 5)
    costs: list[float] = []
    for _ in range(7):
        pool.fill(waiting)
        costs.append(pool.turn_over(attempts, batch) / attempts * 1e6)
    return min(costs), weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for a look")
    sizes = (1_000, 10_000, 100_000) if parser.parse_args().quick else (1_000, 100_000, 1_000_000)
    rows: list[Row] = []
    for agents, demands in itertools.product((10, 1_000, 10_000), (1, 100, 1_000)):
        row: dict[str, object] = {"agents": agents, "requirement sets": demands}
        costs: list[float] = []
        for waiting in sizes:
            # Each in a process of its own: memory that an earlier one gave back would be counted as nothing.
            with ProcessPoolExecutor(1, get_context("spawn")) as executor:
                cost, weight = executor.submit(measure, agents, demands, waiting).result()
            costs.append(cost)
            row[f"us, {waiting:,} waiting"] = cost
        row["largest / smallest"] = costs[-1] / costs[0]
        row["bytes a waiting task"] = weight
        rows.append(row)
        print(row, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
