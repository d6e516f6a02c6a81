"""The sidecar as a program: it performs what `Machine` decides, with a runner, a local journal and Redis.

Its loops share one machine: reading orders, sending the outbox, ticking, beating, passing output on, keeping house.
None of them stops what runs because Redis is in trouble, and no attempt can stop the others.
"""

from __future__ import annotations

import logging
import os
import socket
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup

from agentcom.broker.connection import BLOCK_MAX_S, TROUBLE, Connections, backoff_s, named
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.broker.streams import Entry
from agentcom.clock import steady_clock
from agentcom.errors import ConfigurationError, CredentialsRefused
from agentcom.ids import is_id
from agentcom.model.agent import Card
from agentcom.model.codec import decode_order, encode, read_spec
from agentcom.model.messages import Assign, Goodbye, Hello
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity
from agentcom.settings import Policy
from agentcom.sidecar.housekeeping import remove_old
from agentcom.sidecar.journal import Journal, RunNote
from agentcom.sidecar.machine import Effect, End, Forget, Machine, Send, Start
from agentcom.sidecar.outbox import Outbox
from agentcom.sidecar.output import OutputBuffer, OutputSender
from agentcom.sidecar.recovery import recover
from agentcom.sidecar.runners.base import DETAIL_MAX, Job, Runner, bounded
from agentcom.sidecar.trouble import Complaints

log = logging.getLogger("agentcom.sidecar")

TICK_MIN_S, TICK_MAX_S = 0.05, 1.0
GOODBYE_S = 5.0
"""How long a sidecar that stops tries to say its last words to Redis; the next start says what stays unsaid."""

