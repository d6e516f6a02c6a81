"""What a sidecar decides, without I/O: which orders it takes, when it says that one is accepted, how one ended.

It is told what happened and what time it is, and answers with effects, which `agentcom.sidecar.performing` performs in
this order.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from agentcom.model.agent import Activity
from agentcom.model.codec import encode
from agentcom.model.messages import Accepted, AnyOrder, AnyReport, Ask, Assign, Beat, Finished, SelfTest, Stop
from agentcom.model.task import Outcome, Usage
from agentcom.sidecar.effects import Adopt, Disown, Effect, End, Forget, Phase, Send, Start

TIMEOUT_MAX_S = 10**9
"""What an order may ask for beyond that is no limit."""

UNTESTED = SelfTest()

REMEMBERED_MAX = 1_000
REMEMBERED_BYTES = 1024 * 1024
"""How many of the last ends are remembered, and how large they may be all in all."""

NOT_HERE = "this sidecar does not have it"

Ending = Literal["", "canceled", "lease_lost", "timeout", "drained"]


class Held(Struct):
    """An order that this sidecar works on."""

    entry: str
    order: Assign
    deadline_at: int
    alive_at: int = 0
    reported: bool = False
    ending: Ending = ""
    why: str = ""
    stopped: bool = False
    stop: str = ""
    """Entry of the order to stop it, which is settled when it is over: a later start of this sidecar has to find it."""
    phase: Phase = "working"
    phase_at: int = 0
    """Since when it is in this phase. Only while it is working is it the agent's time that passes."""
    filled: int = 0


