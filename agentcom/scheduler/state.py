"""What the scheduler knows, and the commit it is putting together. Every change goes through the methods here, so
that nothing is changed in memory that is not also written, journalled and indexed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Literal

from msgspec.structs import replace

from agentcom.model.agent import Activity, AgentRecord, Link
from agentcom.model.codec import encode
from agentcom.model.commit import Commit, OrderOut, RefusalOut
from agentcom.model.costs import Costs
from agentcom.model.lifecycle import ENDED, RUNNING, TaskState, allowed
from agentcom.model.messages import Ask, DeadLetter, Line, Refusal, Stop
from agentcom.scheduler.accounts import Accounts
from agentcom.scheduler.livelock import Livelock
from agentcom.scheduler.matching import Matcher
from agentcom.scheduler.work import Demands, Work
from agentcom.settings import Policy

TimerKind = Literal["retry", "accept", "expire", "hold", "answer", "link", "forget", "health", "livelock"]
Timer = tuple[int, int, TimerKind, str, int]
"""When, a tie-breaker, what, of which task or agent, and what it is about: a task's generation, a link's `since_at`."""

OF_TASKS: frozenset[TimerKind] = frozenset({"retry", "accept", "expire", "hold", "answer"})

TIMERS_LEAST = 10_000
"""With fewer, none is looked for that does not matter any more."""

MAX_NAMED = 64
"""An id is shorter; of whatever else was sent as one, so much is repeated to its sender and the journal."""

ENDED_REMEMBERED = 50_000
"""Ids of tasks that ended under this leader, so that sending them again needs no look-up."""


class Suspicion:
    """Where an agent's last beat and its record differed. One beat proves nothing: what it says may be on its way."""

    __slots__ = ("asked", "stopped", "strangers", "told")

    def __init__(self) -> None:
        self.asked: set[str] = set()
        """Tokens of the record that the beat did not name; their outcomes were asked for."""
        self.stopped: set[str] = set()
        """Those of them that were given up, and were told to stop should they run after all."""
        self.told: set[str] = set()
        """Tokens that were told to stop, and that its beats still name."""
        self.strangers: set[str] = set()
        """Tokens that the beat named and the record did not."""