HOUSEKEEPING_S = 3_600.0
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
    """

    def __init__(
        self, connections: Connections, pool: str, name: str, card: Card, runner: Runner, folder: Path, policy: Policy
    ) -> None:
        self._clock = steady_clock()
        self._connections = connections
        self._folder = folder
        self._name = name
        self._incarnation = f"sc-{self._clock():013d}-{os.getpid()}-{os.urandom(2).hex()}"
        self._card = msgspec.structs.replace(card, beat_s=_beat_interval_s(name, policy))
        self._runner = runner
        self._policy = policy
        self._store = SidecarStore(connections, pool, name, self._incarnation, policy)
        self._journal = Journal(folder / "journal")
        self._journal.began(self._incarnation)
        self._complaints = Complaints()
        self._outbox = Outbox(self._store, self._journal, self._complaints.say)
        self._output = OutputBuffer(policy)
        self._output_sender = OutputSender(self._output, self._store, self._clock, self._complaints.say)
        self._machine = Machine(name, self._incarnation, card.slots, int(policy.accept_report_s * 1000))
        self._runs: dict[str, anyio.CancelScope] = {}
        self._group: TaskGroup
        self._tick_wanted = anyio.Event()
        self._stopping = anyio.Event()
        self._all_ended = anyio.Event()
        self._connected = False
        self._look_wanted = False
        self._refused: ConfigurationError | None = None

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is called, then say goodbye, and bring what runs to an end.

        Raises:
            CredentialsRefused: Redis does not accept this user; retrying cannot help. What ran was brought to an end.
            ConfigurationError: a newer sidecar of this name has taken over.
        """
        if await self._begin():
            on_ready()
            try:
                await self._work()
            except anyio.get_cancelled_exc_class():
                await self._break_off()
                raise
        if self._refused is not None:
            raise self._refused

    async def _work(self) -> None:
        async with anyio.create_task_group() as loops:
            for loop in (self._outbox.run, self._beat, self._tick, self._output_sender.run, self._keep_house):
                loops.start_soon(loop)
            async with anyio.create_task_group() as self._group:
                self._group.start_soon(self._read)
                await self._stopping.wait()
                await self._drain()
                self._group.cancel_scope.cancel()
            if self._refused is None:
                await self._leave()
            loops.cancel_scope.cancel()

    def stop(self) -> None:
        """Take no more work and come to an end in good order."""
        self._stopping.set()

    # ------------------------------------------------------- start and stop

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
                return True
        return False

    async def _recover(self) -> None:
        await self._store.open()
        effects = await recover(self._store, self._journal, self._machine, self._runner, self._clock)
        for note in self._journal.unsent():
            self._outbox.resume(note)
        for path in self._journal.set_aside:
            log.warning("a file of the journal could not be read and was set aside: %s", path)
        self._perform(effects)
        self._perform([Send([self._hello()])])
        self._connected = True

    async def _drain(self) -> None:
        """Say goodbye, let what runs end within `drain_s`, then hand it back; what arrives meanwhile goes back at once.

        Goodbye comes first: else the scheduler gives this agent the very work that it has just handed back.
        """
        self._machine.drain()
        self._perform([Send([Goodbye(agent=self._name, incarnation=self._incarnation)])])
        self._note_if_all_ended()
        with anyio.move_on_after(self._policy.drain_s):
            await self._all_ended.wait()
        self._perform(self._machine.give_back())
        await self._all_ended.wait()

    async def _break_off(self) -> None:
        """Ended at once, as by a second signal: at least no more work is to come here."""
        goodbye = encode(Goodbye(agent=self._name, incarnation=self._incarnation))
        with anyio.move_on_after(GOODBYE_S, shield=True), suppress(*TROUBLE):
            await self._store.finish([], [goodbye])

    async def _leave(self) -> None:
        """Everything that is still to be said, as far as Redis takes it in time; the rest waits on the disk."""
        with anyio.move_on_after(GOODBYE_S):
            await self._hand_back_unread()
        with anyio.move_on_after(GOODBYE_S):
            await self._outbox.empty()
            await self._output_sender.flush()

    async def _hand_back_unread(self) -> None:
        """Orders that were on their way while the reading was ended."""
        try:
            while unread := await self._store.read(self._card.slots + SPARE_READ, block_ms=0):
                self._take(unread)
            await self._look_for_unknown()
        except TROUBLE as error:
            self._complaints.say(error)

    # --------------------------------------------------------------- orders

    async def _read(self) -> None:
        """Take orders. Only this loop does, so that no order can be found pending while its delivery is on the way."""
        attempt = 0
        while self._refused is None:
            try:
                if not self._connected:
                    await self._reconnect()
                elif self._look_wanted:
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
        if self._machine.superseded_by and self._refused is None:
            newer = self._machine.superseded_by
            self._refused = ConfigurationError(
                f"a newer sidecar of agent {self._name!r} has taken over ({newer}), so this one stops",
                "Give each sidecar a name of its own",
            )
            log.error("%s", self._refused)
            self.stop()

    async def _reconnect(self) -> None:
        """After Redis was away: leases are old, and an order may be pending of whose delivery the reply was lost."""
        await self._store.open()
        await self._renew()
        await self._look_for_unknown()
        self._perform([Send([self._hello()])])
        self._connected = True
        self._complaints.over()

    async def _look_for_unknown(self) -> None:
        self._look_wanted = False
        unknown = [entry for entry in await self._store.pending() if not self._knows(entry)]
        self._take(await self._store.entries(unknown))

    def _knows(self, entry: str) -> bool:
        return entry in self._runs or entry in self._outbox.settling

    # -------------------------------------------------------------- effects

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    self._start(effect.entry, effect.order)
                case End():
                    self._runs[effect.entry].cancel()
                case Send():
                    self._outbox.put([encode(report) for report in effect.reports], effect.settled)
                case Forget():
                    self._journal.ended(effect.entry)

    def _start(self, entry: str, order: Assign) -> None:
        scope = self._runs[entry] = anyio.CancelScope()
        self._group.start_soon(self._run, entry, order, scope)
        self._tick_wanted.set()

    async def _run(self, entry: str, order: Assign, scope: anyio.CancelScope) -> None:
        outcome = Outcome("failed", "lost", "it was ended before it had an outcome")
        try:
            with scope:
                outcome = await self._attempt(entry, order, scope)
        except OSError as error:
            outcome = _not_woken(f"the sidecar's disk refuses: {error}")
        except Exception as error:
            log.exception("the attempt of order %s failed in a way that no runner foresees", entry)
            outcome = _not_woken(f"{type(error).__name__}: {error}")
        del self._runs[entry]
        self._perform(self._machine.ended(entry, outcome))
        self._note_if_all_ended()

    async def _attempt(self, entry: str, order: Assign, scope: anyio.CancelScope) -> Outcome:
        if scope.cancel_called:
            return Outcome("failed", "lost", "it was ended before it was started")
        try:
            job = self._job(entry, order)
        except (ValueError, RecursionError) as error:
            return _not_woken(f"this sidecar cannot read the task: {error}")
        if not self._runner.in_process:
            self._journal.started(RunNote(entry, order, self._clock()))
        return await self._runner.run(job)

    def _job(self, entry: str, order: Assign) -> Job:
        def alive() -> None:
            self._machine.alive(entry, self._clock())

        def spawned(process: ProcessIdentity) -> None:
            self._journal.started(RunNote(entry, order, self._clock(), process))

        def printed(body: bytes) -> None:
            self._output.add(order.task, order.attempt, body)

        spec = read_spec(order.spec)
        if not is_id(order.task) or spec.id != order.task or not order.token.replace(".", "").isalnum():
            raise ValueError("its id or its token is malformed")
        return Job(entry, spec, order.attempt, order.token, alive, spawned, printed)

    def _note_if_all_ended(self) -> None:
        if self._machine.draining and not self._machine.held:
            self._all_ended.set()

    # ---------------------------------------------------------------- loops

    async def _tick(self) -> None:
        """Report acceptances when they are due, and end what runs over its time limit."""
        # A sign of life wakes nobody, as that would cost each short task a turn: it is noticed with the next tick.
        longest_s = min(TICK_MAX_S, max(TICK_MIN_S, self._policy.accept_report_s))
        while True:
            due_at = self._machine.wake_at()
            if due_at is None and not self._machine.held:
                await self._tick_wanted.wait()
                self._tick_wanted = anyio.Event()
                continue
            wait_s = longest_s if due_at is None else min(longest_s, max(0, due_at - self._clock()) / 1000)
            await anyio.sleep(wait_s)
            self._perform(self._machine.tick(self._clock()))

    async def _beat(self) -> None:
        """Renew what really runs and say so. A beat that cannot be sent is not made up for: the next one says all."""
        while True:
            for duty in (self._renew, self._send_beat):
                try:
                    await duty()
                except TROUBLE as error:
                    self._complaints.say(error)
            self._look_wanted = True
            await anyio.sleep(self._card.beat_s)

    async def _renew(self) -> None:
        lost = await self._store.renew(self._machine.held)
        self._perform(self._machine.leases_lost(lost))

    async def _send_beat(self) -> None:
        await self._store.beat(self._machine.beat(self._clock(), self._outbox.unsent), self._card.beat_s)

    async def _keep_house(self) -> None:
        while True:
            await anyio.sleep(HOUSEKEEPING_S)
            keep = frozenset(self._machine.tasks)
            try:
                await anyio.to_thread.run_sync(
                    remove_old, self._folder, self._clock() / 1000, self._policy.retention_s, keep
                )
            except OSError as error:
                log.warning("old files in %s cannot be removed: %s", self._folder, error)

    # --------------------------------------------------------------- saying

    def _hello(self) -> Hello:
        return Hello(agent=self._name, incarnation=self._incarnation, card=self._card)

    def _is_refused(self, error: Exception) -> bool:
        """Whether Redis refuses this user; any other trouble is said, and will be over some day."""
        problem = named(error, self._connections.url)
        if isinstance(problem, CredentialsRefused):
            self._refused = problem
            return True
        self._complaints.say(error)
        return False


def _not_woken(why: str) -> Outcome:
    return Outcome("failed", "wake_failed", bounded(why, DETAIL_MAX))


def _beat_interval_s(name: str, policy: Policy) -> float:
    """How often this agent beats: the policy's interval plus an offset from its name, so that beats spread out."""
    return policy.beat_s + policy.beat_offset_s * (zlib.crc32(name.encode()) % 1_000) / 1_000


def card_of(
    attributes: dict[str, str | int | float | bool],
    *,
    slots: int,
    accepts: str,
    context_tokens: int,
    runner: str,
    version: str,
) -> Card:
    """The card of an agent on this machine."""
    return Card(
        attributes=attributes,
        slots=slots,
        accepts=accepts,
        context_tokens=context_tokens,
        runner=runner,
        host=socket.gethostname(),
        version=version,
    )
