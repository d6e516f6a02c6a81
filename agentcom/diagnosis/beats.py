"""How old beats are, whatever the clocks of the agents' machines say. Pure."""

from __future__ import annotations

from agentcom.diagnosis.look import milliseconds
from agentcom.diagnosis.snapshot import Snapshot
from agentcom.model.agent import AgentRecord
from agentcom.model.messages import beat_kept_ms
from agentcom.settings import Policy


def beat_age_ms(snapshot: Snapshot, agent: AgentRecord, policy: Policy) -> int | None:
    """How long ago the server got an agent's last beat, as it tells by how long it will still keep it.

    None if there is no beat of this start of its sidecar, or the sidecar goes by another policy.
    """
    beat, left_ms = snapshot.beats.get(agent.name), snapshot.beat_left_ms.get(agent.name, 0)
    age_ms = beat_kept_ms(milliseconds(agent.card.beat_s), policy.stale_beats) - left_ms
    known = beat is not None and beat.incarnation == agent.incarnation and left_ms > 0 and age_ms >= 0
    return age_ms if known else None


def clock_ahead_ms(snapshot: Snapshot, agent: AgentRecord, policy: Policy) -> int | None:
    """How far the clock of an agent's machine is ahead of the server's; None if that is unknown."""
    age_ms = beat_age_ms(snapshot, agent, policy)
    if age_ms is None or not snapshot.server_at:
        return None
    return snapshot.beats[agent.name].at - (snapshot.server_at - age_ms)
