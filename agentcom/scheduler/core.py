"""The scheduler's core: a state machine without I/O. It is told what happened and what time it is, and answers with
what to write. The same events at the same times give the same commits, so every decision can be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import assert_never

from agentcom.model.agent import AgentRecord
from agentcom.model.codec import id_of
from agentcom.model.commit import Commit
from agentcom.model.costs import Costs
from agentcom.model.lifecycle import ENDED
from agentcom.model.messages import AnyRequest, Line, Refusal
from agentcom.model.task import CarriedRecord
from agentcom.scheduler import answers, attempts, health, reports, requests
from agentcom.scheduler.events import Beaten, Emptied, Event, Malformed, Reclaimed, Reported, Requested
from agentcom.scheduler.livelock import SIGN
from agentcom.scheduler.loading import take_up
from agentcom.scheduler.state import State, Timer
from agentcom.scheduler.waiting import let_go, make_ready
from agentcom.settings import Policy

TIMERS_PER_COMMIT = 1_000
"""What is due beyond this waits for the next commit, so that a commit stays short."""

CATCHING_UP_MS = 100
"""How soon is looked again whether somebody is late, while there are reports to read."""


class Core:
    """All that the scheduler decides.

    Args:
        policy: the pool's policy.
        nonce: makes the random part of a token; a fencing number alone can repeat after a fail-over.
    """

    def __init__(self, policy: Policy, nonce: Callable[[], str]) -> None:
        self._state = State(policy, nonce)
        self._loaded_at = 0
        self._dropped: list[str] = []

    # ------------------------------------------------------------- loading

    def load_agents(self, agents: Iterable[AgentRecord], now: int) -> None:
        """Begin with the agents that an earlier leader knew. Each gets a whole term of silence before it counts."""
        state = self._state
        self._loaded_at = now
        for agent in agents:
            state.agents[agent.name] = agent
            agent.seen_at = now
            health.set_timers(state, agent, now)
            state.used = max(state.used, agent.used)
            state.matcher.update(agent)
            if agent.link == "offline":
                forget_at = agent.since_at + int(state.policy.retention_s * 1000)
                state.set_timer(max(now, forget_at), "forget", agent.name)
            else:
                state.set_timer(now + state.stale_ms(agent), "link", agent.name, agent.since_at)

    def load_keys(self, keys: Mapping[str, str]) -> None:
        """Begin with the idempotency keys of earlier submissions, the oldest first."""
        pairs = ((key, value.rpartition("@")) for key, value in keys.items())
        for key, (task, _, at) in sorted(pairs, key=lambda pair: int(pair[1][2])):
            self._state.keys[key] = (task, int(at))

    def load_costs(self, costs: Mapping[str, Costs]) -> None:
        """Begin with what work cost so far, by field of that hash."""
        self._state.accounts.load(costs)

    def load_signs(self, signs: Collection[str], requeued: Iterable[int], now: int) -> None:
        """Begin with what the pool's head says of itself: what an earlier leader counted goes on, and what it said is
        not said again."""
        self._state.livelock.resume(requeued, now)
        if SIGN in signs:
            self._state.livelock.said = True
            attempts.watch_livelock(self._state, now)

    def load_admitted(self, admitted: int) -> None:
        """Begin with how many tasks were ever taken on: no two have the same place in the order of admission."""
        self._state.seq = max(self._state.seq, admitted)

    def load_tasks(self, records: Iterable[CarriedRecord], now: int) -> None:
        """Begin with open tasks, in the order of their admission, after the agents."""
        for record in records:
            problem = take_up(self._state, record, now)
            if problem:
                self._leave_alone(record, problem, now)

    def _leave_alone(self, record: CarriedRecord, problem: str, now: int) -> None:
        """A spec that a newer AgentCom wrote: it stays open for the leader that can read it."""
        detail = f"left alone, as this version cannot read it: {problem}"
        self._state.journal(Line(now, "pool", "load", task=id_of(record.spec), detail=detail))

    def drop_unreadable(self, tasks: Iterable[str], now: int) -> None:
        """Open tasks whose records are missing or damaged: all that can be done is to say so, and to fail what waits
        for them, with the first commit."""
        for task in tasks:
            self._dropped.append(task)
            self._state.commit.closed.append(task)
            self._state.journal(Line(now, "pool", "load", task=task, detail="its record is missing or cannot be read"))

    # -------------------------------------------------------------- events

    def lookups(self, request: AnyRequest, now: int = 0) -> list[str]:
        """Ids of tasks that must be looked up before this request is applied; more of them if no time is given."""
        return requests.lookups(self._state, request, self._loaded_at, now)

    def apply(self, event: Event, now: int) -> None:
        """Take into account that something happened."""
        self._state.accounts.turn(now)
        match event:
            case Requested():
                requests.handle(self._state, event, now)
            case Reported():
                reports.handle(self._state, event, now)
            case Malformed():
                self._refuse_malformed(event, now)
            case Beaten():
                reports.hear(self._state, event, now)
            case Reclaimed():
                reports.reclaimed(self._state, event, now)
            case Emptied():
                reports.emptied(self._state, event, now)
            case _:
                assert_never(event)

    def note(self, line: Line) -> None:
        """Let the journal say something about the pool itself."""
        self._state.journal(line)

    def wake_at(self) -> int | None:
        """When the core next wants `take` to be called although nothing happened; None: never."""
        return self._state.next_timer_at()

    def take(self, now: int, *, caught_up: bool = True) -> Commit:
        """What to write now: timers that are due have run, and free agents have been given work.

        Unless it is `caught_up` with the reports, nobody is late: what is missed may be among those not read yet.
        """
        self._state.accounts.turn(now)
        while self._dropped:
            attempts.fail_dependants(self._state, self._dropped.pop(), now)
        for _ in range(TIMERS_PER_COMMIT):
            timer = self._state.due_timer(now)
            if timer is None:
                break
            if not caught_up and timer[2] in ("accept", "expire"):
                self._state.set_timer(now + CATCHING_UP_MS, timer[2], timer[3], timer[4])
            else:
                self._run_timer(timer, now)
        for work, agent in self._state.matcher.round(now):
            attempts.assign(self._state, work, agent, now)
        return self._state.take_commit()

    # ------------------------------------------------------------- looking

    @property
    def open_tasks(self) -> int:
        """How many tasks are held in memory."""
        return len(self._state.tasks)

    @property
    def spec_bytes(self) -> int:
        """Bytes of task text held in memory."""
        return self._state.spec_bytes

    @property
    def agents(self) -> Mapping[str, AgentRecord]:
        """The agents by name."""
        return self._state.agents

    def waiting(self) -> int:
        """How many tasks are ready and wait for an agent."""
        return self._state.matcher.waiting()

    def silent_holders(self) -> list[str]:
        """Agents that are not heard from and hold orders: whose streams the sweep has to look into."""
        return [name for name, agent in self._state.agents.items() if agent.link != "online" and agent.running]

    # ------------------------------------------------------------- private

    def _refuse_malformed(self, event: Malformed, now: int) -> None:
        if event.stream == "inbox":
            self._state.refuse(event.entry, now, [Refusal("", event.problem)])
        else:
            self._state.journal(Line(now, "refused", event.stream, detail=event.problem, entry=event.entry))

    def _run_timer(self, timer: Timer, now: int) -> None:
        _, _, kind, subject, generation = timer
        state = self._state
        if kind == "link":
            reports.check_link(state, subject, generation, now)
            return
        if kind == "forget":
            reports.forget_if_gone(state, subject, now)
            return
        if kind == "health":
            health.due(state, subject, now)
            return
        if kind == "livelock":
            attempts.look_at_livelock(state, now)
            return
        work = state.tasks.get(subject)
        if work is None or work.record.state in ENDED:
            return
        if kind == "expire":
            if now >= work.record.expires_at > 0:
                attempts.expire(state, work, now)
        elif work.record.generation == generation:
            if kind == "retry" and work.record.state == "retry_wait":
                make_ready(state, work, work.record.ready_at, "retry_due")
            elif kind == "accept" and work.record.state == "assigned":
                attempts.end_acceptance(state, work, now)
            elif kind == "hold":
                let_go(state, work)
            elif kind == "answer":
                answers.unanswered(state, work, now)
