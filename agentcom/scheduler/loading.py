"""Taking up an open task that is known from its record: what it waits for goes on from where it stood."""

from __future__ import annotations

from agentcom.model.codec import decode_spec
from agentcom.model.lifecycle import ENDED
from agentcom.model.task import CarriedRecord
from agentcom.scheduler.state import State
from agentcom.scheduler.waiting import hold
from agentcom.scheduler.work import make_work

RETURN_MS = 12_000
"""If Redis was away, sidecars are back within this, and say what they could not say: they try every 10 s at least."""


def take_up(state: State, record: CarriedRecord, now: int) -> str:
    """Hold a task in memory as its record says. Returns why this version cannot read its spec, if that is so.

    Raises:
        InvalidRequirement: the spec's `requires` or `prefer` does not parse.
    """
    policy = state.policy
    _set_back(record, now)
    state.seq = max(state.seq, record.seq)
    spec = decode_spec(record.spec)
    if isinstance(spec, str):
        return spec
    demand = state.demands.of(spec)
    work = make_work(record, spec, demand, policy.max_attempts, policy.timeout_s)
    state.hold(work)
    if record.state == "queued":
        hold(state, work, now)
        state.matcher.push(work)
    elif record.state == "retry_wait":
        state.set_timer(record.ready_at, "retry", work.id, record.generation)
    elif record.state == "assigned":
        due_at = record.attempts[-1].assigned_at + int(policy.accept_s * 1000)
        state.set_timer(max(now + RETURN_MS, due_at), "accept", work.id, record.generation)
    elif record.state == "input_required" and record.answer_by:
        state.set_timer(record.answer_by, "answer", work.id, record.generation)
    elif record.state in ENDED:
        state.close_if_done(work)
    return ""


def _set_back(record: CarriedRecord, now: int) -> None:
    """The clock of the leader that wrote this may have been ahead of this one's: what is due later is so by as much."""
    ahead = record.changed_at - now
    if ahead > 0:
        record.changed_at = now
        if record.state == "retry_wait":
            record.ready_at -= ahead
        elif record.state == "input_required" and record.answer_by:
            record.answer_by -= ahead
        elif record.state == "assigned":
            record.attempts[-1].assigned_at = min(now, record.attempts[-1].assigned_at)
    ahead = record.submitted_at - now
    if ahead > 0:
        record.submitted_at = now
        if record.expires_at:
            record.expires_at -= ahead
