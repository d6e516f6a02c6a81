"""Reality wins: where an agent's record and its beat differ about what runs, the record is put right.

What a beat says may be overtaken by what is on its way: an order that was not read yet, an outcome that was sent
meanwhile. So a difference counts only if the beat is younger than the assignment, and only when the next beat shows it
again; in between, the sidecar is asked for the outcome it may hold.
"""

from __future__ import annotations

from agentcom.model.agent import MAX_SLOTS, AgentRecord
from agentcom.model.messages import Ask, Beat
from agentcom.scheduler import attempts
from agentcom.scheduler.state import State, Suspicion


def reconcile(state: State, agent: AgentRecord, beat: Beat, heard_before_at: int, now: int) -> None:
    """Compare what a new beat names with what the record says.

    Args:
        state: the scheduler's.
        agent: whose sidecar sent the beat.
        beat: one that differs from the last.
        heard_before_at: when the agent was last heard from before; the beat was sent after that.
        now: the time.
    """
    suspicion = state.suspicions.setdefault(agent.name, Suspicion())
    _lay_ghosts(state, agent, beat)
    _missing(state, agent, beat, suspicion, heard_before_at, now)
    _strangers(state, agent, beat, suspicion)


def _missing(
    state: State, agent: AgentRecord, beat: Beat, suspicion: Suspicion, heard_before_at: int, now: int
) -> None:
    """What the record says that it has, and the beat does not name: asked for once, and lost with the next beat.

    Its slot is free when the sidecar answers the stop: its order may still stand in the stream, and be read later.
    """
    if beat.unsent:
        return  # its outcome may be among what waits to be sent
    missing = [
        token
        for token in agent.running
        if token not in beat.running and _assigned_at(state, agent, token) < heard_before_at
    ]
    for token in missing:
        task = agent.running[token]
        if token in suspicion.stopped:
            continue
        if token not in suspicion.asked:
            suspicion.asked.add(token)
            state.remind(agent.name, Ask(incarnation=agent.incarnation, task=task, token=token))
        else:
            why = "the agent's beats do not name it, and no outcome of it came"
            attempts.tell_to_stop(state, agent, task, token, why)
            suspicion.stopped.add(token)
            attempts.end_if_current(state, agent, token, now, "reconcile", why)
    suspicion.asked.intersection_update(missing)
    suspicion.stopped.intersection_update(missing)


def _assigned_at(state: State, agent: AgentRecord, token: str) -> int:
    """When the attempt was assigned; what is not the current one of its task was long ago."""
    work = state.awaited(agent.running[token], token)
    return work.record.attempts[-1].assigned_at if work is not None else 0


def _strangers(state: State, agent: AgentRecord, beat: Beat, suspicion: Suspicion) -> None:
    """What the beat names and nobody waits for is told to stop, once: what was taken from it at once, else when the
    next beat names it again."""
    named = {
        token: task
        for token, task in list(beat.running.items())[: 2 * MAX_SLOTS]
        if not _is_wanted(state, agent, token, task)
    }
    for token, task in named.items():
        sure = token in suspicion.strangers or token in agent.ghosts
        if sure and token not in suspicion.told:
            attempts.tell_to_stop(state, agent, task, token, "the pool does not wait for this attempt")
            suspicion.told.add(token)
    suspicion.told.intersection_update(named)
    suspicion.strangers = set(named)


def _is_wanted(state: State, agent: AgentRecord, token: str, task: str) -> bool:
    """Whether this is the attempt that its task waits for. The record of an agent that lost it lists it again."""
    work = state.awaited(task, token)
    if work is None or work.record.attempts[-1].agent != agent.name:
        return False
    if token not in agent.running:
        agent.running[token] = task
        state.save_agent(agent)
    return True


def _lay_ghosts(state: State, agent: AgentRecord, beat: Beat) -> None:
    """What was taken from it while it was silent, and does not run any more, occupies no slot any more."""
    gone = agent.ghosts.keys() - beat.running.keys()
    for token in gone:
        del agent.ghosts[token]
    if gone:
        state.save_agent(agent)
