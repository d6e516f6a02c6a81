"""The kind of agent that the simulated sidecars run: what it does with an attempt is drawn, and it may well lie."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from random import Random

import anyio
from msgspec import Struct
from msgspec.structs import replace

from agentcom.model.codec import encode
from agentcom.model.messages import Accepted, Assign, Finished
from agentcom.model.task import Check, Outcome, Usage
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.runners.base import Job
from tests.simulation.hosts import Host, Plan, Run
from tests.simulation.loop import Process

FAILURES = ("exit_code", "retry_later", "misconfigured", "bad_result")
STATED = ("rate_limited", "auth_failed", "input_required", "invalid_task", "context_exhausted", "budget_exceeded")
LIES = ("twice", "stale", "forged", "accepted")


class Manners(Struct, frozen=True):
    """How agents behave: the most that work takes, and the shares of attempts that do not go well."""

    work_s: float = 2.0
    fails: float = 0.0
    hangs: float = 0.0
    silent: float = 0.0
    not_woken: float = 0.0
    stated: float = 0.0
    lies: float = 0.0


class Agents:
    """Draws what each attempt will do, keeps the truth about it, and tells the lies. What `work` draws changes nothing
    about how long anything takes."""

    def __init__(
        self,
        random: Random,
        work: Random,
        manners: Manners,
        on_run: Callable[[Run], None],
        forge: Callable[[str, bytes], None],
        known: Callable[[], list[tuple[str, str, str]]],
    ) -> None:
        self.manners = manners
        self.on_run = on_run
        self.runs: dict[str, list[Run]] = {}
        """By token: every process that ever worked on it."""
        self.seen: Counter[str] = Counter()
        """What came up besides."""
        self._random = random
        self._work = work
        self._forge = forge
        self._known = known

    def plan(self) -> Plan:
        random, manners = self._random, self.manners
        took_s = random.random() * manners.work_s
        alive_s = random.random() * min(0.2, took_s)
        drawn = random.random()
        for share, make in (
            (manners.not_woken, lambda: Plan(wake=random.choice(("fails", "raises")))),
            (manners.silent, lambda: Plan(alive_s=-1, end_s=random.choice((-1.0, took_s, 40.0)))),
            (manners.hangs, lambda: Plan(alive_s=alive_s, end_s=random.choice((-1.0, 30 * took_s)))),
            (manners.fails, lambda: Plan("ok", alive_s, end_s=took_s, outcome=self._failure(random.choice(FAILURES)))),
            (manners.stated, lambda: Plan("ok", alive_s, end_s=took_s, outcome=self._failure(random.choice(STATED)))),
        ):
            if drawn < share:
                return make()
            drawn -= share
        lie = random.choice(LIES) if drawn < manners.lies else ""
        if self._work.random() < 0.5:
            return Plan("ok", alive_s, end_s=took_s, outcome=self._done(), lie=lie)
        checked_s = alive_s + self._work.random() * (took_s - alive_s)
        checks = (Check("make test", sha="b1", passed=True, exit_code=0),)
        return Plan("ok", alive_s, checked_s, took_s, replace(self._done(), checks=checks), lie)

    def latest(self, token: str, host: str) -> Run | None:
        """What an attempt left on this machine: its process, or the files that say how that ended."""
        return next((run for run in reversed(self.runs.get(token, [])) if run.host == host), None)

    def self_test(self) -> str:
        return "it cannot be woken, as drawn" if self._random.random() < self.manners.not_woken else ""

    def _done(self) -> Outcome:
        return Outcome("completed", summary="done", usage=self._usage())

    def _failure(self, reason: str) -> Outcome:
        asked = "what next?" if reason == "input_required" else ""
        said = f"{self._work.randrange(3)} of 3" if reason == "context_exhausted" else ""
        return Outcome("failed", reason, "as drawn", 1, said, usage=self._usage(), session="s", question=asked)

    def _usage(self) -> Usage | None:
        """Some agents do not say what they use."""
        work = self._work
        return Usage(work.randrange(100), 1 + work.randrange(100)) if work.random() < 0.7 else None

    def checked(self, tokens: Iterable[str], host: str, now_s: float) -> tuple[str, ...]:
        """Those of these attempts whose work is being checked on this machine now."""
        runs = ((token, self.latest(token, host)) for token in tokens)
        return tuple(
            token for token, run in runs
            if run is not None and run.ended_s is None and run.checked_s is not None and run.checked_s <= now_s
        )  # fmt: skip

    def begin(self, host: Host, agent: str, incarnation: str, job: Job, process: Process | None, plan: Plan) -> Run:
        run = Run(host.name, agent, incarnation, job.entry, job.spec.id, job.token, host.next_pid())
        self.runs.setdefault(job.token, []).append(run)
        self.seen["run begun"] += 1
        host.begin(run, plan, process)
        self.on_run(run)
        if plan.lie:
            self._lie(plan.lie, run)
        return run

    def _lie(self, lie: str, run: Run) -> None:
        """Say what is not so: again what was said, for an older attempt, or for somebody else's."""
        done = Outcome("completed", summary="a lie", usage=Usage(output_tokens=10**6))
        agent, incarnation = run.agent, run.incarnation
        others = [other for other in self._known() if other[1] != run.token]
        task, token, owner = self._random.choice(others) if others else (run.task, "1.0000000000000000", agent)
        made_up = f"{token.partition('.')[0]}.{self._random.getrandbits(64):016x}"
        if lie == "stale":
            token = f"{max(0, int(run.token.partition('.')[0]) - 1)}.{self._random.getrandbits(64):016x}"
            body = Finished(agent=agent, incarnation=incarnation, task=run.task, token=token, outcome=done)
        elif lie == "forged":
            said = owner if self._random.random() < 0.5 else agent
            forged = made_up if said == owner or owner == agent else token
            body = Finished(agent=said, incarnation=incarnation, task=task, token=forged, outcome=done)
        elif lie == "accepted":
            self._forge(run.host, encode(Accepted(agent=agent, incarnation=incarnation, task=task, token=made_up)))
            return
        else:
            lost = Outcome("lost", "lost", "a lie")
            body = Finished(agent=agent, incarnation=incarnation, task=run.task, token=made_up, outcome=lost)
        self._forge(run.host, encode(body))


