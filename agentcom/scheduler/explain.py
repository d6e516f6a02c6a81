"""Who could take a task, who could not, and why, in the fewest words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain, repeat

from agentcom.capability import parse
from agentcom.model.agent import AgentRecord
from agentcom.scheduler.work import CONTEXT_SHARE, Demand
from agentcom.wording import utc_time

REASONS_SHOWN = 6


def obstacles(demand: Demand, agent: AgentRecord) -> tuple[str, ...]:
    """Why this agent could never take it as things are; empty if it could, once it has a free slot."""
    card = agent.card
    found: list[str] = []
    if demand.agent and demand.agent != agent.name:
        return (f"not {demand.agent}",)
    if demand.context_tokens and card.context_tokens and demand.context_tokens > card.context_tokens * CONTEXT_SHARE:
        found.append(f"context {demand.context_tokens:,} over {CONTEXT_SHARE:.0%} of {card.context_tokens:,}")
    if card.accepts and not parse(card.accepts).satisfied_by(demand.facts):
        found.append(f"accepts only {card.accepts}")
    found += demand.requirement.explain(card.attributes)
    return tuple(found)


def hindrance(demand: Demand, agent: AgentRecord) -> str:
    """Why this agent does not take it now; empty if it could at once."""
    found = obstacles(demand, agent)
    if found:
        return found[0]
    if agent.link != "online":
        return agent.link
    if agent.health == "rate_limited":
        return f"rate limited until {utc_time(agent.limited_until)}"
    if agent.health != "available":
        return agent.health
    return "" if agent.free_slots else "busy"


def explain(demand: Demand, agents: Iterable[AgentRecord]) -> str:
    """One line such as `0 of 5 agents: 2 python 2 < 3, 2 busy, 1 offline`."""
    return summed(hindrance(demand, agent) for agent in agents)


def explain_never(demand: Demand, alike: Iterable[Collection[AgentRecord]]) -> str:
    """Such a line on agents of which none could ever take it.

    Args:
        demand: of the task.
        alike: groups of agents with equal cards: what hinders one hinders all, unless it is the name.
    """
    if demand.agent:
        return explain(demand, chain.from_iterable(alike))
    return summed(chain.from_iterable(repeat(hindrance(demand, next(iter(group))), len(group)) for group in alike))


def summed(hindrances: Iterable[str]) -> str:
    """The same line, from what hinders each agent; empty for one that nothing hinders."""
    reasons = Counter(hindrances)
    total, able = sum(reasons.values()), reasons.pop("", 0)
    if not total:
        return "no agent is registered"
    shown = [f"{number} {reason}" for reason, number in reasons.most_common(REASONS_SHOWN)]
    line = f"{able} of {total} agents" if total != 1 else f"{able} of 1 agent"
    return f"{line}: {', '.join(shown)}" if shown else line
