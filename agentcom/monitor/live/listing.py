"""Which rows a view has, in which order: by trouble first, and rows stay themselves by their ids. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from agentcom.diagnosis import SEVERITIES, Finding
from agentcom.model.agent import AgentRecord
from agentcom.model.costs import Costs
from agentcom.model.messages import DeadLetter, Line
from agentcom.model.task import PRIORITIES, ReadRecord
from agentcom.monitor.live.picture import AGENT, TASK, Picture, begun_at
from agentcom.monitor.live.state import State, View
from agentcom.monitor.pool_view import activity_of, skills
from agentcom.monitor.task_view import STATE_ORDER, agent_of


class Item(Struct, frozen=True):
    """A row before it is drawn.

    Attributes:
        id: the same at every look.
        about: what it shows: an agent's or a task's record, a letter, a line, a cost or a finding.
        subject: `agent:NAME` or `task:ID` of what opens if it is opened; empty for none.
        findings: what is wrong with it, the gravest first.
        words: what the filter looks into.
    """

    id: str
    about: Any
    subject: str
    findings: tuple[Finding, ...] = ()
    words: Callable[[], str] = str


def items(state: State, picture: Picture) -> list[Item]:
    """The rows of the view that is shown, in their order, as far as filter and problems let them through."""
    found = MAKERS[state.view](picture)
    if state.problems:
        found = [item for item in found if item.findings]
    if state.filter:
        wanted = state.filter.casefold()
        found = [item for item in found if wanted in item.words().casefold()]
    order = ORDERS[state.view][state.sorted_by(state.view)]
    return sorted(found, key=order) if order is not None else found


def place_of(state: State, ids: Sequence[str]) -> int:
    """Where the selected row is; the first if it is not there any more."""
    chosen = state.chosen.get(state.view, "")
    return ids.index(chosen) if chosen in ids else 0


# ---------------------------------------------------------------------- rows


def _agents(picture: Picture) -> list[Item]:
    return [_agent(picture, agent) for agent in picture.snapshot.agents]


def _agent(picture: Picture, agent: AgentRecord) -> Item:
    own = picture.of_subject.get(AGENT + agent.name, ())
    held = [finding for task in agent.running.values() for finding in picture.of_subject.get(TASK + task, ())]
    findings = tuple(sorted((*own, *held), key=_gravity))

    def words() -> str:
        return f"{agent.name} {state_of(picture, agent)} {skills(agent)} {agent.card.host} {_said(findings)}"

    return Item(AGENT + agent.name, agent, AGENT + agent.name, findings, words)


def _gravity(finding: Finding) -> tuple[int, int]:
    """The gravest first, and of equal gravity what lasts longest; of unknown age comes last."""
    return SEVERITIES.index(finding.severity), finding.since_at or 1 << 62


def state_of(picture: Picture, agent: AgentRecord) -> str:
    """Its three axes in one word: whatever keeps it from work, else what it does."""
    if agent.link != "online":
        return "left" if agent.left else agent.link
    if agent.health != "available":
        return agent.health
    beat = picture.snapshot.beats.get(agent.name)
    # Of very many agents not all were asked: what the pool knows of them is what their last beat said.
    unasked = beat is None and picture.snapshot.asked < len(picture.snapshot.agents)
    return agent.activity if unasked else activity_of(agent, beat)


def _tasks(picture: Picture) -> list[Item]:
    return [_task(picture, record) for record in picture.snapshot.tasks]


def _task(picture: Picture, record: ReadRecord) -> Item:
    findings = tuple(picture.of_subject.get(TASK + record.spec.id, ()))

    def words() -> str:
        told = (record.spec.id, record.state, agent_of(record), record.spec.heading, record.spec.requires)
        named = (picture.name(record.spec.id), record.spec.priority, record.reason, _said(findings))
        return " ".join((*told, *named))

    return Item(TASK + record.spec.id, record, TASK + record.spec.id, findings, words)


def _dead(picture: Picture) -> list[Item]:
    return [_letter(picture, letter) for letter in picture.snapshot.letters]


def _letter(picture: Picture, letter: DeadLetter) -> Item:
    subject = TASK + letter.task
    findings = tuple(picture.of_subject.get(subject, ()))

    def words() -> str:
        return f"{picture.name(letter.task)} {letter.title} {letter.reason} {letter.detail}"

    return Item(subject, letter, subject, findings, words)


def _journal(picture: Picture) -> list[Item]:
    """Two lines of one moment may be equal in all that names them: those are numbered."""
    seen: dict[str, int] = {}
    found = []
    for line in picture.snapshot.lines:
        name = f"{line.at} {line.task} {line.agent} {line.trigger} {line.after}"
        seen[name] = number = seen.get(name, 0) + 1
        found.append(_line(picture, line, f"{name} {number}"))
    return found[::-1]


def _line(picture: Picture, line: Line, name: str) -> Item:
    subject = TASK + line.task if line.task else AGENT + line.agent if line.agent else ""

    def words() -> str:
        task = picture.name(line.task) if line.task else ""
        told = (task, line.agent, line.what, line.before, line.after, line.trigger, line.reason, line.detail)
        return " ".join(told)

    return Item(name, line, subject, tuple(picture.of_subject.get(subject, ())), words)


def _costs(picture: Picture) -> list[Item]:
    costs = picture.costs
    total = [_cost("total", "total", "", costs.total)] if costs.total is not None else []
    today = [_cost(AGENT + agent, "today", agent, cost) for agent, cost in sorted(costs.today.items())]
    return [*total, *today, *(_cost(day, day, "", cost) for day, cost in costs.days.items())]


def _cost(name: str, day: str, agent: str, cost: Costs) -> Item:
    return Item(name, (day, agent, cost), AGENT + agent if agent else "", (), lambda: f"{day} {agent}")


def _findings(picture: Picture) -> list[Item]:
    return [_finding(finding) for finding in picture.findings]


def _finding(finding: Finding) -> Item:
    subject = finding.subject if finding.subject.startswith((AGENT, TASK)) else ""
    return Item(finding.incident, finding, subject, (finding,), lambda: f"{finding.severity} {_said((finding,))}")


def _said(findings: Sequence[Finding]) -> str:
    return " ".join(f"{finding.rule} {finding.text}" for finding in findings)


MAKERS: dict[View, Callable[[Picture], list[Item]]] = {
    "agents": _agents,
    "tasks": _tasks,
    "dead": _dead,
    "journal": _journal,
    "costs": _costs,
    "findings": _findings,
}

# -------------------------------------------------------------------- orders

Order = Callable[[Item], Any] | None
"""A key to sort by; None leaves the order in which the rows are made."""


def _trouble(item: Item) -> tuple[int, int]:
    return _gravity(item.findings[0]) if item.findings else (len(SEVERITIES), 0)


def _by_trouble_of_agent(item: Item) -> Any:
    agent: AgentRecord = item.about
    return *_trouble(item), not agent.running, agent.link != "online", agent.name


def _urgency(item: Item) -> Any:
    record: ReadRecord = item.about
    return PRIORITIES.index(record.spec.priority), STATE_ORDER.index(record.state), record.seq


def _tokens(item: Item) -> int:
    cost: Costs = item.about[2]
    return -cost.usage.tokens


ORDERS: dict[View, dict[str, Order]] = {
    "agents": {
        "trouble": _by_trouble_of_agent,
        "name": lambda item: item.about.name,
        "state": lambda item: (item.about.link, item.about.health, item.about.activity, item.about.name),
        "done": lambda item: (-item.about.completed, item.about.name),
    },
    "tasks": {
        "trouble": lambda item: (*_trouble(item), *_urgency(item)),
        "urgency": _urgency,
        "age": lambda item: item.about.submitted_at,
        "lane": lambda item: (item.about.spec.requires, *_urgency(item)),
        "agent": lambda item: (not agent_of(item.about), agent_of(item.about), begun_at(item.about)),
    },
    "dead": {
        "newest": None,
        "oldest": lambda item: item.about.at,
        "reason": lambda item: (item.about.reason, -item.about.at),
    },
    "journal": {"newest": None, "oldest": lambda item: item.about.at},
    "costs": {"day": None, "tokens": _tokens},
    "findings": {"gravest": None, "newest": lambda item: -item.about.since_at},
}
