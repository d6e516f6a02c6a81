"""What a chaos run leaves behind, as plain data for the judge. Times are Unix ms of this one machine's clock."""

from __future__ import annotations

from msgspec import Struct, field


class Line(Struct, frozen=True):
    """One line of the journal, as far as the judge reads it."""

    at: int
    what: str
    trigger: str
    before: str = ""
    after: str = ""
    task: str = ""
    generation: int = 0
    agent: str = ""
    reason: str = ""
    entry: str = ""


class Outcome(Struct, frozen=True):
    """How an attempt ended, as its record has it."""

    result: str
    reason: str = ""
    summary: str = ""


class Attempt(Struct, frozen=True):
    """One attempt in a task's record."""

    generation: int
    token: str
    agent: str
    assigned_at: int
    ended_at: int = 0
    outcome: Outcome | None = None


class Spec(Struct, frozen=True):
    """What decides who goes first, of what was asked for."""

    priority: str = "normal"
    agent: str = ""


class Record(Struct, frozen=True):
    """A task's record at the end."""

    state: str
    generation: int = 0
    attempts: tuple[Attempt, ...] = ()
    reason: str = ""
    spec: Spec = Spec()


class Submission(Struct, frozen=True):
    """A task that Redis acknowledged, some time after it was sent."""

    task: str
    sent_at: int
    acknowledged_at: int


class Run(Struct, frozen=True):
    """A process of an agent, as the ledger and the process table tell it.

    Attributes:
        ended_at: when it wrote that it ends; 0 if it was ended before it could.
        code: the exit code it was about to end with; None without an end.
        alive_at: when it was last seen in the process table, or wrote.
    """

    task: str
    token: str
    agent: str
    pid: int
    began_at: int
    alive_at: int
    ended_at: int = 0
    code: int | None = None


class Look(Struct, frozen=True):
    """One atomic look at what the agents hold: tokens of the attempts that their records list as running, and of the
    assignments that stand in their orders streams."""

    at: int
    taken: dict[str, list[str]]
    ordered: dict[str, list[str]]


class Forgery(Struct, frozen=True):
    """A report that the harness sent with a token that is not current; `entry` is its id in the stream."""

    task: str
    token: str
    entry: str
    sent_at: int


class Span(Struct, frozen=True):
    """Some time. As a loss: whatever was written in it may be gone. As a disturbance: `who` was under a fault."""

    from_at: int
    to_at: int
    who: str = ""

    def has(self, at: int, slack_ms: int = 0) -> bool:
        """Whether a moment lies in it, or at most `slack_ms` behind it."""
        return self.overlaps(at, at, slack_ms)

    def overlaps(self, from_at: int, to_at: int, slack_ms: int = 0) -> bool:
        """The same of some moment between these two."""
        return self.from_at <= to_at and from_at <= self.to_at + slack_ms


class KeyFound(Struct, frozen=True):
    """A key of the pool at the end; `ttl_ms` is -1 without one."""

    name: str
    ttl_ms: int


class Rules(Struct, frozen=True):
    """What the pool was told to keep to, and what the judge may expect of this machine."""

    max_attempts: int
    max_handbacks: int
    slots: dict[str, int]
    silence_ms: int
    """An agent that nothing disturbed for so long is no candidate for a reclaim."""
    settle_ms: int


class Evidence(Struct, frozen=True, kw_only=True):
    """Everything that the judge looks at.

    Attributes:
        lines: the journal as it is in the end, oldest first.
        records: all task records in the end, by id.
        submissions: what Redis acknowledged.
        runs: processes of agents, in the order of their beginning.
        looks: samples of what the agents held.
        forgeries: stale and invented reports that Redis acknowledged.
        losses: when the store was made to lose writes; empty where nothing may be lost.
        disturbances: faults, each with whom it hit ("" hit everybody).
        vanished: journal entries (Unix ms) that were seen, but are not there in the end.
        settled_ms: from the last fault until nothing was open; None if it did not come to that.
        unsettled: what was left when patience ended.
        left_running: processes of agents after everything had settled.
        exits: programs that ended although nobody told them to.
        keys: every key of the pool in the end.
        known_keys: patterns of keys that docs/architecture.md gives an owner and a bound.
    """

    rules: Rules
    lines: list[Line]
    records: dict[str, Record]
    submissions: list[Submission] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    forgeries: list[Forgery] = field(default_factory=list)
    losses: list[Span] = field(default_factory=list)
    disturbances: list[Span] = field(default_factory=list)
    vanished: list[int] = field(default_factory=list)
    settled_ms: int | None = 0
    unsettled: list[str] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    keys: list[KeyFound] = field(default_factory=list)
    known_keys: list[str] = field(default_factory=list)


class Violation(Struct, frozen=True):
    """An invariant that did not hold; `what` says for people where."""

    rule: str
    what: str
