"""Time passes for what a sidecar holds: acceptances become due, and time limits are reached."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from agentcom.sidecar.effects import Effect
from agentcom.sidecar.machine import Machine

TICK_MIN_S, TICK_MAX_S = 0.05, 1.0


class Ticks:
    """Tells the machine what time it is, as long as it holds anything.

    Args:
        machine: says when something is due.
        clock: Unix time in ms.
        accept_report_s: how long an agent lives before it is reported accepted.
        perform: performs what is due.
    """

    def __init__(
        self,
        machine: Machine,
        clock: Callable[[], int],
        accept_report_s: float,
        perform: Callable[[list[Effect]], None],
    ) -> None:
        self._machine = machine
        self._clock = clock
        # A sign of life wakes nobody, as that would cost each short task a turn: it is noticed with the next tick.
        self._longest_s = min(TICK_MAX_S, max(TICK_MIN_S, accept_report_s))
        self._perform = perform
        self._wanted = anyio.Event()

    def want(self) -> None:
        """There is something to wait for from now on."""
        self._wanted.set()

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            due_at = self._machine.wake_at()
            if due_at is None and not self._machine.held:
                await self._wanted.wait()
                self._wanted = anyio.Event()
                continue
            wait_s = self._longest_s if due_at is None else min(self._longest_s, max(0, due_at - self._clock()) / 1000)
            await anyio.sleep(wait_s)
            self._perform(self._machine.tick(self._clock()))
