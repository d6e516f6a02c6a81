"""Whether an agent should be given work: the causes, and the one word that follows from them.

A cause is an observed event (an attempt failed, a self-test found something, a provider refused) or a person's wish.
The breaker: after `policy.breaker_failures` attempts in a row that it failed, an agent is degraded for
`policy.breaker_s`; all that it loses by going silent once is one failure. Then it needs a healthy self-test made since,
and proves itself with one task at a time until one completes. At the first attempt at which it shows no life at all it
is degraded, too, but only until that self-test: a task that no agent can be woken for must not stop all of them.
"""

from __future__ import annotations

from agentcom.model.agent import AgentRecord, Health
from agentcom.model.messages import Line, SelfTest
from agentcom.model.reasons import BREAKS_AT_ONCE, SILENT, is_strike
from agentcom.model.task import Outcome
from agentcom.scheduler.state import State

WHY_MAX = 300

LIMITED_MAX_MS = 7 * 86_400_000
"""No provider is waited for longer: who says so is mistaken."""


def settle(state: State, agent: AgentRecord, now: int, trigger: str) -> None:
    """Derive the health from its causes, write the record, and journal a change."""
    health, why = derived(agent, now)
    if health != agent.health:
        line = Line(now, "agent", trigger, agent.health, health, agent=agent.name, detail=why, axis="health")
        state.journal(line)
        agent.health, agent.health_at = health, now
    agent.health_why = why
    state.save_agent(agent)


def derived(agent: AgentRecord, now: int) -> tuple[Health, str]:
    """The health that follows from the causes, and the cause that decides: a person's wish before all others."""
    if agent.draining:
        return "draining", "taken out of service by a person"
    if agent.cordoned:
        return "cordoned", "taken out of service by a person"
    if agent.unfit:
        return "degraded", agent.unfit
    if agent.degraded_until:
        return "degraded", agent.degraded_why
    if agent.limited_until > now:
        return "rate_limited", agent.limited_why
    return "available", ""


def completed(state: State, agent: AgentRecord, now: int) -> None:
    """It brought an attempt to its end: it works. While it is degraded, what it still had says nothing of that."""
    if (agent.strikes or agent.probation) and not agent.degraded_until:
        agent.strikes, agent.probation = 0, False
        settle(state, agent, now, "completed")


def failed(state: State, agent: AgentRecord, outcome: Outcome, assigned_at: int, now: int) -> None:
    """An attempt at it failed, that it was given at `assigned_at`. All that is lost together is one strike."""
    lost = outcome.reason == "lost"
    if not is_strike(outcome.reason) or (lost and assigned_at < agent.lost_at):
        return
    if lost:
        agent.lost_at = now
    agent.strikes += 1
    count = f"{agent.strikes} attempts in a row failed" if agent.strikes > 1 else "an attempt failed"
    why = f"{count}, the last: {outcome.reason}"
    if agent.probation or outcome.reason in BREAKS_AT_ONCE or agent.strikes >= state.policy.breaker_failures:
        agent.broken = True
        _degrade(state, agent, why, now, state.policy.breaker_s)
    elif outcome.reason in SILENT:
        _degrade(state, agent, why, now, 0.0)


def _degrade(state: State, agent: AgentRecord, why: str, now: int, breaker_s: float) -> None:
    """No work for so long, and then not before a healthy self-test."""
    agent.degraded_until = max(agent.degraded_until, now + int(breaker_s * 1000))
    agent.degraded_at = now
    agent.degraded_why = why[:WHY_MAX]
    agent.probation = False
    state.set_timer(agent.degraded_until, "health", agent.name)
    settle(state, agent, now, "breaker")


def rate_limited(state: State, agent: AgentRecord, outcome: Outcome, now: int) -> None:
    """Its provider takes no requests until `outcome.resets_at`: a taint, that goes by itself."""
    policy = state.policy
    until = outcome.resets_at if outcome.resets_at > now else now + int(policy.rate_limit_s * 1000)
    agent.limited_until = max(agent.limited_until, min(until, now + LIMITED_MAX_MS))
    agent.limited_why = (outcome.detail or "its provider is rate limiting")[:WHY_MAX]
    state.set_timer(agent.limited_until, "health", agent.name)
    settle(state, agent, now, "rate_limited")


def unfit(state: State, agent: AgentRecord, why: str, now: int, trigger: str) -> None:
    """It says itself that it cannot work; its next healthy self-test says otherwise."""
    agent.unfit = (why or "it refused work")[:WHY_MAX]
    settle(state, agent, now, trigger)


def tested(state: State, agent: AgentRecord, test: SelfTest, now: int, made_at: int) -> None:
    """Take in the last self-test. One that is known already tells nothing new.

    Args:
        state: the scheduler's.
        agent: who made it.
        test: the test.
        now: the time.
        made_at: a time at which it had not ended yet.
    """
    if test.count <= agent.tests:
        return
    agent.tests = test.count
    agent.tested_at = made_at
    found(state, agent, test, now)


def found(state: State, agent: AgentRecord, test: SelfTest, now: int) -> None:
    """What a self-test says of the agent now, whenever that was made."""
    agent.unfit = "; ".join(test.problems)[:WHY_MAX]
    agent.damage = test.damage[:WHY_MAX]
    _return_to_service(agent, now)
    settle(state, agent, now, "self_test")


def due(state: State, name: str, now: int) -> None:
    """A timer: a cause may have passed."""
    agent = state.agents.get(name)
    if agent is None:
        return
    _return_to_service(agent, now)
    if agent.limited_until <= now:
        agent.limited_until = 0
    settle(state, agent, now, "timer")


def set_timers(state: State, agent: AgentRecord, now: int) -> None:
    """What an earlier leader was waiting for, whose clock may have been ahead of this one's: then it is due by as much
    earlier. An agent whose time is over waits for a self-test, and for no timer."""
    ahead = agent.health_at - now
    if ahead > 0:
        agent.health_at = now
        agent.limited_until = max(0, agent.limited_until - ahead)
    ahead = max(agent.degraded_at, agent.tested_at) - now
    if ahead > 0:
        agent.degraded_at -= ahead
        agent.tested_at -= ahead
    agent.degraded_until = min(agent.degraded_until, now + int(state.policy.breaker_s * 1000))
    agent.lost_at = min(agent.lost_at, now)
    if agent.limited_until:
        state.set_timer(agent.limited_until, "health", agent.name)
    if agent.degraded_until and (agent.degraded_until > now or _is_proven(agent)):
        state.set_timer(agent.degraded_until, "health", agent.name)


def started(agent: AgentRecord) -> None:
    """Its sidecar was started anew: its self-tests are counted from one again."""
    agent.tests = 0


def forgive(state: State, agent: AgentRecord, now: int) -> None:
    """A person mended it: nothing that happened is held against it. What its self-test finds stays true."""
    agent.strikes = agent.degraded_until = agent.limited_until = 0
    agent.probation = agent.broken = False
    settle(state, agent, now, "reset")


def _return_to_service(agent: AgentRecord, now: int) -> None:
    """After the breaker's time, if a self-test since then found nothing: half-open, with one task at a time. Who was
    only suspected is back as it was, and its strikes stay."""
    if not 0 < agent.degraded_until <= now or not _is_proven(agent):
        return
    agent.degraded_until = 0
    agent.degraded_why = ""
    if agent.broken:
        agent.broken = False
        agent.strikes = 0
        agent.probation = True


def _is_proven(agent: AgentRecord) -> bool:
    return agent.tested_at > agent.degraded_at and not agent.unfit
