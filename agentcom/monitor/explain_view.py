"""Who could take a task, who could not, and why: the scheduler's own rules, asked from outside. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from rich.text import Text

from agentcom.model.agent import AgentRecord
from agentcom.model.task import ReadRecord, TaskSpec
from agentcom.monitor.look import STYLES, Now
from agentcom.monitor.table import Column, lay_out, said
from agentcom.monitor.task_view import brief, why
from agentcom.scheduler.assignment import held_until, warm_agent
from agentcom.scheduler.explain import hindrance, obstacles, summed
from agentcom.scheduler.work import Demand, Demands, agents_to_avoid
from agentcom.settings import Policy

FAILED_IT = "failed it before, and another could take it"
TAKEN_FROM_IT = "a person took it from there, and another could take it"


class Judged(Struct, frozen=True):
    """One agent.

    Attributes:
        name: of the agent.
        never: why it could never take the task as things are.
        now: why it does not take it now; empty if it could at once.
        cause: what keeps it out of service, if that is why; for people.
    """

    name: str
    never: tuple[str, ...]
    now: str
    cause: str = ""


def held_for(record: ReadRecord | None, policy: Policy, now: int) -> str:
    """The agent that a waiting task is left to for a while, as it knows it; empty: none."""
    if record is None or record.state != "queued" or now >= held_until(record, policy):
        return ""
    return warm_agent(record)


def judge(spec: TaskSpec, record: ReadRecord | None, agents: Sequence[AgentRecord], held_for: str = "") -> list[Judged]:
    """What each agent is to this task. The record tells which of them failed it; it may be left to one for a while.

    Raises:
        InvalidRequirement: the spec's requirement or preferences do not parse.
    """
    demand = Demands().of(spec)
    avoided = agents_to_avoid(record) if record is not None else frozenset()
    others = any(_fit(demand, agent) and agent.link == "online" for agent in agents if agent.name not in avoided)
    return [
        Judged(
            agent.name,
            obstacles(demand, agent),
            hindrance(demand, agent)
            or (_avoided(record, agent.name) if agent.name in avoided and others else "")
            or (f"left for a while to {held_for}, which knows it" if held_for not in ("", agent.name) else ""),
            _cause(agent) if _fit(demand, agent) else "",
        )
        for agent in agents
    ]


def _avoided(record: ReadRecord | None, name: str) -> str:
    """Why an agent that could take it is passed over."""
    attempts = [attempt for attempt in record.attempts if attempt.agent == name] if record is not None else []
    last = attempts[-1].outcome if attempts else None
    return TAKEN_FROM_IT if last is not None and last.reason == "requeued" else FAILED_IT


def _cause(agent: AgentRecord) -> str:
    """What keeps an agent that is heard from out of service, or from using all of its slots."""
    if agent.link != "online":
        return ""
    if agent.health != "available":
        return agent.health_why
    return "it proves itself with one task at a time" if agent.probation and agent.running else ""


def _fit(demand: Demand, agent: AgentRecord) -> bool:
    return not obstacles(demand, agent)


def nobody(judged: Iterable[Judged]) -> bool:
    """Whether no agent could ever take it."""
    return all(agent.never for agent in judged)


def summary(judged: Iterable[Judged]) -> str:
    """One line such as `0 of 5 agents: 2 python 2 < 3, 2 busy, 1 offline`."""
    return summed(agent.now for agent in judged)


COLUMNS = (Column("AGENT", least=8), Column("COULD"), Column("WHY NOT", least=20))


def lines(judged: Sequence[Judged], record: ReadRecord | None, now: Now, width: int | None) -> list[Text]:
    """The answer in one line, and a line for each agent."""
    told = [_standing(record, now)] if record is not None and record.state != "queued" else []
    rows = [
        [
            said(agent.name, "bold"),
            said("no" if agent.never else "later" if agent.now else "now", "dim" if agent.never else ""),
            said(", ".join(agent.never) or ": ".join(part for part in (agent.now, agent.cause) if part)),
        ]
        for agent in sorted(judged, key=lambda agent: (bool(agent.never), bool(agent.now), agent.name))
    ]
    return [*told, said(summary(judged), "bold"), *(lay_out(COLUMNS, rows, width) if rows else ())]


def _standing(record: ReadRecord, now: Now) -> Text:
    """What stands between the task and an agent that is no matter of agents."""
    because = why(record, now)
    return Text.assemble(
        said("it is "), said(record.state, STYLES.get(record.state, "")), said(f": {because}" if because else "")
    )


def document(judged: Sequence[Judged], record: ReadRecord | None) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "task": brief(record) if record is not None else None,
        "line": summary(judged),
        "nobody": nobody(judged),
        "agents": [
            {
                "name": agent.name,
                "now": not agent.now,
                "ever": not agent.never,
                "why": list(agent.never) or [agent.now] * bool(agent.now),
                "cause": agent.cause,
            }
            for agent in judged
        ],
    }
