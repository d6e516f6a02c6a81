"""Taking an agent out of service and back: what a person asks for. Asking twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from agentcom.model.messages import AgentRequest, Cordon, Drain, Refusal, Reset, Resume
from agentcom.scheduler import health
from agentcom.scheduler.state import State


def handle(state: State, request: AgentRequest, now: int) -> Iterable[Refusal]:
    """Take a request about an agent on, or refuse it."""
    agent = state.agents.get(request.agent)
    if agent is None:
        yield Refusal("", f"there is no agent {request.agent[:80]!r}")
        return
    wanted = (agent.cordoned, agent.draining)
    match request:
        case Cordon():
            wanted = (True, agent.draining)
        case Drain():
            wanted = (agent.cordoned, True)
        case Resume():
            wanted = (False, False)
        case Reset():
            if agent.strikes or agent.degraded_until or agent.limited_until or agent.probation:
                health.forgive(state, agent, now)
            return
    if wanted != (agent.cordoned, agent.draining):
        agent.cordoned, agent.draining = wanted
        if agent.cordoned or agent.draining:
            agent.reserved = ()
        health.settle(state, agent, now, type(request).__name__.lower())
