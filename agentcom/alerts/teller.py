"""Tells receivers what a book says is due: each of them one thing at a time, none of them waiting for another."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup

from agentcom.alerts.book import Keeper
from agentcom.alerts.incidents import (
    Attempt,
    Book,
    Incident,
    Rules,
    claim,
    due,
    is_unsettled,
    never,
    next_due_at,
    observe,
    settle,
)
from agentcom.alerts.message import Alert, alert_of
from agentcom.alerts.receivers import Receiver
from agentcom.diagnosis.finding import Finding

log = logging.getLogger("agentcom.alerts")

CLAIM_MARGIN_S = 10.0
"""How much longer than a delivery may take a claim holds."""

PROGRAMS_MAX = 8
"""So many are told at once, however many there are."""

WAIT_MIN_S = 0.05
STOP_S = 2.0
"""For so long a teller that is stopped lets deliveries end, and then for as long tries to write down what became."""

Deliver = Callable[[Receiver, Alert, float], Awaitable[str]]
"""Tells a receiver within so many seconds; what went wrong, empty if nothing did."""


class Teller:
    """Tells what one book says.

    Args:
        keeper: of the book.
        receivers: who is told.
        rules: what is told.
        timeout_s: how long one delivery may take.
        pool, host: as messages name them.
        deliver: tells a receiver.
    """

    def __init__(
        self,
        keeper: Keeper,
        receivers: Sequence[Receiver],
        rules: Rules,
        timeout_s: float,
        pool: str,
        host: str,
        deliver: Deliver,
    ) -> None:
        self._keeper = keeper
        self._receivers = {receiver.id: receiver for receiver in receivers}
        self._rules = rules
        self._timeout_s = timeout_s
        self._pool = pool
        self._host = host
        self._deliver = deliver
        self._busy: set[str] = set()
        # What became of attempts that the book does not say yet.
        self._unsettled: dict[Attempt, bool] = {}
        self._under_way: set[anyio.CancelScope] = set()
        self._stop_at = math.inf
        self._stirred = anyio.Event()

    async def observe(self, findings: Iterable[Finding], out_of_sight: Callable[[Finding], bool] = never) -> bool:
        """Take in what a look found, and which of what it did not find it did not look for.

        Returns whether another look soon will tell more. Raises as the keeper does.
        """
        found = tuple(findings)

        def change(book: Book, now: int) -> bool:
            observe(book, found, now, self._rules, out_of_sight)
            return is_unsettled(book)

        unsettled = await self._keeper.amend(change)
        self._stir()
        return unsettled

    async def run(self, on_trouble: Callable[[Exception], bool]) -> None:
        """Tell what is due, for ever. Canceled, it lets deliveries end for a moment, so that none is repeated.

        Args:
            on_trouble: told when the keeper raises; says whether to try again later.
        """
        try:
            async with anyio.create_task_group() as group:
                try:
                    await self._tell_for_ever(group, on_trouble)
                finally:
                    self._stop_at = anyio.current_time() + STOP_S
                    for scope in self._under_way:
                        scope.deadline = self._stop_at
        finally:
            if self._unsettled:
                with anyio.move_on_after(STOP_S, shield=True), suppress(Exception):
                    await self._keeper.amend(self._settle)

    async def _tell_for_ever(self, group: TaskGroup, on_trouble: Callable[[Exception], bool]) -> None:
        while True:
            wait_s = self._rules.look_ms / 1000
            try:
                wait_s = await self._tell(group)
            except Exception as error:
                if not on_trouble(error):
                    raise
            with anyio.move_on_after(wait_s):
                await self._stirred.wait()
            self._stirred = anyio.Event()

    async def _tell(self, group: TaskGroup) -> float:
        """Begin what is due. Returns the seconds until something is to be done again, unless something stirs before."""

        def change(book: Book, now: int) -> tuple[list[tuple[Attempt, list[Incident]]], float, list[Attempt]]:
            settled = self._settle(book, now)
            begun = self._begun(book, now)
            for attempt in begun:
                claim(book, attempt, now + int((self._timeout_s + CLAIM_MARGIN_S) * 1000))
            claimed = [(attempt, [book.incidents[id_] for id_ in attempt.incidents]) for attempt in begun]
            return claimed, self._wait_s(book, begun, now), settled

        claimed, wait_s, settled = await self._keeper.amend(change)
        for attempt in settled:
            self._unsettled.pop(attempt)
        for attempt, (incident, *others) in claimed:
            self._busy.add(attempt.receiver)
            group.start_soon(self._attempt, attempt, alert_of(incident, self._pool, self._host, others))
        return wait_s

    def _settle(self, book: Book, now: int) -> list[Attempt]:
        """Write down what became of attempts. Returns these."""
        for attempt, delivered in self._unsettled.items():
            settle(book, attempt, now, self._rules, delivered=delivered)
        return list(self._unsettled)

    def _begun(self, book: Book, now: int) -> list[Attempt]:
        """What to begin now: the first that is due to each receiver that is free, as long as there is room."""
        first: dict[str, Attempt] = {}
        for attempt in due(book, self._receivers.keys() - self._busy, now):
            first.setdefault(attempt.receiver, attempt)
        return list(first.values())[: PROGRAMS_MAX - len(self._busy)]

    def _wait_s(self, book: Book, begun: Sequence[Attempt], now: int) -> float:
        """Until something is due to a receiver that is free then. Where one becomes free, that stirs."""
        busy = self._busy | {attempt.receiver for attempt in begun}
        due_at = next_due_at(book, self._receivers.keys() - busy)
        look_ms = self._rules.look_ms
        wait_ms = look_ms if due_at is None or len(busy) >= PROGRAMS_MAX else min(due_at - now, look_ms)
        return max(wait_ms / 1000, WAIT_MIN_S)

    async def _attempt(self, attempt: Attempt, alert: Alert) -> None:
        receiver = self._receivers[attempt.receiver]
        problem = "it was stopped"
        with anyio.CancelScope(shield=True, deadline=self._stop_at) as scope:
            self._under_way.add(scope)
            problem = await self._deliver(receiver, alert, self._timeout_s)
        self._under_way.discard(scope)
        if problem:
            log.warning("%s was not told %r: %s", receiver.shown, alert.title, problem)
        else:
            log.info("%s was told %r", receiver.shown, alert.title)
        self._unsettled[attempt] = not problem
        self._busy.discard(attempt.receiver)
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()
