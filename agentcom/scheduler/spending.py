"""Counting what attempts used, once each, however often it is told."""

from __future__ import annotations

from agentcom.model.agent import AgentRecord
from agentcom.model.costs import TOKENS_MAX, Costs, sane
from agentcom.model.messages import Finished
from agentcom.model.task import Attempt, CarriedRecord
from agentcom.scheduler.state import State
from agentcom.scheduler.work import Work


def told(state: State, agent: AgentRecord, report: Finished) -> None:
    """A report tells what an attempt used: that is counted, if it was not before."""
    outcome = report.outcome
    if outcome.usage is None:
        return
    work = state.tasks.get(report.task)
    attempt = _attempt(work, report)
    if _was_told(agent, attempt, report):
        return
    usage = sane(outcome.usage)
    envelope = min(max(outcome.envelope_tokens, 0), TOKENS_MAX)
    state.accounts.add(agent.name, Costs(envelope_tokens=envelope, usage=usage))
    agent.spent += usage
    state.commit.agents[agent.name] = agent
    if work is not None:
        work.record.spent += usage
        state.commit.records[work.id] = work.record
    if attempt is not None:
        attempt.spent = True


def reopened(state: State, record: CarriedRecord) -> None:
    """A record that was not held in memory goes on. What was told of its attempts meanwhile was counted without it, and
    is not counted again; what still has its slot was not told yet."""
    for attempt in record.attempts:
        agent = state.agents.get(attempt.agent)
        attempt.spent = agent is None or not (attempt.token in agent.running or attempt.token in agent.ghosts)


def _attempt(work: Work | None, report: Finished) -> Attempt | None:
    """The attempt that a report is about, as far as its task is open and remembers it."""
    if work is None:
        return None
    found = (attempt for attempt in reversed(work.record.attempts) if attempt.token == report.token)
    return next((attempt for attempt in found if attempt.agent == report.agent), None)


def _was_told(agent: AgentRecord, attempt: Attempt | None, report: Finished) -> bool:
    """Whether what an attempt used was counted before. Of one whose task has ended nothing else is remembered here than
    its slot, which its first report frees."""
    if attempt is not None:
        return attempt.spent
    return agent.running.get(report.token) != report.task and report.token not in agent.ghosts
