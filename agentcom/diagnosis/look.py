"""What a rule is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

from msgspec import Struct

from agentcom.diagnosis.finding import Severity
from agentcom.diagnosis.queues import Queue, queues_of
from agentcom.diagnosis.snapshot import Snapshot
from agentcom.ids import shorten
from agentcom.model.agent import AgentRecord
from agentcom.model.task import ReadRecord
from agentcom.settings import Policy
from agentcom.wording import LONGEST_S, age, one_line

TITLE_WIDTH = 60
SKEW_MS = 5_000
"""Clocks that differ by more are wrong."""

LONGEST_MS = int(LONGEST_S * 1000)
"""What is kept in Redis may hold any number; a longer time is shown as this one."""


def milliseconds(seconds: float) -> int:
    """A length of time, whatever number it is given as."""
    return int(seconds * 1000) if 0 <= seconds <= LONGEST_S else LONGEST_MS


def spoken(length_ms: int) -> str:
    """A length of time in words."""
    return age(max(0, min(length_ms, LONGEST_MS)) / 1000)


class Trouble(Struct, frozen=True):
    """What a rule found: a `Finding` without the rule's part of it. `named` is how its text names its subject."""

    subject: str
    text: str
    next_step: str
    since_at: int = 0
    evidence: tuple[str, ...] = ()
    named: str = ""


class Look:
    """A snapshot, what is expected of it, and the time it is judged at.

    Args:
        snapshot: what was seen.
        policy: the pool's.
        now: Unix time in ms, by the clock of the machine that judges.
        agent_down_s: an agent silent for longer is down.
    """

    def __init__(self, snapshot: Snapshot, policy: Policy, now: int, agent_down_s: float) -> None:
        self.snapshot = snapshot
        self.policy = policy
        self.now = now
        self.agent_down_ms = int(agent_down_s * 1000)

    @cached_property
    def server_now(self) -> int:
        """The present by the server's clock, by which entries of streams are dated."""
        return self.now - self.snapshot.skew_ms

    @cached_property
    def agents(self) -> dict[str, AgentRecord]:
        """By name."""
        return {agent.name: agent for agent in self.snapshot.agents}

    @cached_property
    def queues(self) -> list[Queue]:
        """What waits for an agent, by what it asks; the longest wait first."""
        return queues_of(self.snapshot, self.policy, self.now)

    @cached_property
    def _names(self) -> dict[str, str]:
        tasks = {record.spec.id for record in self.snapshot.tasks}
        return shorten(tasks | {letter.task for letter in self.snapshot.letters})

    def name(self, task: str) -> str:
        """How a task is called for people."""
        return self._names.get(task) or shorten([task])[task]

    def titled(self, record: ReadRecord) -> str:
        """A task with its title."""
        return f"{self.name(record.spec.id)} ({one_line(record.spec.heading, TITLE_WIDTH)})"

    def since(self, at: int) -> str:
        """The time that passed, in words."""
        return spoken(self.now - at)

    def until(self, at: int) -> str:
        """The time to come, in words."""
        return spoken(at - self.now)

    def until_or_now(self, at: int) -> str:
        """When something happens, in words: `in 40s`, or `now` if its time has come."""
        return f"in {self.until(at)}" if at > self.now else "now"

    def stale_ms(self, agent: AgentRecord) -> int:
        """For how long an agent may be silent."""
        return milliseconds(agent.card.beat_s) * self.policy.stale_beats


class Rule(Struct, frozen=True):
    """One thing that may be wrong.

    Attributes:
        id: the same everywhere, and for ever.
        severity: of all that it finds.
        meaning: what it means that it finds something, in one line for the documentation.
        asks: nothing goes on there before a person has done something.
        find: looks for it. It changes nothing and raises nothing, whatever it is shown.
    """

    id: str
    severity: Severity
    meaning: str
    find: Callable[[Look], Iterable[Trouble]]
    asks: bool = False