class Machine:
    """Everything that one sidecar holds.

    Args:
        agent: its name.
        incarnation: this start of it.
        slots: how many tasks it works on at once.
        accept_report_ms: a task that ends sooner after its first sign of life is not reported accepted.
    """

    def __init__(self, agent: str, incarnation: str, slots: int, accept_report_ms: int) -> None:
        self._agent = agent
        self._incarnation = incarnation
        self._slots = slots
        self._accept_report_ms = accept_report_ms
        self._held: dict[str, Held] = {}
        self._entry_of: dict[str, str] = {}
        self._acceptances: deque[tuple[int, str]] = deque()
        self._over: OrderedDict[str, tuple[Finished, int]] = OrderedDict()
        self._over_bytes = 0
        self._beats = 0
        self.unfit = ""
        """Why its agent cannot work here now: what is ordered meanwhile is handed back."""
        self.draining = False
        self.superseded_by = ""
        """A newer start of this name, somewhere else: what is ordered now is ordered from that one."""

    # --------------------------------------------------------------- orders

    def ordered(self, entry: str, order: AnyOrder | str, now: int) -> list[Effect]:
        """An order arrived; a text says what is wrong with one that cannot be read."""
        if isinstance(order, Assign):
            return self._assigned(entry, order, now)
        if isinstance(order, Stop):
            return self._stopped(entry, order)
        if isinstance(order, Ask):
            return self._asked(entry, order)
        return [Send(settled=[entry])]

    def _assigned(self, entry: str, order: Assign, now: int) -> list[Effect]:
        if entry in self._held:
            return []
        if order.token in self._entry_of:
            # Ordered twice: the one attempt that runs has the one outcome.
            return [Send(settled=[entry])]
        if order.token in self._over:
            # Its end was said already, also where that was only that it is not here: it must not begin now.
            return [Send([self._over[order.token][0]], [entry])]
        if order.incarnation > self._incarnation:
            self.superseded_by = order.incarnation
        refusal = self._reason_to_hand_back(order)
        if refusal is not None:
            return [Send([self._finished(order, refusal)], [entry])]
        self._hold(entry, order, now)
        return [Start(entry, order)]

    def _hold(self, entry: str, order: Assign, since_at: int) -> None:
        deadline_at = since_at + int(min(order.timeout_s, TIMEOUT_MAX_S) * 1000)
        self._held[entry] = Held(entry, order, deadline_at)
        self._entry_of[order.token] = entry

    def adopt(self, entry: str, order: Assign, since_at: int, now: int) -> list[Effect]:
        """An earlier start of this sidecar began with this order at `since_at`, and it is this one's now."""
        if entry in self._held or order.token in self._entry_of:
            return []
        self._hold(entry, order, min(since_at, now))
        return [Adopt(entry, order)]

    def _reason_to_hand_back(self, order: Assign) -> Outcome | None:
        if order.incarnation != self._incarnation:
            return Outcome("handed_back", "turned_away", "it was meant for another start of this sidecar")
        if self.draining:
            return Outcome("handed_back", "handed_back", "this sidecar is stopping")
        if len(self._held) >= self._slots:
            return Outcome("handed_back", "turned_away", "no free slot")
        return Outcome("handed_back", "unfit", self.unfit) if self.unfit else None

    def _stopped(self, entry: str, order: Stop) -> list[Effect]:
        held = self._held.get(self._entry_of.get(order.token, ""))
        if held is None:
            return self._say_end(entry, order)
        held.stopped = True
        if held.stop and held.stop != entry:
            return [Send(settled=[entry])]
        held.stop = entry
        return self._end(held, "canceled", order.why)

    def _asked(self, entry: str, order: Ask) -> list[Effect]:
        return [Send(settled=[entry])] if order.token in self._entry_of else self._say_end(entry, order)

    def _say_end(self, entry: str, order: Stop | Ask) -> list[Effect]:
        """Of what does not run here: how it ended, as far as that is remembered."""
        known = self._over.get(order.token)
        report = known[0] if known else self._finished(order, Outcome("lost", "lost", NOT_HERE))
        return [Send([report], [entry])]

    def remember(self, report: Finished) -> None:
        """This was said of an attempt, and is said again to whoever asks; of the last ones only."""
        size = len(encode(report))
        if report.token in self._over:
            self._over_bytes -= self._over.pop(report.token)[1]
        self._over[report.token] = (report, size)
        self._over_bytes += size
        while len(self._over) > REMEMBERED_MAX or self._over_bytes > REMEMBERED_BYTES:
            _, (_, gone) = self._over.popitem(last=False)
            self._over_bytes -= gone

    # ----------------------------------------------------------------- runs

    def alive(self, entry: str, now: int) -> None:
        """The agent itself showed its first sign of life."""
        held = self._held.get(entry)
        if held is not None and not held.alive_at:
            held.alive_at = now
            self._acceptances.append((now + self._accept_report_ms, entry))

    def entered(self, entry: str, phase: Phase, now: int) -> bool:
        """What runs for this order came into another phase; whether that is news."""
        held = self._held.get(entry)
        if held is None or held.phase == phase:
            return False
        if held.phase != "working":
            held.deadline_at += now - held.phase_at
        held.phase, held.phase_at = phase, now
        return True

    def filled(self, entry: str, percent: int) -> None:
        """So full is its agent's context window."""
        held = self._held.get(entry)
        if held is not None:
            held.filled = max(held.filled, percent)

    def ended(self, entry: str, outcome: Outcome) -> list[Effect]:
        """What ran for this order is gone, with all of its processes."""
        held = self._held.pop(entry, None)
        if held is None:
            return []
        del self._entry_of[held.order.token]
        if held.ending == "lease_lost":
            # A fail-over that lost its delivery delivers it once more: it ran, and must not begin again. So an end of
            # it is remembered, although nobody is told of it now, but for what it used: that is spent.
            lost = Outcome("lost", "lost", "its order was not this sidecar's any more", usage=outcome.usage)
            report = self._finished(held.order, lost)
            used = [Send([report])] if outcome.usage is not None and not held.stopped else []
            return [*used, *self._answer(held, outcome.usage), Forget(entry)]
        final = _final_outcome(held, outcome)
        return [Send([self._finished(held.order, final)], [entry, held.stop] if held.stop else [entry])]

    def _answer(self, held: Held, usage: Usage | None) -> list[Effect]:
        """Whoever ordered it to stop still counts on it here, and learns that it is over. What it was ordered to do is
        not settled: that is another's now."""
        if not held.stopped:
            return []
        outcome = Outcome("canceled", "canceled", held.why, usage=usage)
        return [Send([self._finished(held.order, outcome)], [held.stop] if held.stop else [])]

    def left_behind(self, entry: str, order: Assign, outcome: Outcome) -> list[Effect]:
        """What an earlier start of this sidecar held, and what became of it."""
        return [Send([self._finished(order, outcome)], [entry])]

    def late(self, order: Assign, outcome: Outcome) -> list[Effect]:
        """What an earlier start of this sidecar held came to this end, when the order was somebody else's already."""
        return [Send([self._finished(order, outcome)])]

    def leases_lost(self, entries: Iterable[str]) -> list[Effect]:
        """These orders are not this sidecar's any more: it was thought dead, and somebody else has them."""
        effects: list[Effect] = []
        stopping = {held.stop: held for held in self._held.values() if held.stop}
        for entry in entries:
            held = self._held.get(entry)
            if entry in stopping:
                stopping[entry].stop = ""
            elif held is not None and held.ending != "lease_lost":
                effects += [Disown(entry), *self._end(held, "lease_lost", "the order was reclaimed")]
        return effects

    def drain(self) -> None:
        """Take no more orders: what arrives from now on is handed back."""
        self.draining = True

    def give_back(self) -> list[Effect]:
        """End what still runs, to hand it back unharmed."""
        return [
            effect for held in self._held.values() for effect in self._end(held, "drained", "this sidecar is stopping")
        ]

    def tick(self, now: int) -> list[Effect]:
        """What is due: acceptances to report, attempts over their time limit."""
        effects: list[Effect] = []
        reports: list[AnyReport] = []
        while self._acceptances and self._acceptances[0][0] <= now:
            _, entry = self._acceptances.popleft()
            held = self._held.get(entry)
            if held is not None and not held.reported and not held.ending:
                held.reported = True
                reports.append(self._accepted(held))
        if reports:
            effects.append(Send(reports))
        for held in self._held.values():
            if now >= held.deadline_at and not held.ending and held.phase == "working":
                effects += self._end(held, "timeout", f"not done within {held.order.timeout_s:g} s")
        return effects

    def wake_at(self) -> int | None:
        """When `tick` is next needed for an acceptance; time limits are looked at with every tick."""
        return self._acceptances[0][0] if self._acceptances else None

    def _end(self, held: Held, ending: Ending, why: str) -> list[Effect]:
        if held.ending:
            if ending == "lease_lost":
                held.ending = ending
            return []
        held.ending = ending
        held.why = why
        return [End(held.entry)]

    # ---------------------------------------------------------------- looks

    @property
    def held(self) -> Sequence[str]:
        """Entries of the orders that it works on."""
        return list(self._held)

    def knows(self, token: str) -> bool:
        """Whether this attempt is under way here, or its end is remembered."""
        return token in self._entry_of or token in self._over

    @property
    def leased(self) -> Sequence[str]:
        """Entries of the orders that it works on, and of those to stop it: they are not settled before it is over."""
        return [*self._held, *(held.stop for held in self._held.values() if held.stop)]

    @property
    def tasks(self) -> Sequence[str]:
        """Ids of the tasks that it works on."""
        return [held.order.task for held in self._held.values()]

    @property
    def free_slots(self) -> int:
        """How many more orders it would take."""
        return 0 if self.draining else max(0, self._slots - len(self._held))

    def beat(self, now: int, unsent: int, test: SelfTest = UNTESTED) -> Beat:
        """A sign of life that says what is really going on here."""
        self._beats += 1
        return Beat(
            agent=self._agent,
            incarnation=self._incarnation,
            count=self._beats,
            at=now,
            state=self._activity(),
            running={held.order.token: held.order.task for held in self._held.values()},
            preparing=self._in_phase("preparing"),
            verifying=self._in_phase("verifying"),
            context={held.order.token: held.filled for held in self._held.values() if held.filled},
            unsent=unsent,
            test=test,
        )

    def _in_phase(self, phase: Phase) -> tuple[str, ...]:
        return tuple(held.order.token for held in self._held.values() if held.phase == phase)

    def _activity(self) -> Activity:
        if not self._held:
            return "idle"
        return "working" if any(held.alive_at for held in self._held.values()) else "assigned"

    def _accepted(self, held: Held) -> Accepted:
        order = held.order
        return Accepted(
            agent=self._agent,
            incarnation=self._incarnation,
            task=order.task,
            token=order.token,
        )

    def _finished(self, order: Assign | Stop | Ask, outcome: Outcome) -> Finished:
        """The report of an end, which is remembered from now on."""
        report = Finished(
            agent=self._agent,
            incarnation=self._incarnation,
            task=order.task,
            token=order.token,
            outcome=outcome,
        )
        self.remember(report)
        return report


def _final_outcome(held: Held, outcome: Outcome) -> Outcome:
    """The outcome as the reason for its end makes it: a process that was ended did not fail by itself."""
    match held.ending:
        case "canceled":
            return msgspec.structs.replace(outcome, result="canceled", reason="canceled", detail=held.why)
        case "drained" | "timeout" if outcome.result == "completed":
            return outcome
        case "drained":
            return msgspec.structs.replace(outcome, result="handed_back", reason="handed_back", detail=held.why)
        case "timeout":
            return msgspec.structs.replace(outcome, result="failed", reason="timeout", detail=held.why)
        case _:
            return outcome
