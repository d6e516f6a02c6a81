"""Letting work wait for an agent: for any, or for a while for the one that knows it."""

from __future__ import annotations

from msgspec.structs import replace

from agentcom.model.task import Outcome
from agentcom.scheduler.assignment import held_until, warm_agent
from agentcom.scheduler.state import State
from agentcom.scheduler.work import Work


def make_ready(
    state: State, work: Work, now: int, trigger: str, outcome: Outcome | None = None, *, first: bool = False
) -> None:
    """Let it wait for an agent from now on, if anything is left of its budget; else it waits for a person."""
    if _asked_for_more(state, work, now, trigger):
        return
    work.record.ready_at = now
    reason, detail = (outcome.reason, outcome.detail) if outcome else ("", "")
    state.move(work, "queued", now, trigger, reason=reason, detail=detail)
    hold(state, work, now)
    state.matcher.push(work, first=first)


def make_ready_later(state: State, work: Work, delay_ms: int, now: int, trigger: str, outcome: Outcome) -> None:
    """Let it wait for an agent after a delay, as `make_ready` does."""
    if _asked_for_more(state, work, now, trigger):
        return
    work.record.ready_at = now + delay_ms
    state.move(work, "retry_wait", now, trigger, reason=outcome.reason, detail=outcome.detail)
    state.set_timer(work.record.ready_at, "retry", work.id, work.record.generation)


def ask_if_spent(state: State, task: str, now: int) -> None:
    """What an attempt used was only told when its task waited for another already."""
    work = state.tasks.get(task)
    if work is not None and work.record.state in ("queued", "retry_wait") and work.overspent():
        _asked_for_more(state, withdraw(state, work) if work.queued else work, now, "budget")


def _asked_for_more(state: State, work: Work, now: int, trigger: str) -> bool:
    overspent = work.overspent()
    if overspent:
        state.move(work, "input_required", now, trigger, reason="budget_exceeded", detail=overspent)
    return bool(overspent)


def hold(state: State, work: Work, now: int) -> None:
    """Before it waits in a lane: leave it for `warm_wait_s` to the agent that knows it, if that is in service."""
    if not work.record.attempts:
        return
    agent = state.agents.get(warm_agent(work.record))
    until = held_until(work.record, state.policy)
    held = agent is not None and agent.in_service and now < until
    work.held_for = agent.name if agent is not None and held else ""
    if held:
        state.set_timer(until, "hold", work.id, work.record.generation)


def let_go(state: State, work: Work) -> None:
    """A timer: the agent that knows it had no slot for so long, so that any other may take it."""
    if work.queued and work.held_for:
        state.matcher.push(withdraw(state, work), first=True)


def withdraw(state: State, work: Work) -> Work:
    """Take it from where it waits, for another place. What is left in that queue must not seem to wait there again when
    this does elsewhere, so what goes on is another object."""
    state.matcher.forget(work)
    free = state.tasks[work.id] = replace(work, held_for="", ghost=False)
    return free