class State:
    """The scheduler's memory: open tasks, agents, keys, timers, and the commit under construction."""

    def __init__(self, policy: Policy, nonce: Callable[[], str]) -> None:
        self.policy = policy
        self.nonce = nonce
        self.demands = Demands()
        self.matcher = Matcher(int(policy.retry_age_s * 1000))
        self.tasks: dict[str, Work] = {}
        self.dependants: dict[str, set[str]] = {}
        self.agents: dict[str, AgentRecord] = {}
        self.keys: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self.ended: OrderedDict[str, None] = OrderedDict()
        self.ended_forgotten = ""
        self.spec_bytes = 0
        self.seq = 0
        self.used = 0
        self.livelock = Livelock(policy.livelock_requeues, int(policy.livelock_s * 1000))
        self.accounts = Accounts(policy.costs_days)
        self.suspicions: dict[str, Suspicion] = {}
        self.commit = Commit()
        self._timers: list[Timer] = []
        self._timers_bound = TIMERS_LEAST
        self._timer_count = 0

    # --------------------------------------------------------------- tasks

    def hold(self, work: Work) -> None:
        """Keep an open task in memory."""
        self.tasks[work.id] = work
        self.spec_bytes += len(memoryview(work.record.spec))
        for other in work.record.waiting_for:
            self.dependants.setdefault(other, set()).add(work.id)
        if work.record.expires_at:
            self.set_timer(work.record.expires_at, "expire", work.id)

    def move(self, work: Work, after: TaskState, now: int, trigger: str, *, reason: str = "", detail: str = "") -> None:
        """Change a task's state, journal it, and close it where nothing holds it open any more."""
        record = work.record
        before = record.state
        assert allowed(before, after), f"the lifecycle has no step from {before} to {after}"
        record.state = after
        record.changed_at = now
        record.reason = reason
        record.detail = detail
        if before == "queued":
            self.matcher.forget(work)
        elif before == "input_required":
            self._has_been_helped(work)
        if after in ENDED:
            record.ended_at = now
            for other in record.waiting_for:
                self.dependants.get(other, set()).discard(work.id)
            record.waiting_for = ()
        self.commit.records[work.id] = record
        self.journal_task(work, before, after, now, trigger)
        if after in ENDED:
            self.close_if_done(work)

    def close_if_done(self, work: Work) -> None:
        """Forget an ended task, unless its last attempt still occupies an agent's slot."""
        if work.record.state not in ENDED or self.holder_of(work) is not None:
            return
        if self.tasks.pop(work.id, None) is not None:
            self.spec_bytes -= len(memoryview(work.record.spec))
            self.commit.closed.append(work.id)
            self.remember_ended(work.id)

    def holder_of(self, work: Work) -> AgentRecord | None:
        """The agent that its latest attempt still occupies a slot of."""
        if not work.record.attempts:
            return None
        agent = self.agents.get(work.record.attempts[-1].agent)
        return agent if agent is not None and work.token in agent.running else None

    def awaited(self, task: str, token: str) -> Work | None:
        """The open task whose end this attempt is to bring; none if it waits for another attempt, or for none."""
        work = self.tasks.get(task)
        return work if work is not None and work.token == token and work.record.state in RUNNING else None

    def remember_ended(self, task: str) -> None:
        """Sending this task again changes nothing, and needs no look-up."""
        self.ended[task] = None
        if len(self.ended) > ENDED_REMEMBERED:
            oldest, _ = self.ended.popitem(last=False)
            self.ended_forgotten = max(self.ended_forgotten, oldest)

    # -------------------------------------------------------------- agents

    def save_agent(self, agent: AgentRecord) -> None:
        """Write an agent's record with this commit, and let matching know."""
        self.commit.agents[agent.name] = agent
        self.matcher.update(agent)

    def set_link(self, agent: AgentRecord, link: Link, now: int, trigger: str) -> None:
        """Change whether an agent is heard from, and journal it."""
        if agent.link == link:
            return
        self.journal(Line(now, "agent", trigger, agent.link, link, agent=agent.name, axis="link"))
        agent.link = link
        agent.since_at = now
        if link == "offline":
            agent.reserved = ()
            self.set_activity(agent, "unknown", now, trigger)
        self.save_agent(agent)

    def set_activity(self, agent: AgentRecord, activity: Activity, now: int, trigger: str) -> None:
        """Change what an agent is known to do, and journal it."""
        if agent.activity == activity:
            return
        self.journal(Line(now, "agent", trigger, agent.activity, activity, agent=agent.name, axis="activity"))
        agent.activity, agent.activity_at = activity, now
        self.save_agent(agent)

    def end(self, work: Work, now: int, *, told: bool = True, completed: bool = False) -> None:
        """Its latest attempt is over, and counted as such, with what was sent about it.

        Args:
            work: the task.
            now: the time.
            told: its agent reported that, and so has worked on it until now.
            completed: the attempt completed its task.
        """
        attempt = work.record.attempts[-1]
        attempt.ended_at = now
        began_at = attempt.accepted_at or (attempt.assigned_at if told else now)
        messages = 1 + bool(attempt.accepted_at) + told
        self.accounts.ended(attempt.agent, completed, messages, max(0, now - began_at) / 1000)
        self.commit.records[work.id] = work.record

    def release(self, agent: AgentRecord, token: str, now: int) -> None:
        """Free the slot that this attempt occupied, if it still does."""
        task = agent.running.pop(token, None)
        if task is not None:
            if agent.draining and not agent.running:
                self.journal(Line(now, "agent", "drained", agent.health, agent.health, agent=agent.name))
            self.save_agent(agent)
            held = self.tasks.get(task)
            if held is not None:
                last = held.record.attempts[-1]
                if last.token == token and not last.ended_at:
                    self.end(held, now, told=False)
                self.close_if_done(held)

    def reserve(self, work: Work) -> None:
        """Keep the slot of the agent that made its last attempt, if that is there, until a person has helped it on."""
        agent = self.agents.get(work.record.attempts[-1].agent)
        if agent is not None and agent.link != "offline" and not (agent.cordoned or agent.draining):
            agent.reserved = (*agent.reserved, work.id)
            self.save_agent(agent)

    def keeper_of(self, work: Work) -> AgentRecord | None:
        """The agent that keeps a slot for it."""
        agent = self.agents.get(work.record.attempts[-1].agent) if work.record.attempts else None
        return agent if agent is not None and work.id in agent.reserved else None

    def _has_been_helped(self, work: Work) -> None:
        """It does not wait for a person any more."""
        work.record.answer_by = 0
        keeper = self.keeper_of(work)
        if keeper is not None:
            keeper.reserved = tuple(task for task in keeper.reserved if task != work.id)
            self.save_agent(keeper)

    def stale_ms(self, agent: AgentRecord) -> int:
        """For how long an agent may be silent."""
        return int(agent.card.beat_s * self.policy.stale_beats * 1000)

    # ---------------------------------------------------------------- keys

    def remember_key(self, key: str, task: str, now: int) -> None:
        """Bind an idempotency key to a task; the oldest keys make room."""
        self.keys[key] = (task, now)
        self.commit.keys[key] = f"{task}@{now}"
        self._forget_keys(now)

    def task_of_key(self, key: str, now: int) -> str:
        """The task that this idempotency key is bound to; empty if there is none any more."""
        self._forget_keys(now)
        return self.keys[key][0] if key in self.keys else ""

    def _forget_keys(self, now: int) -> None:
        while self.keys and self._key_has_gone(now):
            old, _ = self.keys.popitem(last=False)
            self.commit.keys[old] = None

    def _key_has_gone(self, now: int) -> bool:
        _, at = next(iter(self.keys.values()))
        return len(self.keys) > self.policy.max_keys or now - at > self.policy.key_retention_s * 1000

    # -------------------------------------------------------------- output

    def order(self, agent: str, body: bytes) -> None:
        """Send an order with this commit."""
        self.commit.orders.append(OrderOut(agent, body))

    def remind(self, agent: str, order: Stop | Ask) -> None:
        """Tell an agent something more about an attempt, with this commit."""
        self.order(agent, encode(order))
        self.accounts.add(agent, Costs(messages=1))

    def refuse(self, entry: str, now: int, refusals: Iterable[Refusal]) -> None:
        """Tell the sender of an inbox entry, and the journal, what was not taken on and why."""
        listed = [replace(refusal, task=refusal.task[:MAX_NAMED]) for refusal in refusals]
        if listed:
            self.commit.refusals.append(RefusalOut(entry, listed))
        for refusal in listed:
            self.journal(Line(now, "refused", "request", task=refusal.task, detail=refusal.reason, entry=entry))

    def journal(self, line: Line) -> None:
        """Add a line to the journal with this commit."""
        self.commit.lines.append(line)

    def journal_task(self, work: Work, before: str, after: str, now: int, trigger: str) -> None:
        """Add a line about a task to the journal."""
        record = work.record
        agent = record.attempts[-1].agent if record.attempts else ""
        self.journal(
            Line(
                now,
                "task",
                trigger,
                before,
                after,
                work.id,
                record.generation,
                agent,
                record.reason,
                record.detail,
            )
        )

    def bury(self, letter: DeadLetter) -> None:
        """Add a dead letter with this commit."""
        self.commit.dead.append(letter)

    def take_commit(self) -> Commit:
        """The commit put together so far; a new one is begun."""
        taken, self.commit = self.commit, Commit()
        taken.costs = self.accounts.take()
        taken.requeued = self.livelock.take()
        return taken

    # -------------------------------------------------------------- timers

    def set_timer(self, at: int, kind: TimerKind, subject: str, generation: int = 0) -> None:
        """Ask to be called at this time; whoever is called checks whether it still matters."""
        self._timer_count += 1
        heappush(self._timers, (at, self._timer_count, kind, subject, generation))
        if len(self._timers) > self._timers_bound:
            self._drop_idle_timers()

    def _drop_idle_timers(self) -> None:
        """What was to expire in a month, and ended within a minute, is not remembered for a month."""
        self._timers = [timer for timer in self._timers if self._may_matter(timer)]
        heapify(self._timers)
        self._timers_bound = max(TIMERS_LEAST, 2 * len(self._timers))

    def _may_matter(self, timer: Timer) -> bool:
        _, _, kind, subject, began = timer
        if kind in OF_TASKS:
            return subject in self.tasks
        agent = self.agents.get(subject)
        if kind == "link":
            return agent is not None and agent.since_at == began
        return kind != "forget" or (agent is not None and agent.link == "offline")

    def due_timer(self, now: int) -> Timer | None:
        """The next timer that is due, removed."""
        return heappop(self._timers) if self._timers and self._timers[0][0] <= now else None

    def next_timer_at(self) -> int | None:
        """When the next timer is due."""
        return self._timers[0][0] if self._timers else None
