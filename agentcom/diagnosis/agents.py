"""What may be wrong with agents. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.diagnosis.beats import clock_ahead_ms
from agentcom.diagnosis.look import SKEW_MS, Look, Trouble, milliseconds, spoken
from agentcom.model.agent import AgentRecord
from agentcom.wording import count

CRASHES = 5
CRASHES_MS = 600_000
"""So many starts within so long are a crash loop, as systemd's StartLimitBurst has it."""

TASKS_NAMED = 5
DISK = ("the disk of", "disk refuses", "cannot be written to")
"""What a sidecar says if its disk is full, or not to be written: see `agentcom.sidecar.checks`."""


def down(look: Look) -> Iterator[Trouble]:
    """Silent for too long, without a goodbye, and nobody took it out of service."""
    for agent in _silent(look):
        if _silent_ms(look, agent) > look.agent_down_ms and not (agent.cordoned or agent.draining):
            yield _of_agent(
                agent,
                f"{agent.name} is down: nothing was heard of it for {look.since(_heard_at(agent))}",
                f"start its sidecar again, or take it out of service: agentcom agent cordon {agent.name}",
                _heard_at(agent),
                (*_standing(agent), *_holds(look, agent)),
            )


def lost(look: Look) -> Iterator[Trouble]:
    """Silent, but not for so long that it counts as down."""
    for agent in _silent(look):
        if _silent_ms(look, agent) <= look.agent_down_ms:
            yield _of_agent(
                agent,
                f"{agent.name} is {agent.link}: its last beat was seen {look.since(_heard_at(agent))} ago"
                f"{_reclaimed(look, agent)}",
                "look at its sidecar; what it holds is given to others meanwhile",
                _heard_at(agent),
                (
                    f"it beats every {spoken(milliseconds(agent.card.beat_s))}, stale after {look.policy.stale_beats}",
                    *_standing(agent),
                    *_holds(look, agent),
                ),
            )


def unfit(look: Look) -> Iterator[Trouble]:
    """Its self-test found something."""
    for agent in _expected(look):
        if agent.unfit:
            yield _of_agent(
                agent,
                f"{agent.name} is not fit for work: {agent.unfit}",
                "mend that; the next healthy self-test brings it back by itself",
                _health_at(agent),
                _standing(agent),
            )


def damaged(look: Look) -> Iterator[Trouble]:
    """It found damaged files in its memory on disk. What they were about was settled as far as it could be."""
    for agent in look.snapshot.agents:
        if agent.damage:
            yield Trouble(
                f"agent:{agent.name}",
                f"the sidecar of {agent.name} could not read all of its journal, and set aside {agent.damage}",
                "see what damaged it (a disk, a power cut); remove the files when you have looked at them",
                0,
                _standing(agent),
                f"the sidecar of {agent.name}",
            )


def disk(look: Look) -> Iterator[Trouble]:
    """All agents that are heard from lack disk, so that nobody works; or one does for as long as would make it down."""
    heard = [agent for agent in look.snapshot.agents if agent.link == "online"]
    full = [agent for agent in heard if any(words in agent.unfit for words in DISK)]
    if full and len(full) == len(heard):
        yield Trouble(
            "pool",
            f"no agent can work: the disk of {count(len(full), 'agent')} that can be heard is full or not writable",
            "free disk space on the agents' machines; their next self-tests bring them back",
            max(map(_health_at, full)),
            tuple(f"{agent.name} on {agent.card.host or 'an unnamed host'}: {agent.unfit}" for agent in full),
        )
        return
    for agent in full:
        if 0 < _health_at(agent) < look.now - look.agent_down_ms:
            yield _of_agent(
                agent,
                f"{agent.name} has not been able to work for {look.since(_health_at(agent))}: {agent.unfit}",
                f"free disk space on {agent.card.host or 'its machine'}; its next self-test brings it back",
                _health_at(agent),
                _standing(agent),
            )


def degraded(look: Look) -> Iterator[Trouble]:
    """It failed too often, and gets no work for a while."""
    for agent in _expected(look):
        if agent.health == "degraded" and not agent.unfit:
            rest = agent.degraded_until > look.now
            when = f"for another {look.until(agent.degraded_until)}" if rest else "until a self-test finds it fit"
            yield _of_agent(
                agent,
                f"{agent.name} gets no work {when}: {agent.degraded_why or agent.health_why}",
                f"agentcom journal --agent {agent.name} says what failed; mended: agentcom agent reset {agent.name}",
                _health_at(agent),
                _standing(agent),
            )


