"""What a task is: the spec its submitter wrote, the attempts made at it, and the record the pool keeps of it."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from msgspec import Raw, Struct
from msgspec.structs import replace

from agentcom.model.lifecycle import TaskState

Priority = Literal["urgent", "high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")

Result = Literal["completed", "failed", "canceled", "lost", "handed_back"]

ATTEMPTS_KEPT = 50
"""How many attempts a record remembers, the newest; only sending a dead task back again and again exceeds it."""


class TaskSpec(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What its submitter asks for. It never changes after admission.

    Attributes:
        id: UUIDv7, made by the client, so that sending a submission again is harmless. Empty: made on admission.
        text: what the agent is told.
        title: one line for people; empty means the first line of `text`.
        requires: the requirements language of `agentcom.capability`.
        prefer: soft preferences with weights, same language.
        priority: urgent, high, normal or low.
        after: ids of tasks that must be completed first.
        context: file references for the agent.
        context_tokens: tokens of context that the work needs; 0 means unknown.
        expect_s: how long its submitter thinks that it takes; 0 means unknown.
        timeout_s: limit of one attempt; 0 means the pool's default.
        expires_s: counted from submission; work not finished by then fails as `expired`; 0 means never.
        max_attempts: hard cap on attempts; 0 means the pool's default.
        key: idempotency key; a second submission with the same key is not taken on again.
        agent: only this agent may do it; empty means any.
        checks: commands that have to pass in the worktree before the work counts as done, each a line that is split
            as a shell would, but run without one.
        budget_tokens: what all attempts together may use of input and output, but for what is read from a cache; 0
            means no limit.
        budget_usd: what all attempts together may cost; 0 means no limit.
    """

    id: str = ""
    text: str
    title: str = ""
    requires: str = ""
    prefer: str = ""
    priority: Priority = "normal"
    after: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    context_tokens: int = 0
    expect_s: float = 0.0
    timeout_s: float = 0.0
    expires_s: float = 0.0
    max_attempts: int = 0
    key: str = ""
    agent: str = ""
    checks: tuple[str, ...] = ()
    budget_tokens: int = 0
    budget_usd: float = 0.0

    @property
    def heading(self) -> str:
        """The title, or the first line of the text where there is none."""
        return self.title or self.text.strip().split("\n", 1)[0][:120]


