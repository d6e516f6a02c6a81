"""What a monitor saw, and what follows from it, as the screen needs it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from msgspec import Struct

from agentcom.diagnosis import Finding, Order, Snapshot
from agentcom.diagnosis.beats import beat_age_ms
from agentcom.ids import short, shorten
from agentcom.model.agent import AgentRecord
from agentcom.model.messages import DeadLetter
from agentcom.model.task import Attempt, ReadRecord
from agentcom.monitor.live.costs import Known
from agentcom.monitor.live.history import History
from agentcom.settings import Policy

AGENT, TASK = "agent:", "task:"
"""What a subject begins with; see `agentcom.diagnosis.Finding`."""


class Opened(Struct, frozen=True):
    """What was read of what a person has opened.

    Attributes:
        records: of the task and those that it comes after, or of the tasks that an agent had.
        output: the end of what the task's agent printed: lines, safe to print.
    """

    records: dict[str, ReadRecord] = {}
    output: tuple[str, ...] = ()


NOTHING_OPENED = Opened()
NO_COSTS = Known()


class Picture:
    """One look.

    Args:
        snapshot: what was seen.
        findings: what is wrong with it, the gravest first.
        policy: the pool's.
        history: of the last hour.
        costs: what work cost.
        opened: what was read of what is open.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        findings: Sequence[Finding],
        policy: Policy,
        history: History | None = None,
        costs: Known = NO_COSTS,
        opened: Opened = NOTHING_OPENED,
    ) -> None:
        self.snapshot = snapshot
        self.findings = findings
        self.policy = policy
        self.history = history or History()
        self.costs = costs
        self.opened = opened

    @cached_property
    def agents(self) -> dict[str, AgentRecord]:
        """By name."""
        return {agent.name: agent for agent in self.snapshot.agents}

    @property
    def waiting(self) -> int:
        """How many open tasks no agent has."""
        return max(0, self.snapshot.open - sum(len(agent.running) for agent in self.snapshot.agents))

    @cached_property
    def records(self) -> dict[str, ReadRecord]:
        """By id: open tasks, and whatever is opened."""
        return self.opened.records | {record.spec.id: record for record in self.snapshot.tasks}

    @cached_property
    def letters(self) -> dict[str, DeadLetter]:
        """By task."""
        return {letter.task: letter for letter in self.snapshot.letters}

    @cached_property
    def orders(self) -> dict[str, list[Order]]:
        """By agent."""
        found: dict[str, list[Order]] = {}
        for order in self.snapshot.orders:
            found.setdefault(order.agent, []).append(order)
        return found

    @cached_property
    def of_subject(self) -> dict[str, list[Finding]]:
        """Findings by what they are about, the gravest first."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.subject, []).append(finding)
        return found

    @cached_property
    def of_pool(self) -> list[Finding]:
        """Findings that are about no single agent or task, the gravest first."""
        return [finding for finding in self.findings if not finding.subject.startswith((AGENT, TASK))]

    @cached_property
    def _names(self) -> dict[str, str]:
        return shorten(self.records.keys() | self.letters.keys())

    def name(self, task: str) -> str:
        """How a task is called for people."""
        return self._names.get(task) or short(task)

    def running(self, agent: AgentRecord) -> list[ReadRecord]:
        """What it works on, as far as it was read: what something is wrong with first, then the oldest."""
        held = [self.records[task] for task in dict.fromkeys(agent.running.values()) if task in self.records]
        return sorted(held, key=lambda record: (not self.of_subject.get(TASK + record.spec.id), begun_at(record)))

    def beat_age_ms(self, agent: AgentRecord) -> int | None:
        """How old its last beat is by the server's clock, whatever its machine's says; None if that is unknown."""
        return beat_age_ms(self.snapshot, agent, self.policy)


def last_attempt(record: ReadRecord) -> Attempt | None:
    """The one that goes on, or was the last."""
    return record.attempts[-1] if record.attempts else None


def begun_at(record: ReadRecord) -> int:
    """Since when its last attempt is worked on; since its assignment before the agent showed life."""
    last = last_attempt(record)
    return (last.accepted_at or last.assigned_at) if last is not None else record.changed_at
