"""What one turn of an agent came to."""

from __future__ import annotations

from msgspec import Struct, field

from agentcom.adapters.base import Turn
from agentcom.model.task import Outcome, Usage

CUT_SHORT = Outcome("failed", "lost", "it was ended before it had an outcome")


class TurnEnd(Struct, frozen=True):
    """What a turn came to by the agent's own account.

    Attributes:
        outcome: completed means that the agent says so.
        turn: what it told meanwhile.
        usage: of this turn alone.
        no_change: why it says that nothing had to be changed; empty if it does not say so.
        program: name and version, where it told its version.
        begun: the agent was woken at all.
    """

    outcome: Outcome
    turn: Turn = field(default_factory=Turn)
    usage: Usage = Usage()
    no_change: str = ""
    program: str = ""
    begun: bool = True
