"""One chaos run: a pool under load, a plan of faults, time to settle, and the judge."""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import redis

from tests.chaos.evidence import Evidence, Rules, Violation
from tests.chaos.faults import SCENARIOS, Scenario, plan
from tests.chaos.harm import Harm, signal_process
from tests.chaos.judge import fenced_overlaps, judge
from tests.chaos.ledger import Ledger, command_of, now_ms, processes_under
from tests.chaos.observer import Observer, known_keys
from tests.chaos.programs import AGENTS, POLICY, PROGRAMS, SLOTS, Pool
from tests.chaos.proxy import Proxy
from tests.chaos.sentinels import SentinelGroup
from tests.chaos.stores import OneServer, await_answer
from tests.chaos.workload import Workload

PEOPLE = "people"
"""The proxy's door for commands that are typed."""

EVIDENCE = "evidence.json"
"""Where a run leaves what the judge was given, so that it can be judged again."""

STEP_S = 0.05
SETTLE_S = 120.0
"""The longest life left when the faults stop: a task with all its attempts before it, each to its time limit."""

RULES = Rules(
    max_attempts=int(str(POLICY["max_attempts"])),
    max_handbacks=int(str(POLICY["max_handbacks"])),
    slots=dict.fromkeys(AGENTS, SLOTS),
    silence_ms=15_000,
    settle_ms=int(SETTLE_S * 1000),
)


@dataclass
class Account:
    """What a run did, and what the judge says of it."""

    scenario: str
    seed: int
    seconds: float
    folder: Path
    faults: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    network: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    gone: int = 0
    runs: int = 0
    overlaps: int = 0
    starts: int = 0
    leaderships: int = 0
    losses: int = 0
    vanished: int = 0
    probes_lost: int = 0
    settled_ms: int | None = None
    violations: list[Violation] = field(default_factory=list)


