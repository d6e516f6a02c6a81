"""Performs what a sidecar's machine decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyio.abc import TaskGroup

from agentcom.model.codec import encode
from agentcom.sidecar.effects import Adopt, Disown, Effect, End, Forget, Send, Start
from agentcom.sidecar.journal import Journal, RunNote
from agentcom.sidecar.outbox import Outbox
from agentcom.sidecar.runs import Runs
from agentcom.sidecar.ticks import Ticks


class Performer:
    """The hands of the machine.

    Args:
        runs: where attempts are under way.
        outbox: sends reports and settles orders.
        journal: forgets what is another's now.
        ticks: are wanted while something is held.
    """

    def __init__(self, runs: Runs, outbox: Outbox, journal: Journal, ticks: Ticks) -> None:
        self._runs = runs
        self._outbox = outbox
        self._journal = journal
        self._ticks = ticks
        self._group: TaskGroup | None = None
        self._notes: Mapping[str, RunNote] = {}

    def begin(self, group: TaskGroup, notes: Mapping[str, RunNote]) -> None:
        """From now on attempts can be started, in this group, and those of these notes adopted, by order entry."""
        self._group = group
        self._notes = notes

    def perform(self, effects: Sequence[Effect]) -> None:
        """Perform these, in this order."""
        for effect in effects:
            match effect:
                case Start() | Adopt():
                    self._start(effect)
                case End():
                    self._runs.end(effect.entry)
                case Disown():
                    self._runs.disown(effect.entry)
                case Send():
                    self._outbox.put([encode(report) for report in effect.reports], effect.settled)
                case Forget():
                    self._journal.ended(effect.entry)

    def _start(self, effect: Start | Adopt) -> None:
        assert self._group is not None, "orders are read only when attempts can be started"
        if isinstance(effect, Start):
            self._runs.start(self._group, effect.entry, effect.order)
        else:
            self._runs.adopt(self._group, self._notes[effect.entry])
        self._ticks.want()
