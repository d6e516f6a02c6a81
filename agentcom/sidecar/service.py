"""The sidecar as a program: it performs what `Machine` decides, with a runner, a local journal and Redis.

Its loops share one machine: reading orders, sending the outbox, ticking, beating, testing itself, passing output on,
keeping house. None of them stops what runs because Redis is in trouble, and no attempt can stop the others.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import TaskGroup

from agentcom.broker.connection import BLOCK_MAX_S, TROUBLE, Connections, backoff_s, named
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.broker.streams import Entry
from agentcom.clock import steady_clock
from agentcom.errors import ConfigurationError, CredentialsRefused
from agentcom.model.agent import Card
from agentcom.model.codec import decode_order, encode
from agentcom.model.messages import Goodbye, Hello, SelfTest
from agentcom.model.task import Outcome
from agentcom.settings import Policy
from agentcom.sidecar.beats import Beats
from agentcom.sidecar.card import beat_interval_s
from agentcom.sidecar.checks import Check, machine_checks
from agentcom.sidecar.effects import Effect, Phase, Send
from agentcom.sidecar.housekeeping import keep_house, noted_tasks
from agentcom.sidecar.incarnation import next_incarnation, superseded
from agentcom.sidecar.journal import Journal
from agentcom.sidecar.machine import Machine
from agentcom.sidecar.outbox import Outbox
from agentcom.sidecar.output import OutputBuffer, OutputSender
from agentcom.sidecar.performing import Performer
from agentcom.sidecar.recovery import Recovered, recover
from agentcom.sidecar.runners.base import Runner
from agentcom.sidecar.runs import Runs
from agentcom.sidecar.selftest import SelfTests
from agentcom.sidecar.ticks import Ticks
from agentcom.sidecar.trouble import Complaints

log = logging.getLogger("agentcom.sidecar")

GOODBYE_S = 5.0
"""How long a sidecar that stops tries to say its last words to Redis; the next start says what stays unsaid."""

PULSE_S = 1.0
"""How often a sidecar that comes to its end tells the watchdog that it lives."""

SPARE_READ = 8
"""Orders read beyond the free slots: to cancel something is never kept waiting by full slots."""


class SidecarService:
    """One agent's sidecar.

    Args:
        connections: to Redis.
        pool: name of the pool.
        name: of the agent.
        card: what it says of itself; its `beat_s` is set here.
        runner: wakes the agent.
        folder: its own folder on this machine.
        policy: the pool's.
        clock: Unix time in ms, that never goes back.
        random_hex: a text of twice so many random hexadecimal digits.
        journal: what it must not forget; on disk in `folder` if none is given.
        pulse: called at every turn of the loop that reads orders, also while Redis is away, and once a second
            while this comes to its end, for a watchdog to see.
        checks: what its self-tests look at besides the runner, by name; its own folder if none are given.
    """

    def __init__(
        self,
        connections: Connections,
        pool: str,
        name: str,
        card: Card,
        runner: Runner,
        folder: Path,
        policy: Policy,
        *,
        clock: Callable[[], int] | None = None,
        random_hex: Callable[[int], str] = secrets.token_hex,
        journal: Journal | None = None,
        pulse: Callable[[], None] = lambda: None,
        checks: Mapping[str, Check] | None = None,
    ) -> None:
        self._pulse = pulse
        self._clock = clock or steady_clock()
        self._connections = connections
        self._folder = folder
        self._name = name
        self._journal = journal if journal is not None else Journal(folder / "journal")
        self._incarnation = next_incarnation(self._journal.starts(), self._clock(), os.getpid(), random_hex)
        self._journal.began(self._incarnation)
        self._card = msgspec.structs.replace(card, beat_s=beat_interval_s(name, policy))
        self._runner = runner
        self._policy = policy
        self._store = SidecarStore(connections, pool, name, self._incarnation, policy)
        self._machine = Machine(name, self._incarnation, card.slots, int(policy.accept_report_s * 1000))
        complaints = Complaints()
        self._complaint = complaints.of("orders")
        checks = {**(machine_checks(folder, policy) if checks is None else checks), "the agent": self._test_agent}
        self._tests = SelfTests(checks, policy, self._clock, self._judge, self._journal.damage)
        self._outbox = Outbox(self._store, self._journal, complaints.of("reports"), self._tests.suspect)
        self._output = OutputBuffer(policy)
        self._output_sender = OutputSender(self._output, self._store, self._clock, complaints.of("output"))
        self._runs = Runs(
            runner,
            self._journal,
            self._output,
            self._clock,
            self._alive,
            self._ended,
            self._tests.suspect,
            self._entered,
            self._machine.filled,
        )
        self._beats = Beats(
            self._store,
            self._machine,
            self._runs,
            self._outbox,
            self._output_sender,
            self._tests,
            complaints,
            self._clock,
            self._card.beat_s,
            self._perform,
            self._supersede,
        )
        self._ticks = Ticks(self._machine, self._clock, policy.accept_report_s, self._perform)
        self._performer = Performer(self._runs, self._outbox, self._journal, self._ticks)
        self._recovered = Recovered([], {})
        self._group: TaskGroup
        self._stopping = anyio.Event()
        self._all_ended = anyio.Event()
        self._connected = False
        self._looked_at_beat = 0
        self._said_hello = False
        self._refused: ConfigurationError | None = None

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is called, then say goodbye, and bring what runs to an end.

        Raises:
            CredentialsRefused: Redis does not accept this user; retrying cannot help. What ran was brought to an end.
            ConfigurationError: a newer sidecar of this name has taken over.
        """
        if await self._begin():
            try:
                await self._work(on_ready)
            except anyio.get_cancelled_exc_class():
                await self._break_off()
                raise
        if self._refused is not None:
            raise self._refused

    async def _work(self, on_ready: Callable[[], None]) -> None:
        async with anyio.create_task_group() as loops:
            for part in (self._outbox, self._beats, self._tests, self._output_sender, self._ticks):
                loops.start_soon(part.run)
            kept_s = self._policy.retention_s
            loops.start_soon(keep_house, self._folder, kept_s, self._clock, self._tasks, self._runner.tidy)
            async with anyio.create_task_group() as self._group:
                self._performer.begin(self._group, self._recovered.adopted)
                self._perform(self._recovered.effects)
                self._group.start_soon(self._serve, on_ready)
                await self._stopping.wait()
                loops.start_soon(self._pulse_on)
                await self._drain()
                self._group.cancel_scope.cancel()
            if not isinstance(self._refused, CredentialsRefused):
                await self._leave()
            loops.cancel_scope.cancel()
        if not isinstance(self._refused, CredentialsRefused):
            await self._say_last_words()

    async def _pulse_on(self) -> None:
        """The loop that reads may have ended, when Redis refuses this user or a newer sidecar has taken over."""
        while True:
            self._pulse()
            await anyio.sleep(PULSE_S)

    def stop(self) -> None:
        """Take no more work and come to an end in good order."""
        self._stopping.set()

    async def _begin(self) -> bool:
        """Recover, as soon as Redis answers. False: it was stopped before."""
        attempt = 0
        while not self._stopping.is_set():
            try:
                await self._recover()
            except TROUBLE as error:
                if self._is_refused(error):
                    return False
                with anyio.move_on_after(backoff_s(attempt)):
                    await self._stopping.wait()
                attempt += 1
            else:
                return self._refused is None
        return False

    async def _recover(self) -> None:
        await self._store.open()
        await self._beats.send()
        if self._refused is not None:
            await self._give_up()
            return
        self._recovered = await recover(self._store, self._journal, self._machine, self._runner, self._clock)
        for note in self._journal.unsent():
            self._outbox.resume(note)
        for path in self._journal.set_aside:
            log.warning("a file of the journal could not be read and was set aside: %s", path)

    async def _give_up(self) -> None:
        """A newer sidecar works under this name: what an earlier start left running is ended, and what it left unsaid
        is said as far as possible."""
        for run in self._journal.runs():
            await self._runner.end_orphan(run.order, run.process)
            self._journal.ended(run.entry)
        for note in self._journal.unsent():
            await self._store.finish(note.settled, [bytes(report) for report in note.reports])
            self._journal.sent(note)

    async def _serve(self, on_ready: Callable[[], None]) -> None:
        """Say hello when it is known whether the agent can work here, and take orders."""
        await self._tests.first_made.wait()
        self._say_hello()
        self._connected = True
        on_ready()
        await self._read()

    async def _drain(self) -> None:
        """Say goodbye, let what runs end within `drain_s`, then hand it back; what arrives meanwhile goes back at once.

        Goodbye comes first: else the scheduler gives this agent the very work that it has just handed back. Who was
        superseded has no time: its work is another's already.
        """
        self._machine.drain()
        if self._said_hello:
            self._say_goodbye()
        self._note_if_all_ended()
        with anyio.move_on_after(0 if self._machine.superseded_by else self._policy.drain_s):
            await self._all_ended.wait()
        self._perform(self._machine.give_back())
        await self._all_ended.wait()

    async def _break_off(self) -> None:
        """Ended at once, as by a second signal: at least no more work is to come here."""
        with anyio.move_on_after(GOODBYE_S, shield=True), suppress(*TROUBLE):
            await self._store.finish([], [encode(Goodbye(agent=self._name, incarnation=self._incarnation))])
            await self._beats.leave()

    async def _leave(self) -> None:
        """Everything that is still to be said, as far as Redis takes it in time; the rest waits on the disk."""
        if self._refused is None:
            with anyio.move_on_after(GOODBYE_S):
                await self._hand_back_unread()
        with anyio.move_on_after(GOODBYE_S):
            await self._outbox.empty()
            await self._output_sender.flush()

    async def _say_last_words(self) -> None:
        """The last beat, when no other can follow it."""
        with anyio.move_on_after(GOODBYE_S), suppress(*TROUBLE):
            await self._beats.leave()

    async def _hand_back_unread(self) -> None:
        """Orders that were on their way while the reading was ended."""
        try:
            while unread := await self._store.read(self._card.slots + SPARE_READ, block_ms=0):
                self._take(unread)
            await self._look_for_unknown()
        except TROUBLE as error:
            self._complaint.say(error)

    # --------------------------------------------------------------- orders

    async def _read(self) -> None:
        """Take orders. Only this loop does, so that no order can be found pending while its delivery is on the way."""
        attempt = 0
        while self._refused is None:
            self._pulse()
            try:
                if not self._connected:
                    await self._reconnect()
                elif self._looked_at_beat != self._beats.made:
                    await self._look_for_unknown()
                count = max(0, self._machine.free_slots) + SPARE_READ
                self._take(await self._store.read(count, int(BLOCK_MAX_S * 1000)))
                # What was started begins before the next read is sent: that is what its submitter waits for.
                await anyio.lowlevel.checkpoint()
                attempt = 0
            except TROUBLE as error:
                self._connected = False
                if self._is_refused(error):
                    self.stop()
                else:
                    await anyio.sleep(backoff_s(attempt))
                    attempt += 1

    def _take(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._perform(self._machine.ordered(entry.id, decode_order(entry.body), self._clock()))
        if self._machine.superseded_by:
            self._supersede(self._machine.superseded_by)

    def _supersede(self, newer: str) -> None:
        """A newer sidecar of this name works: one of them has to go, and it is this one."""
        self._machine.superseded_by = newer
        if self._refused is None:
            self._refused = superseded(self._name, newer, self._card.beat_s * self._policy.stale_beats)
            log.error("%s", self._refused)
            self.stop()

    async def _reconnect(self) -> None:
        """After Redis was away: leases are old, an order may be pending of whose delivery the reply was lost, and a
        fail-over may have given back to an earlier start what this one had taken over."""
        await self._store.open()
        await self._store.take_over()
        await self._beats.renew()
        await self._look_for_unknown()
        # Redis may have lost what was said last. A hello while stopping would bring work that is only handed back.
        if self._machine.draining:
            self._say_goodbye()
        else:
            self._say_hello()
        self._connected = True
        self._complaint.well()

    async def _look_for_unknown(self) -> None:
        self._looked_at_beat = self._beats.made
        unknown = [entry for entry in await self._store.pending() if not self._knows(entry)]
        self._take(await self._store.entries(unknown))

    def _knows(self, entry: str) -> bool:
        return entry in self._runs or entry in self._outbox.settling or entry in self._machine.leased

    # -------------------------------------------------------------- effects

    def _perform(self, effects: list[Effect]) -> None:
        self._performer.perform(effects)

    def _say_goodbye(self) -> None:
        self._perform([Send([Goodbye(agent=self._name, incarnation=self._incarnation)])])

    def _alive(self, entry: str) -> None:
        self._machine.alive(entry, self._clock())

    def _entered(self, entry: str, phase: Phase) -> None:
        if self._machine.entered(entry, phase, self._clock()):
            self._beats.want()

    def _ended(self, entry: str, outcome: Outcome) -> None:
        self._perform(self._machine.ended(entry, outcome))
        self._note_if_all_ended()

    def _tasks(self) -> Sequence[str]:
        return [*self._machine.tasks, *noted_tasks(self._journal)]

    def _note_if_all_ended(self) -> None:
        if self._machine.draining and not self._machine.held:
            self._all_ended.set()

    # --------------------------------------------------------------- saying

    def _say_hello(self) -> None:
        hello = Hello(agent=self._name, incarnation=self._incarnation, card=self._card, test=self._tests.last)
        self._perform([Send([hello])])
        self._said_hello = True
        self._beats.want()

    async def _test_agent(self) -> str:
        why = await self._runner.self_test()
        return f"the agent cannot be woken: {why}" if why else ""

    def _judge(self, test: SelfTest, changed: bool) -> None:
        """A self-test was made: work that comes from now on is taken or handed back by what it found."""
        self._machine.unfit = "; ".join(test.problems)
        if changed:
            self._beats.want()

    def _is_refused(self, error: Exception) -> bool:
        """Whether Redis refuses this user; any other trouble is said, and will be over some day."""
        problem = named(error, self._connections.url)
        if isinstance(problem, CredentialsRefused):
            self._refused = problem
            return True
        self._complaint.say(error)
        return False
