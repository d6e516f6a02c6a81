"""What follows an attempt that did not complete."""

from __future__ import annotations

import zlib
from typing import Literal

from msgspec import Struct

from agentcom.model.reasons import class_of
from agentcom.model.task import Outcome
from agentcom.settings import Policy

Step = Literal["again", "handed_back", "wait", "ask_person", "give_up"]


class Decision(Struct, frozen=True):
    """What follows.

    - `again` after `delay_ms`.
    - `handed_back`: uncounted; at once and before others, but for one that comes back again and again.
    - `wait`: at once and uncounted, as its agent is tainted and will not get it.
    - `ask_person`: nothing, before a person has helped.
    - `give_up`: it fails; `dead` if it ran out of attempts.
    """

    step: Step
    delay_ms: int = 0
    dead: bool = False


def decide(
    outcome: Outcome, counted: int, cap: int, handbacks: int, waits: int, policy: Policy, seed: str = ""
) -> Decision:
    """The rule.

    Args:
        outcome: of the attempt that ended, not completed.
        counted: attempts that count against the cap, this one included; since a person last sent the task back.
        cap: the task's hard cap on attempts.
        handbacks: attempts handed back unharmed before this one.
        waits: attempts that met a rate limit before this one.
        policy: delays, and how many hand-backs and waits are free.
        seed: what the jitter follows from; the same seed makes the same delay, so that a decision can be replayed.
    """
    kind = class_of(outcome.reason)
    if outcome.result == "handed_back" and handbacks < policy.max_handbacks:
        # Whoever hands it back may be the only one who could take it: without a delay it goes to and fro in a storm.
        return Decision("handed_back", delay_ms=1_000 << min(handbacks - 1, 5) if handbacks else 0)
    if kind == "wait" and waits < policy.max_waits:
        return Decision("wait")
    if kind == "human":
        return Decision("ask_person")
    if kind == "never":
        return Decision("give_up")
    if counted >= cap:
        return Decision("give_up", dead=True)
    delays = policy.retry_delays_s
    delay_s = delays[min(counted, len(delays)) - 1] if delays else 0.0
    return Decision("again", delay_ms=int(delay_s * 1000 * (1 + policy.retry_jitter * _share(seed))))


def _share(seed: str) -> float:
    """A number from 0 up to 1 that looks random and follows from the seed."""
    return zlib.crc32(seed.encode()) / (1 << 32)
