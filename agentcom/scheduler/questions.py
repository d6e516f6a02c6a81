"""A task that only a person can help on: until when, and whether a slot of its agent is kept for it."""

from __future__ import annotations

from agentcom.model.task import Outcome
from agentcom.scheduler.state import State
from agentcom.scheduler.work import Work


def ask(state: State, work: Work, outcome: Outcome, now: int, trigger: str) -> None:
    """Let it wait for a person. One whose agent asked something may have a deadline, and keep its slot."""
    record, policy = work.record, state.policy
    state.move(work, "input_required", now, trigger, reason=outcome.reason, detail=outcome.detail)
    if not outcome.asks:
        return
    if policy.answer_s:
        record.answer_by = now + int(policy.answer_s * 1000)
        state.set_timer(record.answer_by, "answer", work.id, record.generation)
    if policy.input_holds_slot:
        state.reserve(work)
