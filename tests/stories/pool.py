"""A pool without Redis: performs commits on dicts as Redis would, plays the agents, and judges after every commit
whether design.md section 4 still holds. Everything that it knows survives its leader, who can be replaced at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from agentcom.ids import IdMaker
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.codec import (
    decode_agent,
    decode_carried,
    decode_costs,
    decode_order,
    decode_record,
    decode_report,
    decode_request,
    encode,
)
from agentcom.model.commit import Commit
from agentcom.model.costs import TOTAL, Costs, day_and_agent, sane
from agentcom.model.lifecycle import ENDED, RUNNING, allowed
from agentcom.model.messages import (
    Accepted,
    AnyRequest,
    Ask,
    Assign,
    Beat,
    Cancel,
    DeadLetter,
    Finished,
    Goodbye,
    Hello,
    Line,
    Refusal,
    Retry,
    SelfTest,
    Stop,
)
from agentcom.model.task import Outcome, ReadRecord
from agentcom.scheduler.assignment import warm_agent
from agentcom.scheduler.core import Core
from agentcom.scheduler.events import Beaten, Emptied, Malformed, Reclaimed, Reported, Requested
from agentcom.scheduler.explain import obstacles
from agentcom.scheduler.work import Demands, make_work
from agentcom.settings import Policy

CALM = Policy(retry_jitter=0.0, breaker_failures=1_000)
"""For stories that are not about the breaker, and count milliseconds."""

START = 1_700_000_000_000
BEAT_EVERY_MS = 15_000


class FakePool:
    """The store, the agents' machines and the judge, around one `Core` at a time.

    Args:
        policy: the pool's policy.
        reload: replace the leader after every commit.
        judging: check the invariants after every commit; off where the pool is too large for that.
    """

    def __init__(self, policy: Policy | None = None, *, reload: bool = False, judging: bool = True) -> None:
        self.policy = policy or CALM
        self.reload = reload
        self.judging = judging
        self.now = START
        self.records: dict[str, bytes] = {}
        self.open: dict[str, int] = {}
        self.agents: dict[str, bytes] = {}
        self.keys: dict[str, str] = {}
        self.costs: dict[str, bytes] = {}
        self.signs: dict[str, str] = {}
        self.requeued: tuple[int, ...] = ()
        self.admitted = 0
        self.orders: dict[str, dict[str, bytes]] = {}
        self.journal: list[Line] = []
        self.refused: dict[str, list[Refusal]] = {}
        self.dead: list[DeadLetter] = []
        self.commits: list[bytes] = []
        self.commits_refused = 0
        self.beating: dict[str, str] = {}
        self.deaf: set[str] = set()
        """Agents that do not obey `Ask` and `Stop` by themselves while time passes."""
        self.says: dict[str, dict[str, str]] = {}
        """What an agent's beats name, where that is not the truth."""
        self.checking: set[str] = set()
        self.preparing: set[str] = set()
        """Tokens of attempts whose work is being checked, as beats say."""
        self.problems: dict[str, tuple[str, ...]] = {}
        self.damage: dict[str, str] = {}
        """What an agent's self-tests find."""
        self._beats = 0
        self._state_of: dict[str, str] = {}
        self._used: dict[str, int] = {}
        """By token, the most that was said to have been written in that attempt."""
        self._outcomes: Counter[str] = Counter()
        self._count = 0
        self._random = 0
        self._make_id = IdMaker(lambda: self.now, self._bytes).make
        self._unread: list[tuple[str, str, bytes]] = []
        self._holding = False
        self._distrust_ids = False
        self.core = self._load()

    # --------------------------------------------------------------- leader

    def restart(self) -> None:
        """Another leader takes over: all that the old one had not committed is read again from the streams."""
        self._load_and_read_again()
        self._settle()

    def _load_and_read_again(self) -> None:
        unread, self._unread = self._unread, []
        self.core = self._load()
        for stream, entry, body in unread:
            self._read(stream, entry, body)

    def _load(self) -> Core:
        core = Core(self.policy, self._nonce)
        core.load_agents([decode_agent(body) for body in self.agents.values()], self.now)
        core.load_keys(self.keys)
        core.load_costs({field: decode_costs(body) for field, body in self.costs.items()})
        core.load_signs(self.signs, self.requeued, self.now)
        core.load_admitted(self.admitted)
        ids = sorted(self.open, key=lambda task: (self.open[task], task))
        core.load_tasks([decode_carried(self.records[task]) for task in ids if task in self.records], self.now)
        core.drop_unreadable([task for task in ids if task not in self.records], self.now)
        return core

    @contextmanager
    def one_commit(self) -> Iterator[None]:
        """All that happens inside is read and decided before anything is written."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        self._settle()

    def _settle(self) -> None:
        if not self._holding:
            self.commit()

    def commit(self) -> Commit:
        """Let the core decide, and perform what it wants written. A refused commit is not refused a second time."""
        commit = self.core.take(self.now)
        if any(task in self.records for task in commit.new):
            self.commits_refused += 1
            self._distrust_ids = True
            self._load_and_read_again()
            self._distrust_ids = False
            commit = self.core.take(self.now)
        self._write(commit)
        self._unread.clear()
        if self.judging:
            self.judge()
        if self.reload:
            self.core = self._load()
        return commit

    def _write(self, commit: Commit) -> None:
        assert not [task for task in commit.new if task in self.records], "the commit is refused time after time"
        assert len(set(commit.new)) == len(commit.new), "a record is made twice"
        self.commits.append(encode(commit))
        for task, record in commit.records.items():
            self.records[task] = encode(record)
        for order in commit.orders:
            self.orders.setdefault(order.agent, {})[self._entry()] = order.body
        closed = set(commit.closed)
        self.open |= {task: seq for task, seq in commit.opened if task not in closed}
        for task in closed:
            self.open.pop(task, None)
        for agent, entry in commit.settled:
            self.orders.get(agent, {}).pop(entry, None)
        for name, agent_record in commit.agents.items():
            if agent_record is None:
                self.agents.pop(name, None)
                self.orders.pop(name, None)
            else:
                self.agents[name] = encode(agent_record)
        for key, value in commit.keys.items():
            if value is None:
                self.keys.pop(key, None)
            else:
                self.keys[key] = value
        for field, spent in commit.costs.items():
            if spent is None:
                self.costs.pop(field, None)
            else:
                self.costs[field] = encode(spent)
        self.admitted = commit.admitted or self.admitted
        self.requeued = self.requeued if commit.requeued is None else commit.requeued
        for sign, value in commit.signs.items():
            if value is None:
                self.signs.pop(sign, None)
            else:
                self.signs[sign] = value
        for refusal in commit.refusals:
            self.refused[refusal.entry] = refusal.refusals
        self.dead += commit.dead
        self.journal += commit.lines
        for line in commit.lines:
            self._follow(line)

    # -------------------------------------------------------------- streams

    def put(self, stream: str, body: bytes) -> str:
        """An entry is added to the inbox or the reports, and read."""
        entry = self._entry()
        self._read(stream, entry, body)
        self._settle()
        return entry

    def _read(self, stream: str, entry: str, body: bytes) -> None:
        """As the service does: decode, look up, apply."""
        self._unread.append((stream, entry, body))
        if stream == "reports":
            report = decode_report(body)
            event = Malformed(entry, stream, report) if isinstance(report, str) else Reported(entry, report)
            self.core.apply(event, self.now)
            return
        request = decode_request(body)
        if isinstance(request, str):
            self.core.apply(Malformed(entry, stream, request), self.now)
            return
        wanted = self.core.lookups(request, 0 if self._distrust_ids else self.now)
        found = {task: decode_carried(self.records[task]) for task in wanted if task in self.records}
        self.core.apply(Requested(entry, request, found), self.now)

    # ------------------------------------------------------------ submitters

    def submit_all(self, *tasks: dict[str, Any]) -> str:
        """A submission of these specs, as JSON; its inbox entry."""
        return self.put("inbox", json.dumps({"type": "submit", "tasks": tasks}).encode())

    def submit(self, text: str = "do it", **spec: Any) -> str:
        """Submit one task; its id."""
        task = spec.pop("id", None) or self.new_id()
        self.submit_all({"id": task, "text": text, **spec})
        return task

    def cancel(self, task: str, why: str = "") -> str:
        """Ask for a task to be canceled; the inbox entry."""
        return self.put("inbox", encode(Cancel(task=task, why=why)))

    def retry(self, task: str) -> str:
        """Send a task back; the inbox entry."""
        return self.ask(Retry(task=task))

    def ask(self, request: AnyRequest) -> str:
        """A person asks for something; the inbox entry."""
        return self.put("inbox", encode(request))

    def why_refused(self, entry: str) -> list[str]:
        """What the sender of this entry reads."""
        return [refusal.reason for refusal in self.refused.get(entry, [])]

    # --------------------------------------------------------------- agents

    def agent(self, name: str, *, slots: int = 1, accepts: str = "", context: int = 0, **attributes: Any) -> str:
        """A sidecar starts: it says hello, and beats from now on. Its incarnation."""
        self._count += 1
        incarnation = f"sc-{self.now:013d}-{self._count:06d}"
        self.hello(name, incarnation, Card(slots=slots, accepts=accepts, context_tokens=context, attributes=attributes))
        self.beating[name] = incarnation
        return incarnation

    def hello(self, name: str, incarnation: str, card: Card) -> None:
        """Report hello, whoever says it."""
        test = self._self_test(name)
        self.put("reports", encode(Hello(agent=name, incarnation=incarnation, card=card, test=test)))

    def silence(self, name: str) -> None:
        """The agent's machine is cut off or dead: no beats any more."""
        self.beating.pop(name, None)

    def beat(self, name: str, incarnation: str) -> None:
        """A beat is heard, that names what the agent really has, or says to have."""
        self._beats += 1
        running = self.says.get(name, self.runs(name))
        beat = Beat(
            agent=name,
            incarnation=incarnation,
            count=self._beats,
            at=self.now,
            state="working" if running else "idle",
            running=running,
            preparing=tuple(sorted(self.preparing & running.keys())),
            verifying=tuple(sorted(self.checking & running.keys())),
            test=self._self_test(name),
        )
        self.core.apply(Beaten(beat, self.now - int(self.policy.beat_s * 500)), self.now)
        self._settle()

    def runs(self, name: str) -> dict[str, str]:
        """What the agent really has, by token."""
        orders = (decode_order(body) for body in self.orders.get(name, {}).values())
        return {order.token: order.task for order in orders if isinstance(order, Assign)}

    def _self_test(self, name: str) -> SelfTest:
        every_ms = int(self.policy.self_test_s * 1000)
        made = (self.now - START) // every_ms
        return SelfTest(
            count=1 + made,
            at=START + made * every_ms,
            problems=self.problems.get(name, ()),
            damage=self.damage.get(name, ""),
        )

    def goodbye(self, name: str) -> None:
        """The sidecar stops in good order, all that it held being over."""
        incarnation = self.beating.pop(name)
        self.put("reports", encode(Goodbye(agent=name, incarnation=incarnation)))

    def accept(self, task: str, token: str | None = None, agent: str | None = None) -> None:
        """The agent shows life on a task's latest attempt, or the given one."""
        attempt = self.task(task).attempts[-1]
        report = Accepted(agent=agent or attempt.agent, incarnation="", task=task, token=token or attempt.token)
        self.put("reports", encode(report))

    def finish(
        self, task: str, result: str = "completed", reason: str = "", *, token: str | None = None, agent: str = ""
    ) -> None:
        """An attempt ends, the latest unless a token says otherwise: its order is settled and the end reported."""
        attempt = self.task(task).attempts[-1]
        self.report(task, token or attempt.token, agent or attempt.agent, Outcome(result, reason))  # type: ignore[arg-type]

    def report(self, task: str, token: str, agent: str, outcome: Outcome) -> bytes:
        """A sidecar reports an end; what it sent, so that it can be sent again."""
        held = self.orders.get(agent, {})
        for entry, body in list(held.items()):
            order = decode_order(body)
            if isinstance(order, Assign) and order.token == token:
                del held[entry]
        if outcome.usage is not None:
            self._used[token] = max(self._used.get(token, 0), sane(outcome.usage).output_tokens)
        sent = encode(Finished(agent=agent, incarnation="", task=task, token=token, outcome=outcome))
        self.put("reports", sent)
        return sent

    def obey(self, name: str) -> None:
        """The sidecar ends what it was told to stop, and says so."""
        for entry, body in list(self.orders.get(name, {}).items()):
            order = decode_order(body)
            if isinstance(order, Stop):
                self.orders[name].pop(entry, None)
                self.report(order.task, order.token, name, Outcome("canceled", "canceled"))

    def answer(self, name: str) -> None:
        """The sidecar says what it knows of attempts that it is asked for."""
        for entry, body in list(self.orders.get(name, {}).items()):
            order = decode_order(body)
            if isinstance(order, Ask):
                self.orders[name].pop(entry, None)
                if order.token not in self.runs(name):
                    self.report(order.task, order.token, name, Outcome("lost", "lost", "not here"))

    def sweep(self) -> None:
        """The scheduler takes orders back from silent agents, and then sees that none is left."""
        for name in self.core.silent_holders():
            for entry, body in list(self.orders.get(name, {}).items()):
                order = decode_order(body)
                self.core.apply(Reclaimed(name, entry, order.token if isinstance(order, Assign) else ""), self.now)
        self.commit()
        for name in self.core.silent_holders():
            if not self.orders.get(name):
                self.core.apply(Emptied(name), self.now)
        self.commit()

    # ----------------------------------------------------------------- time

    def advance(self, seconds: float) -> None:
        """Time passes; the core is called whenever it asked for it, and agents beat."""
        until = self.now + int(seconds * 1000)
        while self.now < until:
            wake_at = self.core.wake_at()
            due = min(until, self.now + BEAT_EVERY_MS, wake_at if wake_at is not None else until)
            self.now = max(self.now + 1, due)
            with self.one_commit():
                for name, incarnation in self.beating.items():
                    self.beat(name, incarnation)
            for name in self.beating.keys() - self.deaf:
                self.answer(name)

    # ---------------------------------------------------------------- looks

    def new_id(self) -> str:
        """An id as a client would make it now."""
        return self._make_id()

    def task(self, task: str) -> ReadRecord:
        """The record of a task."""
        return decode_record(self.records[task])

    def state(self, task: str) -> str:
        """The state of a task."""
        return self.task(task).state

    def states(self, *tasks: str) -> list[str]:
        """The states of these tasks."""
        return [self.state(task) for task in tasks]

    def where(self, task: str) -> str:
        """The agent of a task's latest attempt; empty before the first."""
        attempts = self.task(task).attempts
        return attempts[-1].agent if attempts else ""

    def token(self, task: str) -> str:
        """The token of a task's latest attempt."""
        return self.task(task).attempts[-1].token

    def agent_record(self, name: str) -> AgentRecord:
        """The record of an agent."""
        return decode_agent(self.agents[name])

    def order(self, task: str) -> Assign:
        """What the agent of a task's latest attempt was told with it."""
        orders = [decode_order(body) for body in self.orders[self.where(task)].values()]
        return next(order for order in orders if isinstance(order, Assign) and order.token == self.token(task))

    def end(self, task: str, outcome: Outcome) -> None:
        """The latest attempt ends with this outcome."""
        self.report(task, self.token(task), self.where(task), outcome)

    def cost(self, field: str = TOTAL) -> Costs:
        """What is kept in this field of the hash of costs."""
        return decode_costs(self.costs[field])

    def assigned(self) -> list[str]:
        """Ids of tasks in the order in which they were assigned."""
        return [line.task for line in self.journal if line.what == "task" and line.after == "assigned"]

    def stops(self, name: str) -> list[Stop]:
        """What the agent has been told to stop and has not answered yet."""
        orders = (decode_order(body) for body in self.orders.get(name, {}).values())
        return [order for order in orders if isinstance(order, Stop)]

    def refusals_in_journal(self) -> list[str]:
        """What the journal says of requests and reports that changed nothing."""
        return [line.detail for line in self.journal if line.what == "refused"]

    # ---------------------------------------------------------------- judge

    def _follow(self, line: Line) -> None:
        """Invariants 1 and 3: every step is one of the table's, and begins where the last one ended."""
        if line.what != "task":
            return
        known = self._state_of.get(line.task, "submitted")
        assert line.before == known, f"{line} does not begin at {known}"
        assert allowed(line.before, line.after), line  # type: ignore[arg-type]
        if line.before in ENDED:
            assert line.trigger == "retry", line
        self._state_of[line.task] = line.after
        self._outcomes[line.task] += line.after == "completed"
        assert self._outcomes[line.task] <= 1, line

    def judge(self) -> None:
        """Invariants 1, 2, 3, 5, 6 and 8, on what is stored; and that nobody waits without need."""
        records = {task: decode_record(body) for task, body in self.records.items()}
        agents = {name: decode_agent(body) for name, body in self.agents.items()}
        held = {token: name for name, agent in agents.items() for token in agent.running}
        assert sum(len(agent.running) for agent in agents.values()) == len(held), "a token is held twice"
        should_be_open = set()
        for task, record in records.items():
            assert self._state_of[task] == record.state, "the journal tells another story than the record"
            self._judge_record(task, record, agents)
            token = record.attempts[-1].token if record.attempts else ""
            if record.state not in ENDED or token in held:
                should_be_open.add(task)
        assert set(self.open) == should_be_open
        for name, agent in agents.items():
            self._judge_agent(name, agent)
        assert len(self.keys) <= self.policy.max_keys
        assert self.core.open_tasks == len(self.open)
        assert self.core.spec_bytes == sum(len(memoryview(decode_carried(self.records[t]).spec)) for t in self.open)
        waiting = [record for record in records.values() if record.state == "queued"]
        assert self.core.waiting() == len(waiting)
        self._judge_waiting(waiting, agents)
        self._judge_costs()

    def _judge_record(self, task: str, record: ReadRecord, agents: dict[str, AgentRecord]) -> None:
        if record.state in RUNNING:
            attempt = record.attempts[-1]
            assert agents[attempt.agent].running.get(attempt.token) == task, "it runs, but nobody holds its token"
            assert attempt.outcome is None
        generations = [attempt.generation for attempt in record.attempts]
        assert generations == sorted(set(generations))
        assert record.handbacks <= self.policy.max_handbacks
        assert record.waits <= self.policy.max_waits
        cap = record.spec.max_attempts or self.policy.max_attempts
        counted = record.counted - record.granted
        assert counted <= max(cap, 0), "more attempts than the cap"
        assert (record.state in ENDED) == bool(record.ended_at)
        if record.state == "blocked":
            assert record.waiting_for
            assert all(other in self.open for other in record.waiting_for), "it waits for what will never come"

    def _judge_agent(self, name: str, agent: AgentRecord) -> None:
        orders = [decode_order(body) for body in self.orders.get(name, {}).values()]
        given = [order.token for order in orders if isinstance(order, Assign)]
        assert len(set(given)) == len(given)
        stopped = {order.token for order in orders if isinstance(order, Stop)}
        assert set(given) - stopped <= set(agent.running), "an order that the agent's record does not know"
        assert len(agent.running) <= self.max_slots(name, agent), "more work than slots"
        for task in agent.reserved:
            record = self.task(task)
            assert (record.state, record.attempts[-1].agent) == ("input_required", name), "a slot is kept for nothing"

    def max_slots(self, name: str, agent: AgentRecord) -> int:
        """How much work an agent may have at most."""
        return agent.card.slots

    def _judge_costs(self) -> None:
        """What is kept of costs adds up, and nothing of it is counted twice."""
        costs = {field: decode_costs(body) for field, body in self.costs.items()}
        fields = {field: day_and_agent(field) for field in costs if field != TOTAL}
        days = {day for day, _ in fields.values()}
        assert len(days) <= self.policy.costs_days
        for day in days:
            agents = Costs()
            for field in (field for field, (of, agent) in fields.items() if of == day and agent):
                agents.add(costs[field])
            assert replace(agents, seconds=0) == replace(costs[day], seconds=0), "a day is not the sum of its agents"
        assert costs.get(TOTAL, Costs()).usage.output_tokens <= sum(self._used.values()), "counted twice"

    def _judge_waiting(self, waiting: list[ReadRecord], agents: dict[str, AgentRecord]) -> None:
        """Whoever is free and could do a waiting task has no right to be free."""
        online = [agent for agent in agents.values() if agent.in_service]
        warm_ms = int(self.policy.warm_wait_s * 1000)
        if not any(agent.free_slots for agent in online):
            return
        demands = Demands()
        for record in waiting:
            demand = demands.of(record.spec)
            avoid = make_work(record, record.spec, demand, 1, 1.0).avoid  # type: ignore[arg-type]
            able = [agent for agent in online if not obstacles(demand, agent)]
            free = [agent.name for agent in able if agent.free_slots]
            if not demand.agent and any(agent.name not in avoid for agent in able):
                free = [name for name in free if name not in avoid]
            if self.now < record.ready_at + warm_ms:
                warm = warm_agent(record)  # type: ignore[arg-type]
                free = [name for name in free if name == warm or not warm]
            assert not free, f"{record.spec.id} waits although {free} could do it"

    # -------------------------------------------------------------- private

    def _entry(self) -> str:
        self._count += 1
        return f"{self.now}-{self._count}"

    def _bytes(self, length: int) -> bytes:
        self._random += 1
        return hashlib.sha256(str(self._random).encode()).digest()[:length]

    def _nonce(self) -> str:
        return self._bytes(8).hex()
