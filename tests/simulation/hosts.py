"""A simulated machine: its wall clock, its disk, and the processes of agents that run on it whoever started them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random

from msgspec import Raw, Struct

from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.journal import STARTS_KEPT, OutboxNote, RunNote
from tests.simulation.loop import Handle, Process, SimLoop

EPOCH_MS = 1_800_000_000_000
TERM_MOST_S = 2.0
"""How long an agent takes to end when it is told to."""


class Plan(Struct, frozen=True):
    """What an agent will do with one attempt.

    Attributes:
        wake: `ok`, `fails` (it cannot be started), or `raises` (the runner has a defect).
        alive_s: when it first shows life; below 0: never.
        checked_s: when the agent is done, and its work is checked from then on; below 0: it is not checked.
        end_s: when it ends by itself; below 0: never.
        outcome: how.
        lie: what it reports besides, if anything.
    """

    wake: str = "ok"
    alive_s: float = 0.1
    checked_s: float = -1.0
    end_s: float = 1.0
    outcome: Outcome = Outcome("completed")
    lie: str = ""


class Run:
    """What really happened: one process of an agent that worked on one attempt."""

    __slots__ = (
        "agent", "alive_at", "began_s", "checked_s", "ended_s", "entry", "host", "incarnation", "on_change", "outcome",
        "pid", "task", "timers", "token",
    )  # fmt: skip

    def __init__(self, host: str, agent: str, incarnation: str, entry: str, task: str, token: str, pid: int) -> None:
        self.host = host
        self.agent = agent
        self.incarnation = incarnation
        self.entry = entry
        self.task = task
        self.token = token
        self.pid = pid
        self.began_s = 0.0
        self.checked_s: float | None = None
        """From when on its work is checked, if it is."""
        self.alive_at: float | None = None
        self.ended_s: float | None = None
        self.outcome: Outcome | None = None
        """What it left in its result file, if it came to its own end."""
        self.timers: list[Handle] = []
        self.on_change: list[Callable[[], None]] = []

    @property
    def identity(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, f"boot:{self.began_s:.6f}")


class Disk:
    """What one agent's folder holds. It survives every process."""

    def __init__(self) -> None:
        self.runs: dict[str, RunNote] = {}
        self.outbox: dict[int, OutboxNote] = {}
        self.starts: list[str] = []
        self.full = False


class Host:
    """One machine."""

    def __init__(self, loop: SimLoop, name: str, random: Random) -> None:
        self.name = name
        self.offset_ms = 0
        self.disks: dict[str, Disk] = {}
        self.runs: dict[int, Run] = {}
        """The processes of agents that run now, by pid."""
        self._loop = loop
        self._random = random
        self._pids = 100

    def next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def steady_clock(self) -> Callable[[], int]:
        """As a process has it that starts now: the wall clock of this moment, which goes on steadily."""
        loop, base = self._loop, EPOCH_MS + self.offset_ms
        return lambda: base + int(loop.time() * 1000)

    def begin(self, run: Run, plan: Plan, process: Process | None) -> None:
        """Start an agent's process; it ends with `process`, if it lives inside of it."""
        loop = self._loop
        run.began_s = loop.time()
        self.runs[run.pid] = run
        if plan.checked_s >= 0:
            run.checked_s = run.began_s + plan.checked_s
        if plan.alive_s >= 0:
            run.timers.append(loop.after(plan.alive_s, self._show_life, run))
        if plan.end_s >= 0:
            run.timers.append(loop.after(plan.end_s, self._end, run, plan.outcome))
        if process is not None:
            process.on_killed.append(lambda: self.kill(run))

    def _show_life(self, run: Run) -> None:
        if run.alive_at is None and run.ended_s is None:
            run.alive_at = self._loop.time()
            self._tell(run)

    def _end(self, run: Run, outcome: Outcome | None) -> None:
        if run.ended_s is None:
            run.ended_s = self._loop.time()
            run.outcome = outcome
            for timer in run.timers:
                timer.cancel()
            del self.runs[run.pid]
            self._tell(run)

    def _tell(self, run: Run) -> None:
        for action in list(run.on_change):
            action()

    def terminate(self, run: Run) -> None:
        """SIGTERM: it ends soon; its own end may still come first."""
        if run.ended_s is None:
            run.timers.append(self._loop.after(self._random.random() * TERM_MOST_S, self._end, run, None))

    def kill(self, run: Run) -> None:
        self._end(run, None)

    def power_off(self) -> None:
        """Nothing on this machine runs any more; what is on its disks stays."""
        for run in list(self.runs.values()):
            self.kill(run)


class SimJournal:
    """`agentcom.sidecar.journal.Journal` on a simulated disk: each change is there as a whole, or not at all."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process
        self.set_aside: list[Path] = []
        self._number = max(disk.outbox, default=0)

    def _write(self) -> None:
        self._process.step()
        if self._disk.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def began(self, incarnation: str) -> None:
        self._process.step()
        if not self._disk.full:
            self._disk.starts = [*self._disk.starts, incarnation][-STARTS_KEPT:]

    def starts(self) -> list[str]:
        return list(self._disk.starts)

    def started(self, note: RunNote) -> None:
        self._write()
        self._disk.runs[note.entry] = note
        self._process.step()

    def ended(self, entry: str) -> None:
        self._process.step()
        self._disk.runs.pop(entry, None)

    def queued(self, settled: list[str], reports: list[bytes]) -> OutboxNote:
        self._write()
        self._number += 1
        note = OutboxNote(self._number, settled, [Raw(report) for report in reports])
        self._disk.outbox[note.number] = note
        self._process.step()
        return note

    def sent(self, note: OutboxNote) -> None:
        self._process.step()
        self._disk.outbox.pop(note.number, None)

    def runs(self) -> list[RunNote]:
        return [self._disk.runs[entry] for entry in sorted(self._disk.runs)]

    def damaged(self) -> set[str]:
        return set()

    def damage(self) -> str:
        return ""

    def unsent(self) -> list[OutboxNote]:
        return [self._disk.outbox[number] for number in sorted(self._disk.outbox)]
