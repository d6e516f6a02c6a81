"""Whatever happens, in whatever order: the pool's invariants hold after every step, and in the end all settles."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from msgspec.structs import replace

from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.messages import Answer, Cordon, Drain, Requeue, Reset, Resume, Retry
from agentcom.model.task import Evidence, Outcome, Usage
from agentcom.settings import Policy
from tests.stories.pool import FakePool

NAMES = ["ash", "elm", "oak"]
POLICY = Policy(
    accept_s=20,
    beat_s=10,
    retry_delays_s=(0.0, 5.0, 30.0),
    max_attempts=3,
    max_handbacks=2,
    max_waits=2,
    breaker_s=40,
    self_test_s=30,
    rate_limit_s=30,
    livelock_requeues=5,
    retention_s=500,
    max_keys=3,
    max_parts=3,
    warm_wait_s=7,
    answer_s=200,
    input_holds_slot=True,
    costs_days=2,
)
RESULTS = ["completed", "failed", "canceled", "lost", "handed_back"]
ONE = Usage(output_tokens=1)
REASONS = [
    "",
    "exit_code",
    "wake_failed",
    "handed_back",
    "unfit",
    "refused",
    "lost",
    "canceled",
    "rate_limited",
    "auth_failed",
    "timeout",
    "verification_failed",
    "context_exhausted",
    "input_required",
    "budget_exceeded",
]
ENDS = st.builds(
    Outcome,
    result=st.sampled_from(RESULTS),
    reason=st.sampled_from(REASONS),
    summary=st.sampled_from(["", "half"]),
    usage=st.sampled_from([None, None, ONE]),
    evidence=st.sampled_from([None, None, Evidence(head_sha="b1", base_sha="a0")]),
    question=st.sampled_from(["", "", "which?"]),
    session=st.sampled_from(["", "s1"]),
)


class Pool(FakePool):
    """Agents of this pool change their number of slots while they work, which can leave them with too much."""

    def __init__(self) -> None:
        super().__init__(POLICY)
        self.most_slots: dict[str, int] = {}

    def max_slots(self, name, agent):
        return self.most_slots[name]


class AnyDay(RuleBasedStateMachine):
    """Submitters, agents, leaders and time, each doing what they like."""

    tasks = Bundle("tasks")
    sent = Bundle("sent")

    @initialize(target=tasks, slots=st.integers(1, 3))
    def begin(self, slots):
        self.pool = Pool()
        for name in ("ash", "elm"):
            self.arrive(name, slots, 2, "", 0)
        return multiple(*(self.pool.submit() for _ in range(4)))

    def running(self, pick):
        """One of the tasks that run, or none."""
        found = sorted(task for task in self.pool.open if self.pool.state(task) in RUNNING)
        return found[pick % len(found)] if found else None

    # ----------------------------------------------------------- submitters

    @rule(
        target=tasks,
        requires=st.sampled_from(["", "python", "python >= 2", "rust or python >= 3"]),
        priority=st.sampled_from(["urgent", "normal", "low"]),
        agent=st.sampled_from(["", "", "", "", "", "", *NAMES]),
        expires_s=st.sampled_from([0, 0, 0, 15, 100]),
        max_attempts=st.sampled_from([0, 1, 2]),
        key=st.sampled_from(["", "", "", "", "", "", "k1", "k2", "k3", "k4"]),
        context_tokens=st.sampled_from([0, 0, 500, 900]),
        budget_tokens=st.sampled_from([0, 0, 1, 2]),
    )
    def submit(self, **spec):
        task = self.pool.submit(**spec)
        return task if task in self.pool.records else multiple()

    @rule(
        target=tasks, after=st.lists(tasks, min_size=1, max_size=2), ring=st.sampled_from([False, False, False, True])
    )
    def submit_dependants(self, after, ring):
        first, second = self.pool.new_id(), self.pool.new_id()
        self.pool.submit_all(
            {"id": second, "text": "second", "after": [first]},
            {"id": first, "text": "first", "after": [*after, *([second] if ring else [])]},
        )
        return multiple(first, second)

    @rule(task=tasks, text=st.sampled_from(["do it", "something else"]))
    def submit_again(self, task, text):
        before = self.pool.records[task]
        self.pool.submit(text, id=task)
        assert self.pool.task(task).generation >= 0
        assert self.pool.records[task] == before or self.pool.state(task) not in ENDED

    @rule(task=tasks)
    def cancel(self, task):
        self.pool.cancel(task)

    @rule(task=tasks, more=st.sampled_from([0, 0, 1, 2]))
    def send_back(self, task, more):
        self.pool.ask(Retry(task=task, add_tokens=more))

    @rule(task=tasks, text=st.sampled_from(["this", "that"]), more=st.sampled_from([0, 2]))
    def answer(self, task, text, more):
        self.pool.ask(Answer(task=task, text=text, add_tokens=more))

    # --------------------------------------------------------------- agents

    @rule(
        name=st.sampled_from(NAMES),
        slots=st.integers(1, 3),
        python=st.integers(0, 3),
        accepts=st.sampled_from(["", "", "python", "not pinned"]),
        context=st.sampled_from([0, 1_000]),
    )
    def arrive(self, name, slots, python, accepts, context):
        self.pool.now += 1
        running = len(self.pool.agent_record(name).running) if name in self.pool.agents else 0
        self.pool.most_slots[name] = max(slots, running)
        self.pool.agent(name, slots=slots, accepts=accepts, context=context, python=python, rust=1)
        self.pool.most_slots[name] = max(slots, len(self.pool.agent_record(name).running))

    @rule(name=st.sampled_from(NAMES))
    def fall_silent(self, name):
        self.pool.silence(name)

    @rule(name=st.sampled_from(NAMES))
    def come_back(self, name):
        if name in self.pool.agents:
            incarnation = self.pool.agent_record(name).incarnation
            self.pool.beat(name, incarnation)
            if not self.pool.agent_record(name).left:
                self.pool.beating[name] = incarnation

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name):
        if name in self.pool.beating:
            self.pool.goodbye(name)

    @rule(name=st.sampled_from(NAMES))
    def obey(self, name):
        self.pool.obey(name)

    @rule(pick=st.integers(0, 99))
    def accept(self, pick):
        task = self.running(pick)
        if task is not None:
            self.pool.accept(task)

    @rule(task=tasks)
    def accept_whatever(self, task):
        if self.pool.task(task).attempts:
            self.pool.accept(task)

    @rule(pick=st.integers(0, 99), back=st.booleans())
    def goes_to_its_checks(self, pick, back):
        task = self.running(pick)
        if task is None or self.pool.where(task) not in self.pool.beating:
            return
        token, name = self.pool.token(task), self.pool.where(task)
        (self.pool.checking.discard if back else self.pool.checking.add)(token)
        self.pool.beat(name, self.pool.beating[name])

    @rule(target=sent, pick=st.integers(0, 99), outcome=ENDS)
    def finish(self, pick, outcome):
        task = self.running(pick)
        if task is None:
            return multiple()
        return self.pool.report(task, self.pool.token(task), self.pool.where(task), outcome)

    @rule(target=sent, task=tasks, data=st.data(), outcome=ENDS)
    def report_late(self, task, data, outcome):
        attempts = self.pool.task(task).attempts
        if not attempts:
            return multiple()
        attempt = data.draw(st.sampled_from(attempts))
        return self.pool.report(task, attempt.token, attempt.agent, outcome)

    @rule(sent=sent)
    def report_again(self, sent):
        before, agents, told = self.records_but_evidence(), dict(self.pool.agents), len(self.pool.journal)
        self.pool.put("reports", sent)
        if "late" in [line.trigger for line in self.pool.journal[told:]]:
            return  # its task was sent back meanwhile, and no newer attempt was made: it is as good as any
        assert (before, agents) == (self.records_but_evidence(), self.pool.agents)

    def records_but_evidence(self):
        records = [self.pool.task(task) for task in self.pool.records]
        return [replace(r, attempts=[replace(attempt, late=None) for attempt in r.attempts]) for r in records]

    @rule(task=tasks, other=tasks, agent=st.sampled_from(NAMES))
    def report_of_a_stranger(self, task, other, agent):
        attempts = self.pool.task(other).attempts
        if not attempts or (task == other and agent == attempts[-1].agent):
            return
        records = dict(self.pool.records)
        self.pool.report(task, attempts[-1].token + ("" if task != other else "x"), agent, Outcome("completed"))
        assert records == self.pool.records

    # ------------------------------------------------------ leaders and time

    @rule()
    def restart(self):
        self.pool.restart()

    @rule(name=st.sampled_from(NAMES))
    def die(self, name):
        self.pool.silence(name)
        self.pool.advance(31)
        self.pool.sweep()

    @rule(task=tasks, again=tasks)
    def much_in_one_commit_of_a_leader_who_dies(self, task, again):
        with self.pool.one_commit():
            self.pool.cancel(task)
            self.pool.retry(again)
            self.pool.retry(task)
            self.pool.submit(after=[again])
            self.pool.restart()

    @rule(seconds=st.sampled_from([0.5, 5, 21, 40, 150]))
    def time_passes(self, seconds):
        self.pool.advance(seconds)

    @rule(name=st.sampled_from(NAMES), kind=st.sampled_from([Cordon, Drain, Resume, Reset]))
    def a_person_asks(self, name, kind):
        self.pool.ask(kind(agent=name))

    @rule(task=tasks)
    def requeue(self, task):
        self.pool.ask(Requeue(task=task))

    @rule(name=st.sampled_from(NAMES), problem=st.sampled_from([(), ("no disk",)]))
    def test_finds(self, name, problem):
        self.pool.problems[name] = problem

    @rule(name=st.sampled_from(NAMES), token=st.sampled_from(["", "9.x"]), deaf=st.booleans())
    def lies(self, name, token, deaf):
        self.pool.says[name] = {token: self.pool.new_id()} if token else {}
        if deaf:
            self.pool.deaf.add(name)

    @rule()
    def sweep(self):
        self.pool.sweep()

    # ------------------------------------------------------------- judgement

    @invariant()
    def holds(self):
        if hasattr(self, "pool"):
            self.pool.judge()

    def teardown(self):
        """Invariants 2 and 7: once the faults end, every task does, within a bounded time."""
        if not hasattr(self, "pool"):
            return
        pool = self.pool
        pool.says.clear()
        pool.deaf.clear()
        pool.problems.clear()
        for name in (*NAMES, "zeb"):
            pool.now += 1
            pool.ask(Resume(agent=name))
            pool.most_slots[name] = 99
            pool.agent(name, slots=9, python=9, rust=9)
        for _ in range(12):
            for name in NAMES:
                pool.obey(name)
            for task in list(pool.open):
                if pool.state(task) in RUNNING:
                    pool.finish(task)
                elif pool.state(task) == "input_required":
                    pool.ask(Retry(task=task, add_tokens=100 if pool.task(task).spec.budget_tokens else 0))
            pool.advance(61)
            pool.sweep()
        assert {pool.state(task) for task in pool.records} <= ENDED


TestAnyDay = AnyDay.TestCase
TestAnyDay.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
