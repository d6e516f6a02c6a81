"""The scheduler as a program: it stands by until it leads, loads the pool, then reads, applies, commits, for ever.

Every decision is the core's. This shell only carries: entries to events, commits to Redis, and a refused commit back
to the beginning, where everything is loaded again.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable

import anyio

from agentcom.broker.commit import Fence
from agentcom.broker.connection import BLOCK_MAX_S, Connections, until_back
from agentcom.broker.scheduler_store import Head, SchedulerStore
from agentcom.broker.streams import Entry
from agentcom.clock import steady_clock
from agentcom.model.codec import decode_report, decode_request
from agentcom.model.messages import Line, Submit
from agentcom.scheduler.core import Core
from agentcom.scheduler.events import Beaten, Malformed, Reported, Requested
from agentcom.scheduler.sweep import Sweep
from agentcom.settings import Policy

log = logging.getLogger("agentcom.scheduler")

TASKS_PER_COMMIT = 1_000
"""A commit is one Lua call during which Redis serves nobody else: bounded to some ten milliseconds."""

STANDBY_TRIES_PER_LEASE = 4
RENEWALS_PER_LEASE = 3


class SchedulerService:
    """One scheduler process. Any number may run; one leads."""

    def __init__(self, connections: Connections, pool: str, policy: Policy) -> None:
        self._store = SchedulerStore(connections, pool, policy)
        self._policy = policy
        self._clock = steady_clock()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._beats: dict[str, tuple[str, int]] = {}
        self._committed = ("", "")
        self._said_full = False

    async def run(self, on_lead: Callable[[], None] = lambda: None) -> None:
        """Stand by, lead, and stand by again when the leadership is lost; until cancelled.

        Raises:
            CredentialsRefused: Redis does not accept this user; retrying cannot help.
        """
        while True:
            fence = await until_back(lambda: self._store.lead(self._owner), self._say_away)
            if fence is None:
                await anyio.sleep(self._policy.lease_s / STANDBY_TRIES_PER_LEASE)
                continue
            log.info("leading, epoch %d", fence.epoch)
            try:
                await until_back(lambda: self._lead(fence, on_lead), self._say_away)  # noqa: B023 - awaited here
            finally:
                with anyio.move_on_after(1, shield=True):
                    await self._resign()

    async def _lead(self, fence: Fence, on_lead: Callable[[], None]) -> None:
        """Lead until another does, or Redis is found to have lost or gained a commit."""
        core, head = await self._load(fence)
        on_lead()
        term = _Term(self._policy, self._clock())
        sweep = Sweep(self._store, self._policy)
        while True:
            now = self._clock()
            if term.renewal_due(now) and not await self._store.renew_lead(self._owner):
                log.warning("the lease was lost to %s", await self._store.leader() or "nobody")
                return
            if term.beats_due(now):
                await self._hear(core, now)
            if term.sweep_due(now):
                for event in await sweep.look(core.silent_holders()):
                    core.apply(event, now)
            if not await self._commit(core, fence, head):
                return
            batches = await self._store.read(
                head, self._policy.batch, term.block_ms(self._clock(), core.wake_at()), inbox=self._room(core)
            )
            if batches and not await self._take(core, fence, head, batches):
                return

    async def _load(self, fence: Fence) -> tuple[Core, Head]:
        started = self._clock()
        head = await self._store.head()
        fence.seq = head.seq
        self._committed = (head.inbox_at, head.reports_at)
        core = Core(self._policy, lambda: secrets.token_hex(8))
        core.load_agents(await self._store.agents(), started)
        core.load_keys(await self._store.keys())
        self._beats.clear()
        async for records, missing in self._store.open_records():
            core.load_tasks(records, started)
            core.drop_unreadable(missing, started)
        now = self._clock()
        detail = f"{self._owner} leads with epoch {fence.epoch}, {core.open_tasks} open tasks"
        core.note(Line(now, "pool", "lead", detail=detail))
        log.info("loaded %d open tasks in %d ms", core.open_tasks, now - started)
        return core, head

    # -------------------------------------------------------------- reading

    async def _take(self, core: Core, fence: Fence, head: Head, batches: dict[str, list[Entry]]) -> bool:
        """Apply what was read, reports first, and commit in bounded steps. False: the leadership is over."""
        for entry in batches.get(self._store.reports, ()):
            core.apply(_report_event(entry), self._clock())
            head.reports_at = entry.id
        taken = 0
        for entry in batches.get(self._store.inbox, ()):
            taken += await self._apply_request(core, entry)
            head.inbox_at = entry.id
            if taken >= TASKS_PER_COMMIT:
                if not await self._commit(core, fence, head):
                    return False
                taken = 0
        return await self._commit(core, fence, head)

    async def _apply_request(self, core: Core, entry: Entry) -> int:
        """Apply an inbox entry; how many tasks it carries."""
        request = decode_request(entry.body)
        if isinstance(request, str):
            core.apply(Malformed(entry.id, "inbox", request), self._clock())
            return 1
        wanted = core.lookups(request)
        found = await self._store.records(wanted) if wanted else {}
        core.apply(Requested(entry.id, request, found), self._clock())
        return len(request.tasks) if isinstance(request, Submit) else 1

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

    async def _hear(self, core: Core, now: int) -> None:
        """Let the core know of beats that are new. Only that a beat changed counts, not the time written in it:
        the sidecar's clock is another machine's."""
        for beat in await self._store.beats(list(core.agents)):
            mark = (beat.incarnation, beat.count)
            if self._beats.get(beat.agent) != mark:
                self._beats[beat.agent] = mark
                core.apply(Beaten(beat), now)

    # ----------------------------------------------------------- committing

    async def _commit(self, core: Core, fence: Fence, head: Head) -> bool:
        """Write what the core wants written. False: it was refused, and this core's knowledge is void.

        A commit whose reply was lost is sent again with its id, and is then performed once.
        """
        commit = core.take(self._clock())
        commit.inbox_at, commit.reports_at = self._moved(head)
        if commit.empty:
            return True
        call = self._store.encode(commit, fence)
        reply = await until_back(lambda: self._store.commit(call), self._say_away)
        if reply in ("done", "repeated"):
            fence.seq += 1
            self._committed = (head.inbox_at, head.reports_at)
            return True
        log.warning("commit %d refused: %s; loading again", fence.seq, reply)
        return False

    def _moved(self, head: Head) -> tuple[str, str]:
        inbox_at, reports_at = self._committed
        return (
            head.inbox_at if head.inbox_at != inbox_at else "",
            head.reports_at if head.reports_at != reports_at else "",
        )

    async def _resign(self) -> None:
        try:
            await self._store.resign(self._owner)
        except Exception as error:
            log.debug("could not resign: %s", error)

    def _say_away(self, error: Exception) -> None:
        log.warning("Redis is away: %s", error)


class _Term:
    """When the periodic duties of a leader are due."""

    def __init__(self, policy: Policy, now: int) -> None:
        self._renew_ms = int(policy.lease_s * 1000 / RENEWALS_PER_LEASE)
        self._beats_ms = int(policy.beat_s * 1000 / 2)
        self._sweep_ms = int(policy.sweep_s * 1000)
        self._renew_at = now + self._renew_ms
        self._beats_at = now
        self._sweep_at = now

    def renewal_due(self, now: int) -> bool:
        if now < self._renew_at:
            return False
        self._renew_at = now + self._renew_ms
        return True

    def beats_due(self, now: int) -> bool:
        if now < self._beats_at:
            return False
        self._beats_at = now + self._beats_ms
        return True

    def sweep_due(self, now: int) -> bool:
        if now < self._sweep_at:
            return False
        self._sweep_at = now + self._sweep_ms
        return True

    def block_ms(self, now: int, wake_at: int | None) -> int:
        """How long a read may wait: until the next duty, and no longer than a read may block at all."""
        due = min(self._renew_at, self._beats_at, self._sweep_at, wake_at if wake_at is not None else self._renew_at)
        return max(1, min(due - now, int(BLOCK_MAX_S * 1000)))


def _report_event(entry: Entry) -> Reported | Malformed:
    report = decode_report(entry.body)
    return Malformed(entry.id, "reports", report) if isinstance(report, str) else Reported(entry.id, report)
