"""What a sidecar says of its agent, and how often it says that it lives."""

from __future__ import annotations

import socket
import zlib

from agentcom.model.agent import Card
from agentcom.settings import Policy


def beat_interval_s(name: str, policy: Policy) -> float:
    """How often this agent beats: the policy's interval plus an offset from its name, so that beats spread out."""
    return policy.beat_s + policy.beat_offset_s * (zlib.crc32(name.encode()) % 1_000) / 1_000


def card_of(
    attributes: dict[str, str | int | float | bool],
    *,
    slots: int,
    accepts: str,
    context_tokens: int,
    runner: str,
    version: str,
) -> Card:
    """The card of an agent on this machine."""
    return Card(
        attributes=attributes,
        slots=slots,
        accepts=accepts,
        context_tokens=context_tokens,
        runner=runner,
        host=socket.gethostname(),
        version=version,
    )
