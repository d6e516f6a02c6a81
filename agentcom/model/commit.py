"""What the scheduler's core wants written: plain data, performed whole or not at all by `agentcom.broker.commit`."""

from __future__ import annotations

from msgspec import Struct, field

from agentcom.model.agent import AgentRecord
from agentcom.model.costs import Costs
from agentcom.model.messages import DeadLetter, Line, Refusal
from agentcom.model.task import CarriedRecord

LAST_ID = f"{2**64 - 1}-{2**64 - 1}"
"""The last id that a stream can have. Once an entry has it, which somebody gave by hand, no other can be added."""

DIGITS_MAX = 18
"""Of a number that is kept as text; a longer one is none of ours."""


class OrderOut(Struct, frozen=True):
    """An order for one agent's stream, already encoded."""

    agent: str
    body: bytes


class RefusalOut(Struct, frozen=True):
    """What of an inbox entry was not taken on, for its sender to read at `refused:ENTRY`."""

    entry: str
    refusals: list[Refusal]


class Commit(Struct):
    """One atomic step of the pool.

    Attributes:
        new: ids of records that must not exist yet; if one does, nothing is written.
        records: task records to write; those that ended get their time to live.
        opened, closed: changes of the index of open tasks, `opened` with its order.
        orders: entries to add to agents' streams.
        settled: (agent, order entry) pairs whose attempt is over; acknowledged and deleted.
        agents: agent records to write, or None to forget the agent and its stream.
        keys: idempotency key → "task id@ended at", or None to forget it.
        costs: what work cost, by field of that hash, or None to forget it.
        refusals, lines, dead: for senders, the journal and the dead-letter stream.
        remade: agents whose stream of orders is removed, and begins anew with the orders of this commit.
        bounded: names of keys, behind the pool's prefix, that get an end of life.
        kept: names of keys that lose it.
        restated: write positions in inbox and reports although they have not moved.
        signs: what the pool says of itself beside its head, by name; None takes it back.
        requeued: when work went round since the last completion, if that changed.
        admitted: how many tasks were ever taken on, if that changed: the next one's place in the order of admission.
        inbox_at, reports_at: stream positions up to which everything has been taken into account.
    """

    new: list[str] = field(default_factory=list)
    records: dict[str, CarriedRecord] = field(default_factory=dict)
    opened: list[tuple[str, int]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    orders: list[OrderOut] = field(default_factory=list)
    settled: list[tuple[str, str]] = field(default_factory=list)
    agents: dict[str, AgentRecord | None] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict)
    costs: dict[str, Costs | None] = field(default_factory=dict)
    refusals: list[RefusalOut] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    remade: list[str] = field(default_factory=list)
    bounded: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    restated: bool = False
    signs: dict[str, str | None] = field(default_factory=dict)
    requeued: tuple[int, ...] | None = None
    admitted: int = 0
    inbox_at: str = ""
    reports_at: str = ""

    @property
    def empty(self) -> bool:
        """Nothing to write at all."""
        return not (
            self.records or self.orders or self.settled or self.agents or self.keys or self.costs or self.lines
            or self.closed or self.remade or self.bounded or self.kept or self.signs or self.inbox_at or self.reports_at
        )  # fmt: skip
