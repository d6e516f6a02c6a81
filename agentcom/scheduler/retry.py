"""What follows an attempt that did not complete."""

from __future__ import annotations

import zlib
from typing import Literal

from msgspec import Struct

from agentcom.model.reasons import class_of
from agentcom.model.task import Outcome
from agentcom.settings import Policy

Step = Literal["again", "handed_back", "wait", "continue", "ask_person", "give_up"]


class Decision(Struct, frozen=True):
    """What follows.

    - `again` after `delay_ms`.
    - `handed_back`: uncounted; at once and before others, but for one that comes back again and again.
    - `wait`: at once and uncounted, as its agent is tainted and will not get it.
    - `continue`: at once and uncounted, by the next part.
    - `ask_person`: nothing, before a person has helped.
    - `give_up`: it fails; `dead` if it ran out of attempts.
    """

    step: Step
    delay_ms: int = 0
    dead: bool = False


class Past(Struct, frozen=True):
    """What became of a task so far, the attempt that ended included.

    Attributes:
        counted: attempts that count against the cap, since a person last sent the task back.
        handbacks: attempts handed back unharmed before this one.
        waits: attempts that met a rate limit before this one.
        parts: how many parts it has had, this one included, since a person last sent the task back.
    """

    counted: int
    handbacks: int = 0
    waits: int = 0
    parts: int = 1


def decide(outcome: Outcome, past: Past, cap: int, policy: Policy, seed: str = "") -> Decision:
    """The rule.

    Args:
        outcome: of the attempt that ended, not completed.
        past: what became of the task so far.
        cap: the task's hard cap on attempts.
        policy: delays, and how many hand-backs, waits and parts are free.
        seed: what the jitter follows from; the same seed makes the same delay, so that a decision can be replayed.
    """
    free = _uncounted(outcome, past, policy)
    if free is not None:
        return free
    kind = class_of(outcome.reason)
    if kind == "human":
        return Decision("ask_person")
    if kind == "never":
        return Decision("give_up")
    if kind == "split" or past.counted >= cap:
        return Decision("give_up", dead=True)
    delays = policy.retry_delays_s
    delay_s = delays[min(past.counted, len(delays)) - 1] if delays else 0.0
    return Decision("again", delay_ms=int(delay_s * 1000 * (1 + policy.retry_jitter * _share(seed))))


def _uncounted(outcome: Outcome, past: Past, policy: Policy) -> Decision | None:
    """What follows an attempt that does not count against the cap; each kind of them is free up to a bound."""
    kind = class_of(outcome.reason)
    if outcome.result == "handed_back" and past.handbacks < policy.max_handbacks:
        # Whoever hands it back may be the only one who could take it: without a delay it goes to and fro in a storm.
        return Decision("handed_back", delay_ms=1_000 << min(past.handbacks - 1, 5) if past.handbacks else 0)
    if kind == "wait" and past.waits < policy.max_waits:
        return Decision("wait")
    if kind == "split" and past.parts < policy.max_parts:
        return Decision("continue")
    return None


def _share(seed: str) -> float:
    """A number from 0 up to 1 that looks random and follows from the seed."""
    return zlib.crc32(seed.encode()) / (1 << 32)
