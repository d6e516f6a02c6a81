"""The scheduler as a program: it stands by until it leads, loads the pool, then reads, applies, commits, for ever.

Every decision is the core's. This shell only carries: entries to events, commits to Redis, and a refused commit back
to the beginning, where everything is loaded again.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from agentcom.broker.commit import Fence
from agentcom.broker.connection import (
    BLOCK_MAX_S,
    TROUBLE,
    Connections,
    backoff_s,
    explained,
    is_away,
    stop_if_refused,
    until_back,
)
from agentcom.broker.scheduler_store import Head, SchedulerStore
from agentcom.broker.streams import UNREADABLE, Entry
from agentcom.capability import InvalidRequirement
from agentcom.clock import steady_clock
from agentcom.model.codec import decode_report, decode_request
from agentcom.model.commit import LAST_ID
from agentcom.model.messages import Beat, Line, Submit
from agentcom.model.task import CarriedRecord
from agentcom.scheduler.core import Core
from agentcom.scheduler.events import Beaten, Event, Malformed, Reported, Requested
from agentcom.scheduler.rhythm import RENEWALS_PER_LEASE, Appetite, Duties
from agentcom.scheduler.sweep import Sweep
from agentcom.settings import Policy

log = logging.getLogger("agentcom.scheduler")

TASKS_PER_COMMIT = 1_000
"""A commit is one Lua call during which Redis serves nobody else: bounded to some ten milliseconds."""

STANDBY_TRIES_PER_LEASE = 4
VACANT_S = 0.005
"""A lease that has just ended is not looked for before it has."""


class SchedulerService:
    """One scheduler process. Any number may run; one leads.

    Args:
        connections: to Redis.
        pool: name of the pool.
        policy: the pool's.
        clock: Unix time in ms, that never goes back.
        random_hex: a text of twice so many random hexadecimal digits.
        pulse: called at every turn of its loops, also while Redis is away: a watchdog sees by it that they turn.
    """

    def __init__(
        self,
        connections: Connections,
        pool: str,
        policy: Policy,
        *,
        clock: Callable[[], int] | None = None,
        random_hex: Callable[[int], str] = secrets.token_hex,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self._pulse = pulse
        self._store = SchedulerStore(connections, pool, policy, random_hex)
        self._policy = policy
        self._clock = clock or steady_clock()
        self._random_hex = random_hex
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{random_hex(4)}"
        self._beats: dict[str, tuple[str, int]] = {}
        self._beats_at = 0
        self._committed = ("", "")
        self._said_full = False
        self._caught_up = False
        """Whether all reports were read that were there: until then, nobody is late with what may be among them."""
        self._spoiled: dict[str, str] = {}
        self._distrust_ids = False

    async def run(self, on_lead: Callable[[], None] = lambda: None) -> None:
        """Stand by, lead, and stand by again when the leadership is lost; until cancelled.

        Whatever Redis answers but a refusal of this user is said, and followed by another try: what is wrong is for a
        person to mend, and the pool goes on when it is mended.

        Raises:
            CredentialsRefused: Redis does not accept this user; retrying cannot help.
        """
        short_terms = 0
        while True:
            self._pulse()
            began = self._clock()
            try:
                led = await self._term(on_lead)
            except TROUBLE as error:
                stop_if_refused(error)
                _say(error)
                led = True
            if not led:
                continue
            lasted_s = (self._clock() - began) / 1000
            short_terms = short_terms + 1 if lasted_s < self._policy.lease_s else 0
            await anyio.sleep(backoff_s(short_terms))

    async def _term(self, on_lead: Callable[[], None]) -> bool:
        """Lead if nobody else does, until that is over. False: another leads, and was waited for, for a while."""
        fence = await self._store.lead(self._owner)
        if fence is None:
            most_s = min(self._policy.lease_s / STANDBY_TRIES_PER_LEASE, BLOCK_MAX_S)
            await anyio.sleep(min(most_s, await self._store.vacant_in_s() + VACANT_S))
            return False
        log.info("leading, epoch %d", fence.epoch)
        try:
            await self._lead(fence, on_lead)
        finally:
            with anyio.move_on_after(1, shield=True):
                await self._resign()
        return True

    async def _lead(self, fence: Fence, on_lead: Callable[[], None]) -> None:
        """Lead until another does, or Redis is found to have lost or gained a commit."""
        duties = Duties(self._policy, self._clock())
        core, head = await self._load(fence, duties)
        sweep = Sweep(self._store, self._policy, _pass_over)
        for left in await sweep.left_over([agent.name for agent in core.agents.values() if agent.running]):
            core.apply(left, self._clock())
        on_lead()
        appetite = Appetite(self._policy.batch)
        self._caught_up = False
        while True:
            if not await self._still_leads(duties):
                return
            now = self._clock()
            # Fetched before the reports are read: what was reported before it beat is then known when it is heard.
            after_at = self._beats_at
            beats = await self._new_beats(core) if duties.beats_due(now) else []
            if self._caught_up and duties.sweep_due(now):
                for event in await sweep.look(core.silent_holders()):
                    core.apply(event, now)
            if duties.streams_due(now) and not await self._store.goes_on(head):
                log.warning("inbox or reports were made anew; loading again")
                return
            room = self._room(core)
            if not await self._commit(core, fence, head):
                return
            block_ms = 0 if beats else duties.block_ms(self._clock(), core.wake_at())
            wanted = appetite.entries
            batches = await self._store.read(head, wanted, block_ms, inbox=room)
            appetite.fed(batches)
            self._caught_up = len(batches.get(self._store.reports, ())) < wanted
            if batches and not await self._take(core, fence, head, batches):
                return
            for beat in beats:
                core.apply(Beaten(beat, after_at, self._caught_up), self._clock())

    async def _still_leads(self, duties: Duties) -> bool:
        """Renew the lease when that is due."""
        self._pulse()
        if not duties.renewal_due(self._clock()) or await self._store.renew_lead(self._owner):
            return True
        log.warning("the lease was lost to %s", await self._store.leader() or "nobody")
        return False

    async def _load(self, fence: Fence, duties: Duties) -> tuple[Core, Head]:
        """Everything that the pool has. The lease is renewed meanwhile: a large pool takes longer than it."""
        started = self._clock()
        head = await self._store.head()
        fence.seq = head.seq
        self._committed = (head.inbox_at, head.reports_at)
        self._said_full = False
        core = Core(self._policy, lambda: self._random_hex(8))
        core.load_agents(await self._store.agents(), started)
        core.load_keys(await self._store.keys())
        core.load_costs(await self._store.costs())
        core.load_signs(head.signs, head.requeued, started)
        core.load_admitted(head.admitted)
        with no_collection():
            async for records, missing in self._store.open_records():
                unfit = [task for task, record in records.items() if not _load_task(core, record, started)]
                core.drop_unreadable([*missing, *unfit], started)
                await self._still_leads(duties)
        await self._new_beats(core)
        now = self._clock()
        detail = f"{self._owner} leads with epoch {fence.epoch}, {core.open_tasks} open tasks"
        core.note(Line(now, "pool", "lead", detail=detail))
        log.info("loaded %d open tasks in %d ms", core.open_tasks, now - started)
        return core, head

    # -------------------------------------------------------------- reading

    async def _take(self, core: Core, fence: Fence, head: Head, batches: dict[str, list[Entry]]) -> bool:
        """Apply what was read, reports first, and commit in bounded steps. False: this core's knowledge is void."""
        for entry in batches.get(self._store.reports, ()):
            if await self._apply(core, "reports", entry) is None:
                return False
            head.reports_at = entry.id
        carried, began = 0, self._clock()
        for entry in batches.get(self._store.inbox, ()):
            self._pulse()
            event = await self._apply(core, "inbox", entry)
            if event is None:
                return False
            head.inbox_at = entry.id
            carried += _tasks_in(event)
            # Each entry may need a look-up: where those are slow, the lease must not run out over them.
            if carried >= TASKS_PER_COMMIT or self._clock() - began > self._policy.lease_s * 1000 / RENEWALS_PER_LEASE:
                if not await self._commit(core, fence, head):
                    return False
                if not self._room(core):
                    break
                carried, began = 0, self._clock()
        return await self._commit(core, fence, head)

    async def _apply(self, core: Core, stream: str, entry: Entry) -> Event | None:
        """Apply what an entry says. None: it brought a defect to light, and left the core half changed.

        Such an entry is refused when it is read again: one message must not stop the pool for good.
        """
        place = f"{stream} {entry.id}"
        spoiled = self._spoiled.get(place)
        event: Event
        if spoiled:
            event = Malformed(entry.id, stream, spoiled)
            core.apply(event, self._clock())
            return event
        try:
            event = await self._request_event(core, entry) if stream == "inbox" else _report_event(entry)
            core.apply(event, self._clock())
        except TROUBLE:
            raise
        except Exception as error:
            log.exception(
                "entry %s of %s cannot be applied: it is refused, and everything loaded again", entry.id, stream
            )
            self._spoiled[place] = f"the scheduler failed on it: {type(error).__name__}: {error}"[:300]
            return None
        return event

    async def _request_event(self, core: Core, entry: Entry) -> Requested | Malformed:
        request = decode_request(entry.body)
        if isinstance(request, str):
            return Malformed(entry.id, "inbox", request)
        wanted = core.lookups(request, 0 if self._distrust_ids else self._clock())
        found, unreadable = await self._store.records(wanted) if wanted else ({}, [])
        if self._distrust_ids:
            unreadable += await self._store.are_there([task for task in wanted if task not in found])
        if unreadable:
            return Malformed(entry.id, "inbox", f"the record of task {unreadable[0]} cannot be read")
        return Requested(entry.id, request, found)

    def _room(self, core: Core) -> bool:
        """Backpressure: past the bound on open work the inbox is left unread, and that is said once."""
        policy = self._policy
        full = core.open_tasks >= policy.max_open_tasks or core.spec_bytes >= policy.max_open_bytes
        if full != self._said_full:
            self._said_full = full
            detail = (
                f"{core.open_tasks} open tasks with {core.spec_bytes} bytes of text: the inbox is left unread"
                if full
                else f"{core.open_tasks} open tasks: the inbox is read again"
            )
            core.note(Line(self._clock(), "pool", "backpressure", detail=detail))
            log.warning("%s", detail)
        return not full

    # -------------------------------------------------------------- hearing

    async def _new_beats(self, core: Core) -> list[Beat]:
        """Beats that changed since the last look. Only that a beat changed counts, not the time written in it: the
        sidecar's clock is another machine's. What was there when this leader loaded may be a dead agent's."""
        self._beats_at = self._clock()
        beats = await self._store.beats(list(core.agents))
        known, self._beats = self._beats, {beat.agent: _mark(beat) for beat in beats}
        return [beat for beat in beats if known.get(beat.agent) != _mark(beat)]

    # ----------------------------------------------------------- committing

    async def _commit(self, core: Core, fence: Fence, head: Head) -> bool:
        """Write what the core wants written. False: this core's knowledge is void; everything is to be loaded again.

        A commit whose reply was lost is sent again with its id, and is then performed once.
        """
        self._pulse()
        commit = core.take(self._clock(), caught_up=self._caught_up)
        positions = (head.inbox_at, head.reports_at)
        commit.inbox_at, commit.reports_at = positions if commit.restated else self._moved(head)
        if commit.empty:
            return True
        call = self._store.encode(commit, fence)
        began = self._clock()
        reply = await until_back(lambda: self._store.commit(call), self._wait_for)
        if reply in ("done", "repeated"):
            fence.seq += 1
            head.passed()
            self._committed = (head.inbox_at, head.reports_at)
            if commit.inbox_at or commit.reports_at:
                self._spoiled.clear()
                self._distrust_ids = False
            # While Redis is away nobody can beat: to load again gives every agent a whole term of silence.
            return self._clock() - began < self._policy.beat_s * 1000
        log.warning("commit %d refused: %s; loading again", fence.seq, reply)
        self._distrust_ids = reply == "exists"
        return False

    def _wait_for(self, error: Exception) -> None:
        self._pulse()
        _say(error)

    def _moved(self, head: Head) -> tuple[str, str]:
        inbox_at, reports_at = self._committed
        return (
            head.inbox_at if head.inbox_at != inbox_at or head.inbox_at == LAST_ID else "",
            head.reports_at if head.reports_at != reports_at or head.reports_at == LAST_ID else "",
        )

    async def _resign(self) -> None:
        try:
            await self._store.resign(self._owner)
        except Exception as error:
            log.debug("could not resign: %s", error)


