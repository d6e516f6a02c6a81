"""What follows an attempt that did not complete."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from agentcom.model.reasons import retries
from agentcom.model.task import Outcome
from agentcom.settings import Policy


class Decision(Struct, frozen=True):
    """`again` after `delay_ms`; `handed_back`: at once, before others; `give_up`, `dead` if it ran out of attempts."""

    step: Literal["again", "handed_back", "give_up"]
    delay_ms: int = 0
    dead: bool = False


def decide(outcome: Outcome, counted: int, cap: int, handbacks: int, policy: Policy) -> Decision:
    """The rule.

    Args:
        outcome: of the attempt that ended, not completed.
        counted: attempts that count against the cap, this one included; since a person last sent the task back.
        cap: the task's hard cap on attempts.
        handbacks: attempts handed back unharmed before this one.
        policy: delays, and how many hand-backs are free.
    """
    if outcome.result == "handed_back" and handbacks < policy.max_handbacks:
        return Decision("handed_back")
    if not retries(outcome.reason):
        return Decision("give_up")
    if counted >= cap:
        return Decision("give_up", dead=True)
    delays = policy.retry_delays_s
    delay_s = delays[min(counted, len(delays)) - 1] if delays else 0.0
    return Decision("again", delay_ms=int(delay_s * 1000))
