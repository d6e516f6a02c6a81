"""The attempts that are under way here: each is a task of its own, in which the runner works on it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from agentcom.model.codec import read_spec
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.effects import Phase
from agentcom.sidecar.journal import Journal, RunNote
from agentcom.sidecar.output import OutputBuffer
from agentcom.sidecar.runners.base import Job, Runner, names_attempt, not_woken, unfit

log = logging.getLogger("agentcom.sidecar")

SUSPICIOUS = frozenset({"unfit", "wake_failed"})
"""Reasons that suggest that the next attempt will meet the same."""


class Runs:
    """Starts, adopts and ends attempts.

    Args:
        runner: wakes the agent.
        journal: is told of a run before it begins.
        output: takes what agents print.
        clock: Unix time in ms.
        on_alive: called with an order's entry at the agent's first sign of life.
        on_ended: called with an order's entry and the outcome, when nothing of the attempt runs any more.
        on_suspicion: called when an attempt ended in a way that suggests that this machine cannot work.
        on_phase: called with an order's entry and the phase that its attempt came into.
        on_filled: called with an order's entry and how full its agent's context window is, in percent.
    """

    def __init__(
        self,
        runner: Runner,
        journal: Journal,
        output: OutputBuffer,
        clock: Callable[[], int],
        on_alive: Callable[[str], None],
        on_ended: Callable[[str, Outcome], None],
        on_suspicion: Callable[[], None],
        on_phase: Callable[[str, Phase], None],
        on_filled: Callable[[str, int], None],
    ) -> None:
        self._runner = runner
        self._journal = journal
        self._output = output
        self._clock = clock
        self._on_alive = on_alive
        self._on_ended = on_ended
        self._on_suspicion = on_suspicion
        self._on_phase = on_phase
        self._on_filled = on_filled
        self._disowned: set[str] = set()
        """Orders that are somebody else's now."""
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._silent: set[str] = set()
        """Orders whose agents have shown no sign of life yet."""
        self._reached: dict[str, Outcome] = {}
        """What became of what was being ended."""
        self._notes: dict[str, RunNote] = {}
        self._offsets: dict[str, int] = {}

    def __contains__(self, entry: str) -> bool:
        return entry in self._scopes

    def start(self, group: TaskGroup, entry: str, order: Assign) -> None:
        """Wake the agent for this order."""
        self._begin(group, entry, partial(self._attempt, RunNote(entry, order, self._clock())))

    def adopt(self, group: TaskGroup, note: RunNote) -> None:
        """Go on with what an earlier start of this sidecar began."""
        self._begin(group, note.entry, partial(self._go_on, note), begun=True)

    def end(self, entry: str) -> None:
        """End what runs for this order, with all of its processes."""
        self._scopes[entry].cancel()

    def disown(self, entry: str) -> None:
        """What runs for this order is to publish nothing any more."""
        self._disowned.add(entry)

    def offsets(self) -> dict[str, int]:
        """How much was passed on of the output of what runs, where that is more than was noted."""
        return dict(self._offsets)

    def note_offsets(self, offsets: dict[str, int]) -> None:
        """Remember that so much of the output is known to Redis, so that a later start goes on from there."""
        for entry, offset in offsets.items():
            note = self._notes.get(entry)
            if note is not None:
                try:
                    self._note(replace(note, offset=offset))
                except OSError:
                    return  # then some of the output will be repeated
                if self._offsets.get(entry) == offset:
                    del self._offsets[entry]

    def _begin(
        self, group: TaskGroup, entry: str, work: Callable[[], Awaitable[Outcome]], *, begun: bool = False
    ) -> None:
        scope = self._scopes[entry] = anyio.CancelScope()
        group.start_soon(self._run, entry, work, scope, begun)

    async def _run(
        self, entry: str, work: Callable[[], Awaitable[Outcome]], scope: anyio.CancelScope, begun: bool
    ) -> None:
        outcome: Outcome | None = None
        self._silent.add(entry)
        try:
            # What an earlier start began has to be ended, also if it is to be ended from the first moment on.
            if begun or not scope.cancel_called:
                with scope:
                    outcome = await work()
        except Exception as error:
            log.exception("the attempt of order %s failed in a way that no runner foresees", entry)
            outcome = not_woken(f"{type(error).__name__}: {error}")
        reached = self._reached.pop(entry, None)
        if outcome is None:
            outcome = reached or Outcome("failed", "lost", "it was ended before it had an outcome")
        del self._scopes[entry]
        self._disowned.discard(entry)
        self._notes.pop(entry, None)
        self._offsets.pop(entry, None)
        if outcome.reason in SUSPICIOUS or entry in self._silent:
            self._on_suspicion()
        self._silent.discard(entry)
        self._on_ended(entry, outcome)

    async def _attempt(self, note: RunNote) -> Outcome:
        try:
            job = self._job(note)
        except (ValueError, RecursionError) as error:
            return not_woken(f"this sidecar cannot read the task: {error}")
        if not self._runner.in_process:
            try:
                self._note(note)
            except OSError as error:
                return unfit(f"the sidecar's disk refuses: {error}")
        return await self._runner.run(job)

    async def _go_on(self, note: RunNote) -> Outcome:
        self._notes[note.entry] = note
        try:
            job = self._job(note)
        except (ValueError, RecursionError) as error:
            with anyio.CancelScope(shield=True):
                await self._runner.end_orphan(note.order, note.process)
            return not_woken(f"this sidecar cannot read the task: {error}")
        return await self._runner.adopt(job, note.process)

    def _job(self, note: RunNote) -> Job:
        entry, order = note.entry, note.order

        def spawned(process: ProcessIdentity) -> None:
            try:
                self._note(replace(self._notes[entry], process=process))
            except OSError as error:
                # It began, so it goes on: should this sidecar be killed, the process is found by its mark.
                log.warning("the process of order %s cannot be noted: %s", entry, error)
                self._on_suspicion()

        def followed(offset: int) -> None:
            self._offsets[entry] = offset

        def entered(phase: Phase) -> None:
            note = self._notes[entry].in_phase(phase, self._clock())
            if note != self._notes[entry]:
                with suppress(OSError):  # then a later start takes the time that stood still for its agent's
                    self._note(note)
            self._on_phase(entry, phase)

        def alive() -> None:
            self._silent.discard(entry)
            self._on_alive(entry)

        spec = read_spec(order.spec)
        if spec.id != order.task or not names_attempt(order):
            raise ValueError("its id or its token is malformed")
        return Job(
            entry,
            spec,
            order.attempt,
            order.token,
            alive=alive,
            spawned=spawned,
            printed=partial(self._output.add, order.task, order.attempt),
            followed=followed,
            reached=partial(self._reached.__setitem__, entry),
            offset=note.offset,
            order=order,
            entered=entered,
            filled=partial(self._on_filled, entry),
            ours=lambda: entry not in self._disowned,
        )

    def _note(self, note: RunNote) -> None:
        """Raises OSError where the disk refuses; what is known in memory is right all the same."""
        self._notes[note.entry] = note
        self._journal.started(note)
