"""Whatever happens in whatever order, a sidecar settles or forgets each order once, and answers every stop."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw

from agentcom.model.codec import encode
from agentcom.model.messages import Accepted, Ask, Assign, Finished, Stop
from agentcom.model.task import Outcome
from agentcom.sidecar.effects import Adopt, Disown, Effect, End, Forget, Send, Start
from agentcom.sidecar.machine import Machine

ME = "sc-2"
OUTCOMES = st.sampled_from(
    [Outcome("completed"), Outcome("failed", "exit_code"), Outcome("failed", "wake_failed"), Outcome("failed", "lost")]
)


class Sidecar(RuleBasedStateMachine):
    """A machine, and a world that performs its effects and keeps count."""

    @initialize(slots=st.integers(1, 3))
    def begin(self, slots: int) -> None:
        self.slots = slots
        self.machine = Machine("oak", ME, slots, accept_report_ms=250)
        self.now = 0
        self.number = 0
        self.orders: dict[str, Assign] = {}
        self.stops: dict[str, Stop] = {}
        self.lost_stops: set[str] = set()
        self.running: dict[str, str] = {}
        self.started: Counter[str] = Counter()
        self.ending: set[str] = set()
        self.lost: set[str] = set()
        self.settled: Counter[str] = Counter()
        self.forgotten: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.alive: set[str] = set()
        self.owed: Counter[str] = Counter()
        """Tokens of stops that are not answered yet."""

    # ------------------------------------------------------------- the world

    def entry(self) -> str:
        self.number += 1
        return f"{self.number}-0"

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(entry, order) | Adopt(entry, order):
                    assert entry not in self.running
                    self.running[entry] = order.token
                    self.started[entry] += 1
                case End(entry):
                    assert entry in self.running, "only what runs can be ended"
                    assert entry not in self.ending, "it was told to end already"
                    self.ending.add(entry)
                case Disown(entry):
                    assert entry in self.lost
                case Forget(entry):
                    assert entry in self.lost
                    self.forgotten[entry] += 1
                case Send(reports, settled):
                    for report in reports:
                        self.hear(report)
                    self.settled.update(settled)

    def hear(self, report: object) -> None:
        match report:
            case Accepted():
                assert report.token in self.alive
                assert not self.finished[report.token]
                self.accepted[report.token] += 1
            case Finished():
                self.finished[report.token] += 1
                lost = {self.orders[entry].token for entry in self.lost}
                assert report.token not in lost or self.owed[report.token], "nothing is said of what lost its lease"
                self.owed[report.token] = 0

    # ------------------------------------------------------------- what happens

    @rule(mine=st.booleans(), timeout_s=st.sampled_from([0.0, 1.0, 1e308]))
    def assigned(self, mine: bool, timeout_s: float) -> None:
        entry = self.entry()
        order = Assign(
            incarnation=ME if mine else "sc-1",
            task=f"task-{entry}",
            token=f"1.{entry}",
            spec=Raw(encode({})),
            attempt=1,
            timeout_s=timeout_s,
        )
        self.orders[entry] = order
        self.perform(self.machine.ordered(entry, order, self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def assigned_again(self, data: st.DataObject) -> None:
        original = data.draw(st.sampled_from(sorted(self.running)))
        entry = self.entry()
        self.orders[entry] = self.orders[original]
        before = self.finished.copy()
        self.perform(self.machine.ordered(entry, self.orders[original], self.now))
        assert self.finished == before, "nothing is said of an attempt that still runs"

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def delivered_again(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(sorted(self.running)))
        assert self.machine.ordered(entry, self.orders[entry], self.now) == []

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def stopped(self, data: st.DataObject) -> None:
        order = self.orders[data.draw(st.sampled_from(sorted(self.orders)))]
        entry = self.entry()
        self.stops[entry] = Stop(incarnation=ME, task=order.task, token=order.token)
        self.owed[order.token] += 1
        self.perform(self.machine.ordered(entry, self.stops[entry], self.now))

    @precondition(lambda self: self.stops.keys() & set(self.machine.leased))
    @rule(data=st.data())
    def stopped_by_the_same_order_again(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(sorted(self.stops.keys() & set(self.machine.leased))))
        assert self.machine.ordered(entry, self.stops[entry], self.now) == []

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def asked(self, data: st.DataObject) -> None:
        order = self.orders[data.draw(st.sampled_from(sorted(self.orders)))]
        entry = self.entry()
        live = order.token in self.running.values()
        before = self.finished[order.token]
        self.owed[order.token] += not live
        self.perform(self.machine.ordered(entry, Ask(incarnation=ME, task=order.task, token=order.token), self.now))
        assert self.settled[entry] == 1
        assert self.finished[order.token] == before + (not live), "asked for what ended, it says so, and only then"

    @precondition(lambda self: self.number < 2)
    @rule(timeout_s=st.sampled_from([0.0, 1.0]), ago=st.integers(-100, 2_000))
    def adopted(self, timeout_s: float, ago: int) -> None:
        """An earlier start left it: that is known before anything else happens."""
        entry = self.entry()
        if len(self.running) < self.slots:
            order = Assign(
                incarnation="sc-1",
                task=f"task-{entry}",
                token=f"1.{entry}",
                spec=Raw(encode({})),
                attempt=1,
                timeout_s=timeout_s,
            )
            self.orders[entry] = order
            self.perform(self.machine.adopt(entry, order, self.now - ago, self.now))

    @rule(unfit=st.booleans())
    def tested(self, unfit: bool) -> None:
        self.machine.unfit = "the disk is full" if unfit else ""

    @rule()
    def garbage(self) -> None:
        entry = self.entry()
        self.perform(self.machine.ordered(entry, "not JSON", self.now))
        assert self.settled[entry] == 1

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def showed_life(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(sorted(self.running)))
        self.alive.add(self.running[entry])
        self.machine.alive(entry, self.now)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=OUTCOMES)
    def ended(self, data: st.DataObject, outcome: Outcome) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.running))), outcome)

    def end(self, entry: str, outcome: Outcome) -> None:
        del self.running[entry]
        self.ending.discard(entry)
        self.perform(self.machine.ended(entry, outcome))

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def leases_lost(self, data: st.DataObject) -> None:
        entries = data.draw(st.sets(st.sampled_from(sorted(self.orders | self.stops))))
        self.lost |= entries & self.running.keys()
        self.lost_stops |= entries & self.stops.keys() & set(self.machine.leased)
        self.perform(self.machine.leases_lost(entries))

    @rule(passed=st.sampled_from([1, 100, 300, 2_000]))
    def time_passes(self, passed: int) -> None:
        self.now += passed
        self.perform(self.machine.tick(self.now))

    @rule()
    def drained(self) -> None:
        self.machine.drain()

    @rule()
    def given_back(self) -> None:
        self.machine.drain()
        self.perform(self.machine.give_back())
        assert self.ending == self.running.keys()

    # ------------------------------------------------------------- what holds

    @invariant()
    def never_more_than_its_slots(self) -> None:
        assert len(self.running) <= self.slots
        assert sorted(self.machine.held) == sorted(self.running)
        assert self.machine.free_slots >= 0

    @invariant()
    def each_order_is_settled_or_forgotten_once_when_it_is_over(self) -> None:
        for entry in self.orders:
            over = self.settled[entry] + self.forgotten[entry]
            assert over == (0 if entry in self.running else 1), entry
            assert self.started[entry] <= 1
            assert bool(self.forgotten[entry]) == (entry in self.lost and entry not in self.running)

    @invariant()
    def each_stop_is_leased_until_it_is_settled_once_and_answered(self) -> None:
        live = set(self.running.values())
        leased = set(self.machine.leased)
        for entry, stop in self.stops.items():
            assert (entry in leased) + self.settled[entry] + (entry in self.lost_stops) == 1, entry
            assert stop.token in live or entry not in leased
            assert stop.token in live or not self.owed[stop.token], "its slot would never become free"

    @invariant()
    def an_attempt_is_accepted_at_most_once(self) -> None:
        assert all(count <= 1 for count in self.accepted.values())

    @invariant()
    def the_beat_tells_the_truth(self) -> None:
        assert sorted(self.machine.beat(self.now, 0).running) == sorted(self.running.values())

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            for entry in sorted(self.running):
                self.end(entry, Outcome("failed", "lost"))
            self.each_order_is_settled_or_forgotten_once_when_it_is_over()
            self.each_stop_is_leased_until_it_is_settled_once_and_answered()
            assert self.machine.held == []
            assert self.machine.tick(10**12) == []
            assert self.machine.wake_at() is None


Sidecar.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSidecar = Sidecar.TestCase