class SimRunner:
    """A runner whose agents are processes of the simulated machine, or live inside the sidecar.

    Args:
        inside: the sidecar's process, if the agent dies with it.
    """

    def __init__(
        self, agents: Agents, host: Host, agent: str, incarnation: Callable[[], str], inside: Process | None
    ) -> None:
        self.in_process = inside is not None
        self._agents = agents
        self._host = host
        self._agent = agent
        self._incarnation = incarnation
        self._inside = inside

    async def run(self, job: Job) -> Outcome:
        plan = self._agents.plan()
        if plan.wake == "fails":
            return Outcome("failed", "wake_failed", "the command cannot be started")
        if plan.wake == "raises":
            raise ValueError("a defect of the runner, as drawn")
        run = self._agents.begin(self._host, self._agent, self._incarnation(), job, self._inside, plan)
        try:
            if not self.in_process:
                job.spawned(run.identity)
            await self._follow(run, job)
        finally:
            if run.ended_s is None:
                with anyio.CancelScope(shield=True):
                    await self._end(run)
        return run.outcome or Outcome("failed", "exit_code", "it was ended by a signal", -9)

    async def adopt(self, job: Job, process: ProcessIdentity | None) -> Outcome:
        run = self._agents.latest(job.token, self._host.name)
        self._agents.seen["run adopted" if run is not None and run.ended_s is None else "end found"] += 1
        if run is None:
            return Outcome("handed_back", "handed_back", "its sidecar was restarted before it was started")
        try:
            if process is None and run.ended_s is None:
                job.spawned(run.identity)
            await self._follow(run, job)
        finally:
            if run.ended_s is None:
                with anyio.CancelScope(shield=True):
                    await self._end(run)
        return run.outcome or Outcome("lost", "lost", "its process ended while no sidecar watched")

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> Outcome | None:
        run = self._agents.latest(order.token, self._host.name)
        if run is None:
            return None
        ended = run.outcome
        if run.ended_s is None:
            await self._end(run)
        return ended

    async def tidy(self, now_s: float, retention_s: float, keep: Collection[str]) -> None:
        pass

    async def self_test(self) -> str:
        return self._agents.self_test()

    async def _follow(self, run: Run, job: Job) -> None:
        while run.ended_s is None:
            await self._change(run)
            if run.alive_at is not None:
                job.alive()
        job.alive()

    async def _end(self, run: Run) -> None:
        self._host.terminate(run)
        while run.ended_s is None:
            await self._change(run)

    async def _change(self, run: Run) -> None:
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not changed.done():
                changed.set_result(None)

        run.on_change.append(wake)
        try:
            await changed
        finally:
            run.on_change.remove(wake)
