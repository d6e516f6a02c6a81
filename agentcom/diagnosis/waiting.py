"""What may be wrong with tasks that wait for an agent. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.diagnosis.look import Look, Trouble
from agentcom.diagnosis.queues import AVOIDED, Queue
from agentcom.model.agent import AgentRecord
from agentcom.wording import count

STARVED_MS = 300_000
"""Agents come and go; that none is in service for so long is no accident."""

UNASSIGNED_MS = 30_000
BACKLOG_MS = 3_600_000


def starved(look: Look) -> Iterator[Trouble]:
    """No agent that is in service could take it."""
    for queue in _waiting(look, STARVED_MS):
        if not queue.in_service:
            yield _of_queue(look, queue, f"and no agent in service could take it: {queue.line}")


def backlog(look: Look) -> Iterator[Trouble]:
    """All who could take it have been busy for long."""
    for queue in _waiting(look, BACKLOG_MS):
        if queue.in_service and not queue.free and AVOIDED not in queue.hindrances.values():
            yield _of_queue(look, queue, f"as all who could take it are busy: {queue.line}")


def unassigned(look: Look) -> Iterator[Trouble]:
    """An agent that is idle could take it, and does not get it."""
    if not look.snapshot.leader or not _journal_reaches(look, look.now - UNASSIGNED_MS):
        return
    for queue in _waiting(look, UNASSIGNED_MS):
        idle = [name for name in queue.free if _idle(look, look.agents[name])]
        if idle:
            who = f"{idle[0]} and {count(len(idle) - 1, 'other agent')} are" if len(idle) > 1 else f"{idle[0]} is"
            yield _of_queue(look, queue, f"although {who} idle and could take it")


def _waiting(look: Look, for_ms: int) -> Iterator[Queue]:
    return (queue for queue in look.queues if look.now - queue.ready_at > for_ms)


def _idle(look: Look, agent: AgentRecord) -> bool:
    """Whether it has been free and in service for long enough to be noticed, and nothing happened to it meanwhile."""
    before = look.now - UNASSIGNED_MS
    if agent.running or max(agent.since_at, agent.health_at) > before:
        return False
    return not any(line.agent == agent.name and line.at > before for line in look.snapshot.lines)


def _journal_reaches(look: Look, at: int) -> bool:
    """Whether what happened since then is known: of a busy pool, the end of the journal tells of moments only."""
    lines = look.snapshot.lines
    return not lines or lines[0].at <= at


def _of_queue(look: Look, queue: Queue, what: str) -> Trouble:
    record = queue.oldest
    task = look.name(record.spec.id)
    return Trouble(
        f"task:{record.spec.id}",
        f"{look.titled(record)} has waited for {look.since(queue.ready_at)}, {what}",
        f"agentcom explain {task} says for each agent why",
        queue.ready_at,
        (
            f"requires: {record.spec.requires or 'nothing'}",
            f"waiting with the same demand: {count(queue.waiting, 'task')}",
            *((record.note,) if record.note else ()),
        ),
        look.titled(record),
    )
