"""Each fence of the design, switched off: what the simulation is for is to notice that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from msgspec.structs import replace

from agentcom.model.codec import decode_carried, encode
from agentcom.model.lifecycle import RUNNING
from agentcom.scheduler import attempts, reports, spending
from agentcom.sidecar.machine import Machine
from tests.simulation import redis_scripts


@contextmanager
def _patched(place: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, original)


def no_token_check() -> AbstractContextManager[None]:
    """A report counts for its task whatever its token is."""
    original = reports._current

    def current(state: Any, report: Any) -> Any:
        work = state.tasks.get(report.task)
        return work if work is not None and work.record.state in RUNNING else original(state, report)

    return _patched(reports, "_current", current)


def no_compare_and_swap() -> AbstractContextManager[None]:
    """A commit is performed whoever leads, and whatever it builds on."""
    return _patched(redis_scripts, "fence", lambda epoch, seq, owner, arguments: b"")


def no_renewal_ownership() -> AbstractContextManager[None]:
    """A renewal takes the order back from whoever has it."""

    def renew(model: Any, keys: list[str], arguments: list[Any]) -> Any:
        group, consumer, *entries = arguments
        if entries:
            model.xclaim(keys[0], group, consumer, 0, entries, justid=True)
        return []

    return _patched_script("renew", renew)


def no_incarnation() -> AbstractContextManager[None]:
    """A sidecar takes what was ordered from another start of it."""
    original = Machine.ordered

    def ordered(self: Any, entry: str, order: Any, now: int) -> Any:
        if not isinstance(order, str):
            order = replace(order, incarnation=self._incarnation)
        return original(self, entry, order, now)

    return _patched(Machine, "ordered", ordered)


def not_counted_before() -> AbstractContextManager[None]:
    """An attempt is ordered first, and counted when something else is written of its task."""
    original = attempts.assign

    def assign(state: Any, work: Any, agent: Any, now: int) -> None:
        before = decode_carried(encode(work.record))
        original(state, work, agent, now)
        state.commit.records[work.id] = before
        state.commit.lines.pop()

    return _patched(attempts, "assign", assign)


@contextmanager
def _patched_script(name: str, script: Callable[..., Any]) -> Iterator[None]:
    original = redis_scripts.PYTHON[name]
    redis_scripts.PYTHON[name] = script
    try:
        yield
    finally:
        redis_scripts.PYTHON[name] = original


def no_counting_once() -> AbstractContextManager[None]:
    """What an attempt used is counted as often as it is told."""
    return _patched(spending, "_was_told", lambda *_: False)


FENCES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "the token check": no_token_check,
    "the commit's compare-and-swap": no_compare_and_swap,
    "the owner check of renewals": no_renewal_ownership,
    "the incarnation": no_incarnation,
    "counting attempts before they run": not_counted_before,
    "counting once what was used": no_counting_once,
}
