"""A sidecar's signs of life, and what goes with them: it renews what really runs, and notes how far it came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from agentcom.broker.connection import TROUBLE, is_away
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.sidecar.effects import Effect
from agentcom.sidecar.machine import Machine
from agentcom.sidecar.outbox import Outbox
from agentcom.sidecar.output import OutputSender
from agentcom.sidecar.runs import Runs
from agentcom.sidecar.selftest import SelfTests
from agentcom.sidecar.trouble import Complaint, Complaints


class Beats:
    """Beats every `interval_s`, and at once when that is wanted.

    Args:
        store: where beats go, and leases are renewed.
        machine: says what runs.
        runs: say how much of their output was passed on.
        outbox: says how much is unsent.
        output: sends what agents printed.
        tests: whose last one every beat tells.
        complaints: are told of trouble.
        clock: Unix time in ms.
        interval_s: from one beat to the next.
        perform: performs what the machine decides about lost leases.
        on_newer: called with the incarnation of a newer sidecar of this name.
    """

    def __init__(
        self,
        store: SidecarStore,
        machine: Machine,
        runs: Runs,
        outbox: Outbox,
        output: OutputSender,
        tests: SelfTests,
        complaints: Complaints,
        clock: Callable[[], int],
        interval_s: float,
        perform: Callable[[list[Effect]], None],
        on_newer: Callable[[str], None],
    ) -> None:
        self._store = store
        self._machine = machine
        self._runs = runs
        self._outbox = outbox
        self._output = output
        self._tests = tests
        self._of_leases = complaints.of("leases")
        self._of_beats = complaints.of("beats")
        self._clock = clock
        self._interval_s = interval_s
        self._perform = perform
        self._on_newer = on_newer
        self._wanted = anyio.Event()
        self.made = 0

    async def run(self) -> None:
        """Beat for ever. A beat that cannot be sent is not made up for: the next one says all."""
        while True:
            refusals = [await _tried(self.renew, self._of_leases), await _tried(self.send, self._of_beats)]
            self._tests.redis_refuses(next((why for why in refusals if why), ""))
            await self._note_offsets()
            self.made += 1
            with anyio.move_on_after(self._interval_s):
                await self._wanted.wait()
            self._wanted = anyio.Event()

    def want(self) -> None:
        """There is something to say at once."""
        self._wanted.set()

    async def renew(self) -> None:
        """Renew the leases of what runs, and end what is not this sidecar's any more."""
        lost = await self._store.renew(self._machine.leased)
        self._perform(self._machine.leases_lost(lost))

    async def send(self) -> None:
        """Say what is going on here, unless a newer sidecar of this name says so already."""
        beat = self._machine.beat(self._clock(), self._outbox.unsent, self._tests.last)
        newer = await self._store.beat(beat, self._interval_s)
        if newer:
            self._on_newer(newer)

    async def leave(self) -> None:
        """The last one: it is not to outlive this sidecar."""
        beat = self._machine.beat(self._clock(), self._outbox.unsent, self._tests.last)
        await self._store.leave(beat, self._interval_s)

    async def _note_offsets(self) -> None:
        """Only what Redis has is noted as passed on: after a crash some output may come twice, and none is missing."""
        offsets = self._runs.offsets()
        if offsets and await self._output.flush():
            self._runs.note_offsets(offsets)


async def _tried(duty: Callable[[], Awaitable[None]], complaint: Complaint) -> str:
    """What Redis has against it; that it is away for the moment is nothing that a self-test could tell it."""
    try:
        await duty()
    except TROUBLE as error:
        complaint.say(error)
        return "" if is_away(error) else f"Redis refuses: {error}"
    complaint.well()
    return ""
