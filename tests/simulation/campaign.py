"""Many seeds on all cores."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from multiprocessing import get_context

from tests.simulation.play import Result, play_seed

EVERY_S = 10.0


class Campaign:
    """Runs seeds of one profile, and tells how it goes."""

    def __init__(self, profile: str, processes: int = 0, only: tuple[str, ...] = ()) -> None:
        self._profile = profile
        self._only = only
        self._processes = processes or os.cpu_count() or 1
        self.failed: list[Result] = []
        self.seeds = 0
        self.lifecycles = 0
        self.virtual_s = 0.0
        self.seen: Counter[str] = Counter()

    def run(self, seeds: range, *, minutes: float = 0.0, lifecycles: int = 0, go_on: bool = False) -> int:
        """What the command ends with: 0 if nothing was violated."""
        began_s = said_s = time.monotonic()
        wanted: Iterator[int] = count(seeds.start) if lifecycles else iter(seeds)
        with ProcessPoolExecutor(self._processes, get_context("spawn")) as pool:
            running: set[Future[Result]] = set()
            while True:
                enough = (
                    (self.failed and not go_on)
                    or (minutes and time.monotonic() - began_s > 60 * minutes)
                    or (lifecycles and self.lifecycles >= lifecycles)
                )
                while not enough and len(running) < 2 * self._processes:
                    seed = next(wanted, None)
                    if seed is None:
                        break
                    running.add(pool.submit(play_seed, seed, self._profile, self._only))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(future.result())
                if time.monotonic() - said_s > EVERY_S:
                    said_s = time.monotonic()
                    self._say(said_s - began_s)
        self._say(time.monotonic() - began_s)
        return 1 if self.failed else 0

    def _take(self, result: Result) -> None:
        self.seeds += 1
        self.lifecycles += result.lifecycles
        self.virtual_s += result.virtual_s
        self.seen.update(result.seen)
        if result.problem:
            self.failed.append(result)
            print(f"seed {result.seed}: {result.subject}: {result.problem}")
            what = f"--only {','.join(self._only)}" if self._only else f"--profile {self._profile}"
            print(f"    python -m tests.simulation {what} --seed {result.seed}", flush=True)

    def _say(self, lasted_s: float) -> None:
        print(
            f"{self.seeds} seeds, {self.lifecycles:,} task lifecycles, {self.virtual_s / 3600:.1f} simulated hours"
            f" in {lasted_s:.0f} s ({self.lifecycles / max(lasted_s, 0.001):,.0f} lifecycles a second):"
            f" {len(self.failed)} violations",
            flush=True,
        )
