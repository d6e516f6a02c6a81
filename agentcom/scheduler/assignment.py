"""What an agent is told with an assignment: the task, and what earlier attempts at it left for this one."""

from __future__ import annotations

from agentcom.model.agent import AgentRecord
from agentcom.model.messages import Assign
from agentcom.model.reasons import resumes
from agentcom.model.task import NO_USAGE, Attempt, CarriedRecord, Outcome, ReadRecord, Usage
from agentcom.scheduler.parts import is_full
from agentcom.scheduler.work import Work
from agentcom.settings import Policy


def branch_of(agent: str, task: str) -> str:
    """The branch of a task that is first given to this agent. Git takes no name with `..`, or a part on `.lock`."""
    part = agent.replace("..", "--")
    return f"{part}-/{task}" if part.endswith(".lock") else f"{part}/{task}"


def order_of(work: Work, agent: AgentRecord) -> Assign:
    """The order of its latest attempt, which this agent makes."""
    record = work.record
    attempt = record.attempts[-1]
    session, session_usage = _session(record, agent.name) if len(record.attempts) > 1 else ("", NO_USAGE)
    answered = record.answer != ""
    return Assign(
        incarnation=agent.incarnation,
        task=work.id,
        token=attempt.token,
        spec=record.spec,
        attempt=record.counted,
        timeout_s=work.timeout_s,
        branch=record.branch,
        part=record.part,
        summary=record.parts_summary,
        session=session,
        session_usage=session_usage,
        question=record.question if answered else "",
        answer=record.answer,
        tokens_left=work.tokens_left,
        usd_left=work.usd_left,
        pull_request=record.pull_request,
    )


def warm_agent(record: CarriedRecord | ReadRecord) -> str:
    """The agent that the next attempt should be left to for a while: it ran out of context, and its worktree is as it
    left it; or it asked, and what it asked was answered. Empty: none."""
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.outcome is None:
        return ""
    return last.agent if is_full(last.outcome) or (record.answer and last.outcome.asks) else ""


def held_until(record: CarriedRecord | ReadRecord, policy: Policy) -> int:
    """Until when a waiting task is left to its warm agent at most; when it became ready, if it has none."""
    return record.ready_at + (int(policy.warm_wait_s * 1000) if warm_agent(record) else 0)


def _session(record: CarriedRecord, agent: str) -> tuple[str, Usage]:
    """The session that the latest attempt may resume, and what of its usage is counted already: of an attempt by the
    same agent, since when nobody else has worked on the task, and nothing speaks against going on in it."""
    for attempt in reversed(record.attempts[:-1]):
        ended = _end(attempt)
        if ended is None or not resumes(ended.reason):
            break
        if attempt.agent == agent and ended.session:
            return ended.session, ended.session_usage
        if attempt.agent != agent and ended.result != "handed_back":
            break
    return "", NO_USAGE


def _end(attempt: Attempt) -> Outcome | None:
    """How an attempt ended. One that was given up may have been told of later, and then it is known better."""
    late = attempt.late
    return late if late is not None and late.session else attempt.outcome
