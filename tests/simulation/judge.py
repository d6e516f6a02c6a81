"""Checks what must always hold (docs/architecture.md) at every write that a modelled server performs.

It believes nobody: what is recorded is compared with what was reported, and that with what the agents really did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from agentcom.broker.keys import SWEEPER, Keys
from agentcom.capability import InvalidRequirement, parse
from agentcom.model.codec import (
    decode_agent,
    decode_beat,
    decode_carried,
    decode_costs,
    decode_lines,
    decode_order,
    decode_report,
    read_spec,
)
from agentcom.model.costs import TOTAL, Costs
from agentcom.model.lifecycle import ENDED, RUNNING, allowed
from agentcom.model.messages import Accepted, Assign, Beat, Finished, Line
from agentcom.model.task import PRIORITIES, CarriedRecord, Outcome, Usage
from agentcom.settings import Policy
from tests.simulation.hosts import Run
from tests.simulation.loop import SimLoop
from tests.simulation.redis_model import raw
from tests.simulation.redis_scripts import commands_of, owns, script_of
from tests.simulation.server import Request, Server
from tests.simulation.view import TaskView, View

ZOMBIE_S = 8.0
"""Within so long a sidecar ends what it learnt is not its own any more."""


class Violation(Exception):
    """What must always hold did not."""


class Judge:
    """Sees everything, says nothing, and stops the run at the first thing that is wrong.

    Args:
        loop: tells the time, and is stopped.
        pool: its name.
        policy: the pool's.
        say: is told what goes on, for the story.
        calm_since: since when nothing has disturbed a machine.
    """

    def __init__(
        self,
        loop: SimLoop,
        pool: str,
        policy: Policy,
        say: Callable[..., None],
        calm_since: Callable[[str], float],
    ) -> None:
        self.tracing = False
        self.problem = ""
        self.subject = ""
        self.commits = 0
        self.seen: Counter[str] = Counter()
        """How often the journal named which trigger, and which orders were given besides assignments."""
        self.ended = 0
        self.begun: dict[str, Run] = {}
        self.views: dict[str, View] = {}
        self._loop = loop
        self._names = Keys(pool)
        self._policy = policy
        self._say = say
        self._calm_since = calm_since
        prefix = self._names.task("")
        self._task_prefix, self._orders_prefix = prefix, self._names.orders("")
        self._capable: dict[tuple[str, str], bool] = {}
        self._finished: dict[str, list[Finished]] = {}
        """By token: reports that an attempt ended."""
        self._accepted: set[str] = set()
        """Tokens of attempts that were reported to be alive."""
        self._suspects: dict[tuple[str, str], float] = {}

    def accuse(self, problem: str, subject: str = "") -> None:
        """Something is wrong, and the run ends."""
        if not self.problem:
            self.problem, self.subject = problem, subject
            self._say("VIOLATION", subject, problem)
        self._loop.stopped = True

    # -------------------------------------------------------------- watching

    def observe(self, server: Server, request: Request, reply: Any) -> None:
        """A request was performed."""
        name = request.name
        if name in ("evalsha", "eval"):
            if not isinstance(reply, Exception):
                self._script(server, script_of(name, request.args[0]), request, reply)
        elif name == "xclaim" and reply and request.args[2] == SWEEPER:
            self._swept(server, request.args[0], int(request.args[3]), reply)
        elif name == "xreadgroup" and request.args[1] == SWEEPER and reply:
            self._swept(server, next(iter(request.args[2])), 1, reply[0][1])
        elif name == "xadd" and request.args[0] == self._names.reports:
            self._reported(request.args[1][b"m"])

    def _script(self, server: Server, name: str, request: Request, reply: Any) -> None:
        _, number, *parts = request.args
        keys, arguments = parts[:number], parts[number:]
        if name == "commit" and reply == b"done":
            self.commits += 1
            self._committed(self.views[server.name], keys, arguments)
        elif name == "finish":
            for body in arguments[2 + int(arguments[1]) :]:
                self._reported(body)
        elif name == "report":
            for body in arguments[1:]:
                self._reported(body)
        elif name == "beat":
            beat = decode_beat(arguments[0])
            if isinstance(beat, Beat):
                self.views[server.name].heard(beat.agent, beat.incarnation, self._loop.time())
        elif name == "renew":
            for entry in arguments[2:]:
                if not owns(server.model, keys[0], arguments[0], entry, arguments[1]):
                    self._zombie(request.link.machine, keys[0][len(self._orders_prefix) :], entry)
        elif name == "lead" and reply is not None:
            self._say("lead", arguments[0], f"epoch {reply}")

    def _reported(self, body: Any) -> None:
        report = decode_report(raw(body))
        if isinstance(report, Finished):
            self._finished.setdefault(report.token, []).append(report)
        elif isinstance(report, Accepted):
            self._accepted.add(report.token)
        if self.tracing:
            self._say("report", getattr(report, "task", ""), _told(report))

    def _swept(self, server: Server, key: str, idle_ms: int, entries: Any) -> None:
        agent = key[len(self._orders_prefix) :]
        self._say("sweep", agent, f"claimed {len(entries)} orders")
        if idle_ms and self.views[server.name].beats_regularly(agent, self._loop.time()):
            self.accuse("the scheduler takes work from a live agent that keeps renewing", agent)

    def _zombie(self, machine: str, agent: str, entry: Any) -> None:
        """Its sidecar was just told that it does not own this order: what runs for it must end soon."""
        entry = raw(entry).decode()
        if (agent, entry) not in self._suspects:
            self._suspects[agent, entry] = self._loop.time()
            self._loop.after(ZOMBIE_S, self._still_running, machine, agent, entry)

    def _still_running(self, machine: str, agent: str, entry: str) -> None:
        since_s = self._suspects.pop((agent, entry))
        for run in self.begun.values():
            if (run.agent, run.entry, run.host) == (agent, entry, machine) and run.ended_s is None:
                if self._calm_since(machine) > since_s:
                    self._zombie(machine, agent, entry)
                else:
                    self.accuse("an agent goes on with work that was given to somebody else", run.task)

    # --------------------------------------------------------------- commits

    def _committed(self, view: View, keys: list[str], arguments: list[Any]) -> None:
        lines: list[Line] = []
        records: dict[str, CarriedRecord] = {}
        agents: list[str] = []
        for name, key, rest in commands_of(keys, arguments):
            if name == "SET" and key.startswith(self._task_prefix):
                records[key[len(self._task_prefix) :]] = decode_carried(rest[0])
            elif name == "XADD" and key == self._names.journal:
                lines += decode_lines(rest[-1])
            elif name == "XADD" and key.startswith(self._orders_prefix):
                self._ordered(view, key[len(self._orders_prefix) :], rest[-1])
            elif key == self._names.costs and name == "HSET":
                view.costs |= {
                    raw(f).decode(): decode_costs(raw(b)) for f, b in zip(rest[::2], rest[1::2], strict=True)
                }
            elif key == self._names.agents:
                agents += self._agents_changed(view, name, rest)
        for line in lines:
            self.seen[line.trigger] += 1
            self.seen[f"became {line.after}"] += line.what == "task"
            if line.what == "task":
                self._step(view, line, records)
            elif self.tracing:
                self._say("journal", line.agent or line.task or "pool", _sentence(line))
        given = {line.task for line in lines if line.after == "assigned"}
        for task, record in records.items():
            self._recorded(view, task, record, given=task in given)
        for agent in agents:
            self._check_agent(view, agent)
        if given:
            self._check_fairness(view, lines)

    def _ordered(self, view: View, agent: str, body: Any) -> None:
        order = decode_order(raw(body))
        if isinstance(order, Assign):
            view.orders[agent, order.token] = order.task
        else:
            self.seen[f"order {type(order).__name__.lower()}"] += 1
            self._say("order", getattr(order, "task", ""), f"{type(order).__name__.lower()} to {agent}")

    def _agents_changed(self, view: View, name: str, rest: list[Any]) -> list[str]:
        if name == "HDEL":
            for agent in rest:
                view.agents.pop(raw(agent).decode(), None)
            return []
        changed = [raw(agent).decode() for agent in rest[::2]]
        for agent, body in zip(changed, rest[1::2], strict=True):
            view.agents[agent] = decode_agent(body)
        return changed

    def _step(self, view: View, line: Line, records: dict[str, CarriedRecord]) -> None:
        """One step of a task's life, as the journal tells it."""
        known = view.tasks.get(line.task)
        if known is None:
            known = view.tasks[line.task] = TaskView()
        if self.tracing:
            self._say("journal", line.task, _sentence(line))
        if line.before != known.state:
            self.accuse(f"it went from {line.before} to {line.after}, but was {known.state}", line.task)
        elif not allowed(line.before, line.after):  # type: ignore[arg-type]
            self.accuse(f"the lifecycle has no step from {line.before} to {line.after}", line.task)
        elif line.before in ENDED and line.trigger != "retry":
            self.accuse(f"it left its end {line.before} without a person's retry", line.task)
        if line.generation != known.generation + (line.after == "assigned"):
            self.accuse(f"from attempt {known.generation} it went to {line.generation}", line.task)
        known.state, known.generation = line.after, line.generation
        known.reopened |= line.before in ENDED
        self.ended += line.after in ENDED
        record = records.get(line.task)
        if line.task not in records:
            self.accuse(f"it became {line.after}, and its record was not written with that", line.task)
        elif line.trigger in ("finished", "late", "accepted") and record is not None:
            self._reported_truly(line, record)
        elif line.after == "verifying" and record is not None:
            run = self.begun.get(record.attempts[-1].token)
            if run is None or run.checked_s is None or run.checked_s > self._loop.time():
                self.accuse("it counts as being checked, and nobody has checked it", line.task)

    def _reported_truly(self, line: Line, record: CarriedRecord) -> None:
        """What changes a task was reported, of the attempt that counts, by the agent that had it."""
        attempt = next((one for one in record.attempts if one.generation == line.generation), None)
        if attempt is None:
            self.accuse("it changed by an attempt that its record does not have", line.task)
            return
        if line.trigger == "accepted":
            if attempt.token not in self._accepted:
                self.accuse(f"it counts as begun, and nobody reported that for {attempt.token}", line.task)
            return
        told = [report for report in self._finished.get(attempt.token, ()) if report.agent == attempt.agent]
        if not told:
            self.accuse(f"it ended by a report, and nobody reported that for {attempt.token}", line.task)
        elif line.after == "completed":
            run = self.begun.get(attempt.token)
            if run is None or run.outcome is None or run.outcome.result != "completed":
                self.accuse(f"it counts as completed, and no agent has completed {attempt.token}", line.task)
        elif attempt.outcome is not None and not any(_means(report.outcome, attempt.outcome) for report in told):
            self.accuse("its outcome is none that was reported", line.task)

    def _recorded(self, view: View, task: str, record: CarriedRecord, *, given: bool) -> None:
        known = view.tasks.get(task)
        if known is None:
            self.accuse("it has a record, and the journal does not know it", task)
            return
        if known.state != record.state or known.generation != record.generation:
            told = f"{known.state} (attempt {known.generation})"
            self.accuse(f"its record says {record.state} ({record.generation}), and the journal {told}", task)
        if known.spec is None and record.state != "rejected":
            known.spec = read_spec(record.spec)
        if known.record is not None and known.record.branch not in ("", record.branch):
            self.accuse(f"its branch was {known.record.branch}, and is {record.branch} now", task)
        known.record = record
        self._file(view, task, known, record)
        if record.state == "failed" and not record.reason:
            self.accuse("it failed without a reason", task)
        if record.state in RUNNING:
            attempt = record.attempts[-1]
            holder = view.agents.get(attempt.agent)
            if holder is None or attempt.token not in holder.running:
                self.accuse(f"{attempt.agent} works on it, and its record does not say so", task)
            if given:
                self._given(view, task, known, record)

    def _given(self, view: View, task: str, known: TaskView, record: CarriedRecord) -> None:
        attempt = record.attempts[-1]
        assert known.spec is not None
        if view.orders.get((attempt.agent, attempt.token)) != task:
            self.accuse(f"it is assigned to {attempt.agent}, and nothing was ordered", task)
        counted = record.counted - record.granted
        cap = known.spec.max_attempts or self._policy.max_attempts
        if counted > cap:
            self.accuse(f"this is its attempt number {counted}, over its cap of {cap}", task)
        if record.part - record.granted_parts > self._policy.max_parts:
            self.accuse(f"this is its part {record.part}, over its bound", task)
        budget = known.spec.budget_tokens and known.spec.budget_tokens + record.granted_tokens
        if budget and record.spent.new_tokens >= budget:
            self.accuse(f"it begins with {record.spent.new_tokens} of {budget} tokens spent", task)
        agent = view.agents[attempt.agent]
        if not agent.in_service:
            self.accuse(f"it is given to {agent.name}, which is {agent.link} and {agent.health}", task)
        if not self._can(known.spec.requires, agent.card.attributes) or known.spec.agent not in ("", agent.name):
            self.accuse(f"it is given to {agent.name}, which does not have what it requires", task)

    def _can(self, requires: str, attributes: dict[str, Any]) -> bool:
        key = (requires, repr(attributes))
        if key not in self._capable:
            try:
                self._capable[key] = parse(requires).satisfied_by(attributes)
            except InvalidRequirement:
                self._capable[key] = False
        return self._capable[key]

    def _check_agent(self, view: View, name: str) -> None:
        agent = view.agents.get(name)
        if agent is None:
            return
        if len(agent.running) > agent.card.slots:
            self.accuse(f"it has {len(agent.running)} orders for {agent.card.slots} slots", name)
        for task in agent.reserved:
            if view.tasks[task].state != "input_required":
                self.accuse(f"it keeps a slot for {task}, which is {view.tasks[task].state}", name)

    # ----------------------------------------------------------------- costs

    def costs_wrong(self, server: str) -> Iterator[tuple[str, str]]:
        """What is kept of costs against what was reported of attempts that there really were."""
        view = self.views[server]
        told = {token: usage for token in self.begun if (usage := self._usage_of(token)) is not None}
        counted: dict[str, Usage] = {}
        for task, known in view.tasks.items():
            attempts = known.record.attempts if known.record is not None else ()
            spent = {one.token: told[one.token] for one in attempts if one.spent and one.token in told}
            if known.record is None or known.reopened:
                continue  # what was told while it was closed is not its own
            if known.record.spent != sum(spent.values(), Usage()):
                yield f"it is said to have used {known.record.spent}, and was told of {spent}", task
            counted |= spent
        total = view.costs.get(TOTAL, Costs()).usage.tokens
        least, most = (sum(usage.tokens for usage in usages.values()) for usages in (counted, told))
        if not least <= total <= most:
            yield f"{total} tokens are counted, and not {least} to {most}", ""
        days = sum(costs.usage.tokens for field, costs in view.costs.items() if "/" in field)
        if days != total:
            yield f"{total} tokens are counted, and by agent {days}", ""

    def _usage_of(self, token: str) -> Usage | None:
        """What an attempt was said to have used, by the agent that made it."""
        reports = (report for report in self._finished.get(token, ()) if report.agent == self.begun[token].agent)
        return next((report.outcome.usage for report in reports if report.outcome.usage is not None), None)

    # -------------------------------------------------------------- fairness

    def _file(self, view: View, task: str, known: TaskView, record: CarriedRecord) -> None:
        if known.spec is None:
            return
        key = (*_demand(known), PRIORITIES.index(known.spec.priority))
        if record.state == "queued" and not record.retried and not record.generation:
            view.fresh.setdefault(key, {})[task] = None
        else:
            view.fresh.get(key, {}).pop(task, None)

    def _check_fairness(self, view: View, lines: list[Line]) -> None:
        """Retried work went out: nothing that asks for the same, and never failed, may have been left behind."""
        for line in lines:
            known = view.tasks[line.task] if line.what == "task" and line.after == "assigned" else None
            record = known.record if known is not None else None
            if known is None or record is None or known.spec is None or not record.retried:
                continue
            if record.state != "assigned" or line.at - record.ready_at >= self._policy.retry_age_s * 1000:
                continue
            for level in range(PRIORITIES.index(known.spec.priority) + 1):
                waiting = view.fresh.get((*_demand(known), level))
                if waiting:
                    self.accuse(f"it was retried before {next(iter(waiting))}, which never failed", line.task)

    # ------------------------------------------------------------------ runs

    def run_begins(self, run: Run, slots: int, live: int) -> None:
        """An agent really begins to work: that is a counted attempt, begun once, by whom it was given to."""
        if self.tracing:
            self._say("begins", run.task, f"{run.agent} on {run.host} with {run.token}")
        if run.token in self.begun:
            self.accuse(f"{run.token} is begun a second time", run.task)
        self.begun[run.token] = run
        known = [view.tasks[run.task].record for view in self.views.values() if run.task in view.tasks]
        attempts = [one for record in known if record is not None for one in record.attempts]
        attempt = next((one for one in attempts if one.token == run.token), None)
        if attempt is None:
            self.accuse(f"{run.agent} begins {run.token}, which no record counts as an attempt", run.task)
        elif attempt.agent != run.agent:
            self.accuse(f"{run.agent} begins an attempt that is {attempt.agent}'s", run.task)
        elif attempt.incarnation != run.incarnation:
            self.accuse(f"a start of {run.agent} begins what was ordered from another start", run.task)
        if live > slots:
            self.accuse(f"it works on {live} tasks with {slots} slots", run.agent)


def _demand(known: TaskView) -> tuple[Any, ...]:
    spec = known.spec
    assert spec is not None
    return (spec.requires, spec.prefer, spec.context_tokens, spec.agent)


def _means(reported: Outcome, recorded: Outcome) -> bool:
    """Whether an outcome may be recorded for this report: that of a stop that a fail-over made unsaid is a lost one."""
    return reported == recorded or (reported.result, recorded.result) == ("canceled", "lost")


def _told(report: Any) -> str:
    if isinstance(report, Finished):
        outcome = report.outcome
        reason = f" ({outcome.reason})" if outcome.reason else ""
        return f"{report.agent}: {report.token} is {outcome.result}{reason}"
    if isinstance(report, Accepted):
        return f"{report.agent}: {report.token} is accepted"
    return report if isinstance(report, str) else f"{report.agent}: {type(report).__name__} of {report.incarnation}"


def _sentence(line: Line) -> str:
    parts = [f"{line.before} -> {line.after}" if line.after else "", f"[{line.trigger}]", line.agent, line.reason]
    return " ".join(part for part in (*parts, line.detail) if part)
