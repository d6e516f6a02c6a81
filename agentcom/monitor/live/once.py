"""A picture printed once: for `--once`, pipes and scripts. Pure."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from rich.text import Text

from agentcom.model.agent import AgentRecord
from agentcom.model.costs import Costs
from agentcom.monitor import plain
from agentcom.monitor.live.header import last_hour
from agentcom.monitor.live.history import MINUTES, Measure
from agentcom.monitor.live.pages import page
from agentcom.monitor.live.picture import AGENT, TASK, Picture
from agentcom.monitor.look import Now

HEAD_LINES = 2
MEASURES: tuple[Measure, ...] = ("waiting", "completed", "failed", "tokens")
WIDTH = 110
"""For what has to have some width where there is no terminal."""


def narrowed(picture: Picture, agent: str, *, problems: bool) -> Picture:
    """The same picture with only this agent, and what it works on; or only with what something is wrong with."""
    seen = picture.snapshot
    subjects = set(picture.of_subject)
    wanted = {agent} if agent else {each.name for each in seen.agents}
    agents = [each for each in seen.agents if each.name in wanted]
    held = {task for each in agents for task in each.running.values()}
    tasks = [record for record in seen.tasks if not agent or record.spec.id in held]
    if problems:
        tasks = [record for record in tasks if TASK + record.spec.id in subjects]
        agents = [each for each in agents if subjects & _about(each)]
    names = {each.name for each in agents}
    snapshot = replace(
        seen,
        agents=agents,
        tasks=tasks,
        orders=[order for order in seen.orders if order.agent in names],
        lines=[line for line in seen.lines if not agent or line.agent == agent],
    )
    about = {subject for each in agents for subject in _about(each)} if agent else subjects
    findings = [finding for finding in picture.findings if finding.subject in about]
    return Picture(snapshot, findings, picture.policy, picture.history, picture.costs, picture.opened)


def _about(agent: AgentRecord) -> set[str]:
    """Itself, and what it works on."""
    return {AGENT + agent.name, *(TASK + task for task in agent.running.values())}


def lines(picture: Picture, now: Now, width: int | None, agent: str, *, problems: bool) -> list[Text]:
    """For people: the pool section by section, or all there is to say of one agent."""
    if agent:
        return page(AGENT + agent, picture, now, width or WIDTH)
    head = [plain.head(picture.snapshot), plain.queue(picture.snapshot, now), last_hour(picture, width or WIDTH)]
    shown = narrowed(picture, "", problems=True) if problems else picture
    return [*head, *plain.lines(shown.snapshot, shown.findings, now, width, whole=problems)[HEAD_LINES:]]


def document(picture: Picture, agent: str, *, problems: bool) -> dict[str, Any]:
    """For scripts; see docs/monitor.md. Times are Unix ms; 0 means never."""
    shown = narrowed(picture, agent, problems=problems) if agent or problems else picture
    costs, history, at = picture.costs, picture.history, picture.snapshot.at
    whole = picture.snapshot
    more: dict[str, Any] = {
        "counted": len(whole.tasks),
        "states": dict(whole.states()),
        "agents_total": len(whole.agents),
        "admitted": picture.snapshot.admitted,
        "waiting": picture.waiting,
        "costs": {
            "total": _cost(costs.total) if costs.total is not None else None,
            "days": {day: _cost(cost) for day, cost in costs.days.items()},
            "today": {name: _cost(cost) for name, cost in costs.today.items() if agent in ("", name)},
        },
        "last_hour": {
            "minutes": MINUTES,
            "known_since_at": history.since_at,
            **{measure: history.series(measure, at) for measure in MEASURES},
        },
    }
    return plain.document(shown.snapshot, shown.findings) | more


def _cost(cost: Costs) -> dict[str, Any]:
    counted = ("attempts", "completed", "messages", "envelope_tokens")
    return {
        **{name: getattr(cost, name) for name in counted},
        "usage": {name: getattr(cost.usage, name) for name in cost.usage.__struct_fields__},
        "tokens": cost.usage.tokens,
        "working_s": cost.seconds,
    }
