"""Does to a running pool what the plan says, and undoes it when it is time."""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import redis

from agentcom.processes import ProcessIdentity, identify
from tests.chaos.evidence import Span
from tests.chaos.faults import Fault
from tests.chaos.ledger import Ledger, now_ms
from tests.chaos.programs import PROGRAMS, SCHEDULERS, Pool
from tests.chaos.proxy import Condition, Proxy
from tests.chaos.sentinels import SentinelGroup
from tests.chaos.stores import OneServer

SKIPPED = "skipped"
"""How a fault is counted whose target was under another one, or not there."""


class Harm:
    """The faults, each a method named after its kind; one that has no target just now says False."""

    def __init__(self, pool: Pool, store: OneServer | SentinelGroup, proxy: Proxy | None, ledger: Ledger) -> None:
        self.counts: Counter[str] = Counter()
        self.disturbances: list[Span] = []
        self._pool = pool
        self._store = store
        self._proxy = proxy
        self._ledger = ledger
        self._undoings: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._busy: set[str] = set()

    def undo_what_is_due(self) -> None:
        """Thaw, start, clear whatever has been down for long enough."""
        while self._undoings and self._undoings[0][0] <= time.monotonic():
            self._undo_next()

    def hasten(self) -> None:
        """Everything that is under a fault is due now."""
        self._undoings = [(0.0, number, undo) for _, number, undo in self._undoings]
        heapq.heapify(self._undoings)

    @property
    def is_over(self) -> bool:
        """Whether nothing is under a fault any more, nor a former primary taking writes that will be lost."""
        return not self._undoings and not (isinstance(self._store, SentinelGroup) and self._store.has_deposed)

    def start_all(self) -> None:
        """Start whatever does not run."""
        self._store.start()
        for name in PROGRAMS:
            self._pool.start(name)

    def start_later(self, name: str) -> None:
        """Start a program that ended by itself, but not in a tight loop."""
        self._later(0.5, name, lambda: self._pool.start(name), name)

    def inflict(self, fault: Fault) -> None:
        """Do it, unless its target is under another one."""
        key = fault.target or fault.kind
        if key in self._busy:
            self.counts[SKIPPED] += 1
            return
        try:
            done = getattr(self, f"_do_{fault.kind}")(fault)
        except redis.RedisError:
            done = False
        self.counts[_label(fault) if done is not False else SKIPPED] += 1

    def _later(self, for_s: float, who: str, undo: Callable[[], None], *busy: str) -> None:
        """Undo a fault after some time; until then it disturbs `who`, and its targets are left alone."""
        from_at = now_ms()
        self._busy |= set(busy)

        def over() -> None:
            self._busy -= set(busy)
            undo()
            self.disturbances.append(Span(from_at, now_ms(), who))

        heapq.heappush(self._undoings, (time.monotonic() + for_s, next(self._count), over))

    def _undo_next(self) -> None:
        heapq.heappop(self._undoings)[2]()

    # programs

    def _do_kill(self, fault: Fault) -> None:
        self._pool.kill(fault.target)
        self._later(fault.for_s, fault.target, lambda: self._pool.start(fault.target), fault.target)

    def _do_stop(self, fault: Fault) -> None:
        self._pool.ask_to_stop(fault.target)
        self._start_when_stopped(fault.target)

    def _start_when_stopped(self, name: str) -> None:
        def again() -> None:
            if self._pool.programs[name].runs:
                self._start_when_stopped(name)
            else:
                self._pool.start(name)

        self._later(0.2, name, again, name)

    def _do_freeze(self, fault: Fault) -> None:
        self._pool.signal(fault.target, signal.SIGSTOP)
        self._later(fault.for_s, fault.target, lambda: self._pool.signal(fault.target, signal.SIGCONT), fault.target)

    def _do_kill_all(self, fault: Fault) -> None:
        for name in PROGRAMS:
            self._pool.kill(name)
        self._one_server().kill()
        for process in self._ledger.alive()[::2]:
            signal_process(process, signal.SIGKILL)
        self._later(fault.for_s, "", self.start_all, *PROGRAMS, "kill_redis", "freeze_redis")

    # agents

    def _do_kill_agent(self, fault: Fault) -> bool:
        return self._to_an_agent(fault, signal.SIGKILL) is not None

    def _do_abandon_agent(self, fault: Fault) -> bool:
        return self._to_an_agent(fault, signal.SIGSTOP) is not None

    def _do_freeze_agent(self, fault: Fault) -> bool:
        process = self._to_an_agent(fault, signal.SIGSTOP)
        if process is not None:
            self._later(fault.for_s, "an agent's process", lambda: signal_process(process, signal.SIGCONT))
        return process is not None

    def _to_an_agent(self, fault: Fault, number: signal.Signals) -> ProcessIdentity | None:
        """Send a signal to one of the agents' processes that live; None if none does."""
        alive = self._ledger.alive()
        if not alive:
            return None
        process = alive[int(fault.pick * len(alive))]
        signal_process(process, number)
        return process

    # one server

    def _one_server(self) -> OneServer:
        assert isinstance(self._store, OneServer)
        return self._store

    def _do_kill_redis(self, fault: Fault) -> None:
        self._one_server().kill()
        self._later(fault.for_s, "", self._store.start, "kill_redis", "freeze_redis", "power_cut")

    def _do_power_cut(self, fault: Fault) -> None:
        self._one_server().cut_power(fault.pick)
        self._later(fault.for_s, "", self._store.start, "kill_redis", "power_cut")

    def _do_freeze_redis(self, fault: Fault) -> None:
        server = self._one_server()
        server.signal(signal.SIGSTOP)
        self._later(fault.for_s, "", lambda: server.signal(signal.SIGCONT), "kill_redis", "freeze_redis")

    # the network

    def _do_cut(self, fault: Fault) -> None:
        assert self._proxy is not None
        self._proxy.cut(fault.target)
        self.disturbances.append(Span(now_ms(), now_ms(), fault.target))

    def _set_door(self, fault: Fault, condition: Condition, delay_s: float = 0.0) -> None:
        proxy = self._proxy
        assert proxy is not None
        proxy.set(fault.target, condition, delay_s)
        self._later(fault.for_s, fault.target, lambda: proxy.set(fault.target, "clear"), fault.target)

    def _do_delay(self, fault: Fault) -> None:
        self._set_door(fault, "delay", 0.05 + fault.pick)

    def _do_mute(self, fault: Fault) -> None:
        self._set_door(fault, "mute")

    def _do_deaf(self, fault: Fault) -> None:
        self._set_door(fault, "deaf")

    def _do_refuse(self, fault: Fault) -> None:
        assert self._proxy is not None
        self._set_door(fault, "refuse")
        self._proxy.cut(fault.target)

    # Sentinel

    def _group(self) -> SentinelGroup | None:
        """The group, if it stands: a fault on top of another would leave no primary at all."""
        assert isinstance(self._store, SentinelGroup)
        return self._store if self._store.is_whole() and not self._store.has_deposed else None

    def _do_kill_primary(self, fault: Fault) -> bool:
        group = self._group()
        if group is not None:
            node = group.kill_primary(fault.pick)
            self._later(2.0 + fault.for_s, "", lambda: group.start_again(node), node.name)
        return group is not None

    def _do_freeze_primary(self, fault: Fault) -> bool:
        group = self._group()
        if group is not None:
            node = group.freeze_primary()
            self._later(fault.for_s, "", lambda: node.signal(signal.SIGCONT), node.name)
        return group is not None

    def _do_order_failover(self, fault: Fault) -> bool:
        group = self._group()
        if group is not None:
            group.order_failover()
            self._later(fault.for_s, "", lambda: None, "order_failover")
        return group is not None

    def _do_kill_replica(self, fault: Fault) -> bool:
        group = self._group()
        if group is not None:
            node = group.replica()
            node.kill()
            self._later(fault.for_s, "", node.start, node.name)
        return group is not None

    def _do_kill_sentinel(self, fault: Fault) -> bool:
        group = self._group()
        if group is not None:
            node = group.sentinels[int(fault.pick * len(group.sentinels))]
            node.kill()
            self._later(fault.for_s, "", node.start, node.name)
        return group is not None


def signal_process(process: ProcessIdentity, number: signal.Signals) -> None:
    """To this very process, if it still runs."""
    if identify(process.pid) == process:
        os.kill(process.pid, number)


def _label(fault: Fault) -> str:
    who = "scheduler" if fault.target in SCHEDULERS else "sidecar"
    return f"{fault.kind} {who}" if fault.target else fault.kind