@contextmanager
def no_collection() -> Iterator[None]:
    """While a pool is loaded, nothing of it becomes garbage, and to look for some takes as long as to load it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load_task(core: Core, record: CarriedRecord, now: int) -> bool:
    """Whether an open task could be loaded: another version of AgentCom may have taken on what this one cannot read."""
    try:
        core.load_tasks((record,), now)
    except (*UNREADABLE, InvalidRequirement) as error:
        log.warning("the record of an open task cannot be read: %s", error)
        return False
    return True


def _report_event(entry: Entry) -> Reported | Malformed:
    report = decode_report(entry.body)
    return Malformed(entry.id, "reports", report) if isinstance(report, str) else Reported(entry.id, report)


def _tasks_in(event: Event) -> int:
    return len(event.request.tasks) if isinstance(event, Requested) and isinstance(event.request, Submit) else 1


def _mark(beat: Beat) -> tuple[str, int]:
    return beat.incarnation, beat.count


def _pass_over(error: Exception) -> None:
    """One stream is damaged: that is said. Raises what is wrong with all of Redis."""
    stop_if_refused(error)
    if is_away(error):
        raise error
    _say(error)


def _say(error: Exception) -> None:
    what = "is away" if is_away(error) else "does not do what it was asked, and will be asked again"
    log.warning("Redis %s: %s", what, explained(error))