class Run:
    """One run. It starts nothing before `perform`, and leaves nothing running after it."""

    def __init__(self, name: str, seed: int, seconds: float, folder: Path) -> None:
        self.account = Account(name, seed, seconds, folder)
        self._scenario: Scenario = SCENARIOS[name]
        self._faults = plan(self._scenario, seed, seconds, PROGRAMS)
        self._folder = folder
        self._stack = ExitStack()

    def perform(self) -> Account:
        """Start everything, do the worst, let it settle, judge."""
        with self._stack:
            self._set_up()
            self._do_the_worst()
            evidence = self._gather(self._settle())
        self._fill_in(evidence)
        return self.account

    # --------------------------------------------------------------- set up

    def _set_up(self) -> None:
        fsync = self._scenario.store
        store = self._folder / "store"
        self._store = SentinelGroup(store) if fsync == "sentinel" else OneServer(store, fsync)
        self._stack.callback(self._store.stop)
        self._store.start()
        self._proxy: Proxy | None = None
        urls = dict.fromkeys((*PROGRAMS, PEOPLE), self._store.url)
        if self._scenario.proxied:
            assert isinstance(self._store, OneServer)
            self._proxy = self._stack.enter_context(Proxy(self._store.server.socket_path, [*PROGRAMS, PEOPLE]))
            urls = {name: f"redis://127.0.0.1:{door.port}" for name, door in self._proxy.doors.items()}
        self._pool = Pool(self._folder, urls)
        self._stack.callback(self._end_processes)
        self._stack.callback(self._pool.end)
        self._ledger = Ledger(self._pool.ledger)
        self._harm = Harm(self._pool, self._store, self._proxy, self._ledger)
        self._observer = Observer(self._store.client(), now_ms)
        self._stack.callback(self._observer.stop)
        lossy = self._scenario.store != "always"
        seed = self.account.seed
        self._workload = Workload(self._pool, self._store.client(), seed, lossy=lossy, people_url=urls[PEOPLE])
        self._stack.callback(self._workload.stop)
        for name in PROGRAMS:
            self._pool.start(name)
        self._observer.start()
        self._workload.start()

    def _end_processes(self) -> None:
        for process in processes_under(self._folder):
            signal_process(process, signal.SIGKILL)

    # --------------------------------------------------------------- faults

    def _do_the_worst(self) -> None:
        began = time.monotonic()
        faults = self._faults
        while (now := time.monotonic()) < began + self.account.seconds:
            if faults and now >= began + faults[0].at_s:
                self._harm.inflict(faults[0])
                faults = faults[1:]
            self._tend()
        self._harm.hasten()
        while not self._harm.is_over:
            self._tend()

    def _tend(self) -> None:
        self._store.tend()
        self._ledger.look()
        for name in self._pool.watch():
            self._harm.start_later(name)
        self._harm.undo_what_is_due()
        time.sleep(STEP_S)

    # ----------------------------------------------------------- settle, gather

    def _settle(self) -> tuple[int | None, list[str]]:
        """Wait until nothing is open; how long that took, and what is left if it did not come to that."""
        began = time.monotonic()
        self._workload.stop()
        self._harm.start_all()
        await_answer(self._store.client())
        left = ["nothing was looked at"]
        while time.monotonic() < began + SETTLE_S:
            self._tend()
            left = self._left()
            if not left:
                return int((time.monotonic() - began) * 1000), []
            time.sleep(0.2)
        return None, left

    def _left(self) -> list[str]:
        try:
            if not self._workload.send_rest():
                return ["submissions are not acknowledged"]
            left = self._observer.open_ends()
        except redis.RedisError as error:
            return [f"Redis is away: {error}"]
        return left or [f"left running: {command_of(process)}" for process in processes_under(self._folder)]

    def _gather(self, settled: tuple[int | None, list[str]]) -> Evidence:
        settled_ms, unsettled = settled
        self._observer.stop()
        self._ledger.look()
        self._pool.stop()
        self._ledger.look()
        probes = self._store.probes if isinstance(self._store, SentinelGroup) else []
        self.account.probes_lost = sum(not self._store.client().exists(probe) for probe in probes)
        lines, ids = self._observer.journal()
        return Evidence(
            rules=RULES,
            lines=lines,
            records=self._observer.records(),
            submissions=self._workload.submissions,
            runs=self._ledger.runs(),
            looks=self._observer.looks,
            forgeries=self._workload.forgeries,
            losses=self._store.losses,
            disturbances=[*self._harm.disturbances, *self._store.losses],
            vanished=[int(entry.partition("-")[0]) for entry in self._observer.seen if entry not in ids],
            settled_ms=settled_ms,
            unsettled=unsettled,
            left_running=[command_of(process) for process in processes_under(self._folder)],
            exits=self._pool.exits,
            keys=self._observer.keys(),
            known_keys=known_keys(),
        )

    def _fill_in(self, evidence: Evidence) -> None:
        account = self.account
        account.faults = self._harm.counts
        account.network = self._proxy.totals() if self._proxy is not None else Counter()
        account.deeds = self._workload.counts
        account.states = Counter(record.state for record in evidence.records.values())
        account.reasons = Counter(
            line.reason for line in evidence.lines if line.what == "task" and line.reason and line.before != line.after
        )
        account.acknowledged = len(evidence.submissions)
        account.gone = sum(one.task not in evidence.records for one in evidence.submissions)
        account.runs = len(evidence.runs)
        account.overlaps = fenced_overlaps(evidence)
        account.starts = sum(program.starts for program in self._pool.programs.values())
        account.leaderships = sum(line.what == "pool" and line.trigger == "lead" for line in evidence.lines)
        account.losses, account.vanished = len(evidence.losses), len(evidence.vanished)
        account.settled_ms = evidence.settled_ms
        account.violations = judge(evidence)
        (self._folder / EVIDENCE).write_bytes(msgspec.json.encode(evidence))
