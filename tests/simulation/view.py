"""What the judge knows of one server's data: it sees every commit, report, beat and claim that was performed there."""

from __future__ import annotations

from collections import deque
from typing import Any

from agentcom.model.agent import AgentRecord
from agentcom.model.costs import Costs
from agentcom.model.task import CarriedRecord, TaskSpec

BEATS_KEPT = 6


class TaskView:
    """A task as far as the journal has told its life."""

    __slots__ = ("generation", "record", "reopened", "spec", "state")

    def __init__(self) -> None:
        self.state = "submitted"
        self.generation = 0
        self.reopened = False
        """It had ended, and was sent back."""
        self.record: CarriedRecord | None = None
        self.spec: TaskSpec | None = None

    def copy(self) -> TaskView:
        twin = TaskView()
        twin.state, twin.generation, twin.record, twin.spec = self.state, self.generation, self.record, self.spec
        twin.reopened = self.reopened
        return twin

    @property
    def token(self) -> str:
        return self.record.attempts[-1].token if self.record is not None and self.record.attempts else ""


class View:
    """Everything that was seen on one server. A server that is forked (a replica, a snapshot) has its own."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskView] = {}
        self.agents: dict[str, AgentRecord] = {}
        self.beats: dict[str, deque[tuple[float, str]]] = {}
        """By agent: when the last beats came, of which incarnation."""
        self.fresh: dict[tuple[Any, ...], dict[str, None]] = {}
        """Waiting tasks that never failed, by what they ask for and their priority."""
        self.costs: dict[str, Costs] = {}
        """What is kept of costs."""
        self.orders: dict[tuple[str, str], str] = {}
        """(agent, token) → task of assignments that were ordered."""

    def copy(self) -> View:
        twin = View()
        twin.tasks = {task: known.copy() for task, known in self.tasks.items()}
        twin.agents = dict(self.agents)
        twin.beats = {agent: deque(times, BEATS_KEPT) for agent, times in self.beats.items()}
        twin.fresh = {demand: dict(tasks) for demand, tasks in self.fresh.items()}
        twin.costs = dict(self.costs)
        twin.orders = dict(self.orders)
        return twin

    def heard(self, agent: str, incarnation: str, at_s: float) -> None:
        self.beats.setdefault(agent, deque(maxlen=BEATS_KEPT)).append((at_s, incarnation))

    def beats_regularly(self, agent: str, now_s: float) -> bool:
        """Whether this agent's current start has beaten without a gap for as long as it takes to be thought dead."""
        record = self.agents.get(agent)
        if record is None or record.left:
            return False
        gap_s = record.card.beat_s * 1.5
        times = [at_s for at_s, incarnation in self.beats.get(agent, ()) if incarnation == record.incarnation]
        return len(times) >= 4 and all(b - a <= gap_s for a, b in zip(times, [*times[1:], now_s], strict=True))