def rate_limited(look: Look) -> Iterator[Trouble]:
    """Its provider takes no requests for a while."""
    for agent in _expected(look):
        if agent.health == "rate_limited" and agent.limited_until > look.now:
            yield _of_agent(
                agent,
                f"{agent.name} is rate limited for another {look.until(agent.limited_until)}: {agent.limited_why}",
                f"wait; if its limit is lifted before: agentcom agent reset {agent.name}",
                _health_at(agent),
                _standing(agent),
            )


def cordoned(look: Look) -> Iterator[Trouble]:
    """A person took it out of service."""
    for agent in look.snapshot.agents:
        if agent.cordoned and not agent.draining:
            yield _of_agent(
                agent,
                f"{agent.name} is cordoned: it gets no more work",
                f"agentcom agent resume {agent.name}",
                _health_at(agent),
                (*_standing(agent), *_holds(look, agent)),
            )


def draining(look: Look) -> Iterator[Trouble]:
    """A person took it out of service, and waits for it to be empty."""
    for agent in look.snapshot.agents:
        if agent.draining:
            left = (
                f"{count(len(agent.running), 'task')} to come to an end" if agent.running else "it holds nothing more"
            )
            yield _of_agent(
                agent,
                f"{agent.name} is draining: {left}",
                f"agentcom agent resume {agent.name}",
                _health_at(agent),
                (*_standing(agent), *_holds(look, agent)),
            )


def crash_loop(look: Look) -> Iterator[Trouble]:
    """Its sidecar is started again and again."""
    for agent in look.snapshot.agents:
        recent = [at for at in agent.starts if look.now - CRASHES_MS <= at]
        if len(recent) >= CRASHES:
            yield _of_agent(
                agent,
                f"{agent.name} was started {len(recent)} times within {look.since(min(recent))}",
                f"see why its sidecar ends: its own log, and agentcom journal --agent {agent.name}",
                min(recent),
                tuple(f"started {look.since(at)} ago" for at in recent[-CRASHES:]),
            )


def skew(look: Look) -> Iterator[Trouble]:
    """Its machine's clock is wrong, or that of Redis."""
    for agent in look.snapshot.agents:
        ahead_ms = clock_ahead_ms(look.snapshot, agent, look.policy)
        if ahead_ms is not None and abs(ahead_ms) > SKEW_MS:
            side = "ahead of" if ahead_ms > 0 else "behind"
            yield _of_agent(
                agent,
                f"{agent.name} has a clock that is {spoken(abs(ahead_ms))} {side} that of Redis, which decides nothing",
                "let its machine keep time: timedatectl set-ntp true, or chrony",
                0,
                (f"on {agent.card.host}",) if agent.card.host else (),
            )


def _of_agent(
    agent: AgentRecord, text: str, next_step: str, since_at: int = 0, evidence: tuple[str, ...] = ()
) -> Trouble:
    return Trouble(f"agent:{agent.name}", text, next_step, since_at, evidence, agent.name)


def _expected(look: Look) -> Iterator[AgentRecord]:
    """Those that did not say goodbye."""
    return (agent for agent in look.snapshot.agents if not agent.left)


def _silent(look: Look) -> Iterator[AgentRecord]:
    return (agent for agent in _expected(look) if agent.link != "online")


def _heard_at(agent: AgentRecord) -> int:
    """When something was last heard of an agent that is silent; its record was written since."""
    return agent.seen_at or agent.since_at


def _silent_ms(look: Look, agent: AgentRecord) -> int:
    return look.now - _heard_at(agent)


def _health_at(agent: AgentRecord) -> int:
    return agent.health_at or agent.since_at


def _standing(agent: AgentRecord) -> tuple[str, ...]:
    """Its axes, as far as they are not as they should be."""
    axes = [f"link {agent.link}", f"health {agent.health}"]
    host = f" on {agent.card.host}" if agent.card.host else ""
    return (f"{', '.join(axes)}{host}",)


def _reclaimed(look: Look, agent: AgentRecord) -> str:
    """When the scheduler takes back what a silent agent holds: as soon as its lease was not renewed for so long."""
    patience_ms = milliseconds(look.policy.beat_s) * look.policy.stale_beats
    left_ms = [patience_ms - order.idle_ms for order in look.snapshot.orders if order.agent == agent.name]
    if not left_ms or not look.snapshot.leader:
        return ""
    return f"; its work is reclaimed {look.until_or_now(look.now + max(left_ms))}"


def _holds(look: Look, agent: AgentRecord) -> tuple[str, ...]:
    held = sorted(set(agent.running.values()))
    if not held:
        return ()
    more = f" and {len(held) - TASKS_NAMED:,} more" if len(held) > TASKS_NAMED else ""
    return (f"it holds {', '.join(look.name(task) for task in held[:TASKS_NAMED])}{more}",)
