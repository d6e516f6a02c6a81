"""What can happen to the scheduler's core. The service makes these of what it reads; the core never reads."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from agentcom.model.messages import AnyReport, AnyRequest, Beat
from agentcom.model.task import CarriedRecord


class Requested(Struct, frozen=True):
    """An inbox entry. `found` holds records of tasks it names that are not open, as far as Redis still has them."""

    entry: str
    request: AnyRequest
    found: Mapping[str, CarriedRecord]


class Reported(Struct, frozen=True):
    """An entry of the reports stream."""

    entry: str
    report: AnyReport


class Malformed(Struct, frozen=True):
    """An entry that is no message of this protocol, with what is wrong with it."""

    entry: str
    stream: str
    problem: str


class Beaten(Struct, frozen=True):
    """A beat that differs from the last one seen of its agent.

    Attributes:
        beat: what it says.
        after_at: when it was not there yet.
        judged: everything that was reported before it is known, so that what it names can be compared with the record.
    """

    beat: Beat
    after_at: int
    judged: bool = True


class Reclaimed(Struct, frozen=True):
    """An order that the sweep really got, by XCLAIM or by reading what its agent never did. No token: no assignment."""

    agent: str
    entry: str
    token: str


class Emptied(Struct, frozen=True):
    """The sweep found that this agent's stream holds no order any more."""

    agent: str


Event = Requested | Reported | Malformed | Beaten | Reclaimed | Emptied