class Usage(Struct, frozen=True, omit_defaults=True):
    """What was consumed, as far as the agent says. The kinds of tokens do not overlap, but that `reasoning_tokens` are
    a part of `output_tokens`.

    Attributes:
        input_tokens: read anew.
        output_tokens: written.
        cache_read_tokens: read from a provider's cache.
        cache_write_tokens: read anew and put into that cache.
        reasoning_tokens: written for the model itself.
        cost_usd: as the agent says, or from the price table of the settings.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def tokens(self) -> int:
        """All tokens, each counted once."""
        return self.new_tokens + self.cache_read_tokens

    @property
    def new_tokens(self) -> int:
        """Those that were read anew, cached or not, and those that were written: what a budget of tokens counts. What
        is read again from a cache at each turn would soon outweigh all that was done."""
        return self.input_tokens + self.cache_write_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cost_usd + other.cost_usd,
        )

    def __sub__(self, other: Usage) -> Usage:
        """What this has more than `other`; of no kind less than nothing."""
        return Usage(*(max(0, getattr(self, name) - getattr(other, name)) for name in self.__struct_fields__))


NO_USAGE = Usage()


class Evidence(Struct, frozen=True, omit_defaults=True):
    """What git says of the work, seen by the sidecar and not by the agent.

    Attributes:
        branch: the task's, on `origin`; the same for all of its attempts.
        base: the branch that it goes into.
        base_sha: where that stood when the attempt began, or was last brought up to date.
        head_sha: the last commit of the work; the same as `base_sha` where nothing was committed.
        commits: how many the branch has more than its base.
        files, insertions, deletions: what they change, all in all.
        pushed: `origin` has `head_sha` on `branch`.
        rescue: the branch that uncommitted work was saved on; empty where there was none.
    """

    branch: str = ""
    base: str = ""
    base_sha: str = ""
    head_sha: str = ""
    commits: int = 0
    files: int = 0
    insertions: int = 0
    deletions: int = 0
    pushed: bool = False
    rescue: str = ""


class Check(Struct, frozen=True, omit_defaults=True):
    """One check of the work, by somebody other than the agent.

    Attributes:
        command: as the task or the repository has it.
        by: who ran it: the agent's sidecar, by name.
        sha: the commit that was checked; empty where there is no repository.
        passed: it ended with exit code 0.
        exit_code: minus the signal's number if one ended it; None if it was ended for its time limit.
        seconds: how long it took.
        tail: the end of what it printed, bounded.
    """

    command: str
    by: str = ""
    sha: str = ""
    passed: bool = False
    exit_code: int | None = None
    seconds: float = 0.0
    tail: str = ""


PullState = Literal["open", "merged", "closed"]


class PullRequest(Struct, frozen=True, omit_defaults=True):
    """The one pull request of a task."""

    url: str
    number: int = 0
    state: PullState = "open"


class Outcome(Struct, frozen=True, omit_defaults=True):
    """How an attempt ended, as its sidecar saw it.

    Attributes:
        result: completed, failed, canceled, lost or handed_back.
        reason: a name from `agentcom.model.reasons` when it did not complete.
        detail: for people, bounded to 2,000 characters.
        exit_code: of the agent's process, where there was one; minus the signal's number if one ended it.
        summary: the agent's own words, bounded to 4,000 characters.
        changed: what the agent says that it changed.
        value: what a Python handler returned, or the result file's other fields.
        usage: tokens and cost of this attempt; of a resumed session only what this attempt added.
        resets_at: when the agent's provider takes requests again, of one that was rate limited; 0 means unknown.
        evidence: what git says, of work on a repository.
        checks: what was checked, at which commit, by whom.
        pull_request: where the work can be reviewed.
        session: of the agent, for a later attempt to resume.
        session_usage: what that session used all in all, this attempt included: some agents tell only that.
        model: that the agent used.
        program: the agent's program and version.
        context_used, context_size: the fullest its context window was, and how large that is; 0 means unknown.
        envelope_tokens: an estimate of what was put around the task's own text when the agent was told.
        question: what it asks a person.
    """

    result: Result
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    summary: str = ""
    changed: tuple[str, ...] = ()
    value: Any = None
    usage: Usage | None = None
    resets_at: int = 0
    evidence: Evidence | None = None
    checks: tuple[Check, ...] = ()
    pull_request: PullRequest | None = None
    session: str = ""
    session_usage: Usage = NO_USAGE
    model: str = ""
    program: str = ""
    context_used: int = 0
    context_size: int = 0
    envelope_tokens: int = 0
    question: str = ""

    @property
    def asks(self) -> bool:
        """Whether its agent wants to know something from a person."""
        return self.reason == "input_required" or self.question != ""

    @property
    def context_percent(self) -> int:
        """The fullest its context window was; 0 where that is not known."""
        return 100 * self.context_used // self.context_size if self.context_size > 0 else 0


class Attempt(Struct, omit_defaults=True, gc=False):
    """One assignment of a task to one agent. `token` (generation and nonce) is the fence: reports must carry it.

    `late` is an outcome that came when the task had gone on without it: evidence, that changed nothing. `spent` says
    that what it used was counted: that is told as often as its end is. `context` is how full its agent's context window
    was, in percent, where that was over the share that may be filled.
    """

    generation: int
    token: str
    agent: str
    incarnation: str
    assigned_at: int
    accepted_at: int = 0
    ended_at: int = 0
    counted: bool = True
    outcome: Outcome | None = None
    late: Outcome | None = None
    spent: bool = False
    context: int = 0


S = TypeVar("S")


class TaskRecord(Struct, Generic[S], omit_defaults=True, kw_only=True, gc=False):
    """What the pool keeps of a task, at `task:ID`. Written only by the scheduler's commits.

    Attributes:
        spec: the spec; `Raw` where its bytes are only carried along, `TaskSpec` where it is read.
        seq: place in the order of admission.
        ready_at: when it became, or becomes, ready to be assigned.
        expires_at: when it fails as `expired` if it has not ended; 0 means never.
        waiting_for: dependencies that are not completed yet.
        retried: it has failed before; fresh work goes first.
        handbacks: attempts given back unharmed, which do not count against the cap up to a bound.
        waits: attempts that ended as their agent was rate limited, which do not count either, up to a bound.
        granted: attempts it had used up when a person last sent it back; the cap counts from there.
        reason: why it is in this state, a name from `agentcom.model.reasons`; `detail` says it to people.
        note: something its submitter should know, such as that no registered agent could take it.
        branch: of its work, on `origin`, named after the agent that it was first given to; the same for all attempts,
            so that no two of them can make two.
        part: how often it was continued after an agent had run out of context, and 1. Continuing is no attempt.
        granted_parts: how often it had been continued when a person last sent it back; the bound counts from there.
        parts_summary: what the part before this one said of the state of the work.
        spent: what all attempts have used so far.
        granted_tokens, granted_usd: what a person added to the budget of its spec.
        question, answer: what an agent asked a person, and what that said; for the next attempt.
        answer_by: when it fails if nobody has answered; 0 means never.
        pull_request: the one of its work.
    """

    spec: S
    seq: int
    state: TaskState
    submitted_at: int
    changed_at: int
    ready_at: int = 0
    ended_at: int = 0
    expires_at: int = 0
    waiting_for: tuple[str, ...] = ()
    retried: bool = False
    handbacks: int = 0
    waits: int = 0
    granted: int = 0
    generation: int = 0
    attempts: tuple[Attempt, ...] = ()
    reason: str = ""
    detail: str = ""
    note: str = ""
    branch: str = ""
    part: int = 1
    granted_parts: int = 0
    parts_summary: str = ""
    spent: Usage = NO_USAGE
    granted_tokens: int = 0
    granted_usd: float = 0.0
    question: str = ""
    answer: str = ""
    answer_by: int = 0
    pull_request: PullRequest | None = None

    @property
    def counted(self) -> int:
        """Attempts that count: all but those that were handed back unharmed, met a rate limit, or are continued."""
        return self.generation - self.handbacks - self.waits - self.continued

    @property
    def continued(self) -> int:
        """How often it was continued after an agent had run out of context."""
        return self.part - 1

    @property
    def waits_for_answer(self) -> bool:
        """Whether its agent asked something that nobody has answered."""
        last = self.attempts[-1].outcome if self.attempts else None
        return self.state == "input_required" and last is not None and last.asks and not self.answer

    @property
    def outcome(self) -> Outcome | None:
        """The accepted outcome of a task that ended by one; none for others."""
        last = self.attempts[-1].outcome if self.attempts else None
        return last if last is not None and last.result == self.state else None


CarriedRecord = TaskRecord[Raw]
ReadRecord = TaskRecord[TaskSpec]


def outcome_of(record: ReadRecord) -> Outcome:
    """How an ended task ended: its accepted outcome, or one that says why it has none."""
    if record.outcome is not None:
        return record.outcome
    last = record.attempts[-1].outcome if record.attempts else None
    if record.state == "failed" and last is not None and last.reason == record.reason:
        return replace(last, result="failed")
    return Outcome("canceled" if record.state == "canceled" else "failed", record.reason, record.detail)
