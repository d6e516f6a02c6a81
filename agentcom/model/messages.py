"""What travels in the streams, as JSON: requests to the inbox, orders to an agent, reports from sidecars, beats.

Every message carries `v`, the protocol version. A version that this code does not know is refused with a reason,
not guessed at. Unknown fields are refused in requests, where they are likely a person's typing error, and ignored in
reports and orders, where they come from a newer AgentCom of the same protocol.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from agentcom.model.agent import Activity, Card
from agentcom.model.task import NO_USAGE, Outcome, PullRequest, TaskSpec, Usage

PROTOCOL = 1

MAX_TASKS_PER_SUBMIT = 100
MAX_FIXES_PER_REPAIR = 500


class Request(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """To the scheduler, from whoever may write to the inbox."""

    v: int = PROTOCOL


class Submit(Request, frozen=True, tag="submit"):
    """Take on these tasks, at most `MAX_TASKS_PER_SUBMIT`; each is judged by itself, in this order."""

    tasks: list[Raw]


class Cancel(Request, frozen=True, tag="cancel"):
    """End this task, also while it runs."""

    task: str
    why: str = ""


class Retry(Request, frozen=True, tag="retry", omit_defaults=True):
    """Send a failed or canceled task back, or one that waits for a person, with all its attempts before it again.

    `add_tokens` and `add_usd` are added to its budget, where it has one. With a `generation`, only if that attempt is
    still the latest: asked for twice, it is done once.
    """

    task: str
    generation: int = 0
    add_tokens: int = 0
    add_usd: float = 0.0


class Answer(Request, frozen=True, tag="answer", omit_defaults=True):
    """What an agent asked a person is answered: the task goes on with that, before others.

    Answered in the same words again, nothing changes; with a `generation`, only what that attempt asked is answered.
    `add_tokens` and `add_usd` are added to the task's budget, where it has one.
    """

    task: str
    text: str
    generation: int = 0
    add_tokens: int = 0
    add_usd: float = 0.0


class Requeue(Request, frozen=True, tag="requeue"):
    """Take this task from the agent that has it, and let it go elsewhere; the attempt does not count.

    With a `generation`, only if that attempt is still the latest: asked for twice, it is done once.
    """

    task: str
    generation: int = 0
    why: str = ""


class Cordon(Request, frozen=True, tag="cordon"):
    """Give this agent no more work; what it has it keeps."""

    agent: str
    why: str = ""


class Drain(Request, frozen=True, tag="drain"):
    """Give this agent no more work, and say when what it has came to an end."""

    agent: str
    why: str = ""


class Resume(Request, frozen=True, tag="resume"):
    """Undo `Cordon` or `Drain`."""

    agent: str


class Reset(Request, frozen=True, tag="reset"):
    """Forget what this agent is degraded or rate limited for: somebody mended it."""

    agent: str


FixKind = Literal[
    "open",
    "close",
    "drop",
    "expire",
    "renumber",
    "wait",
    "bind",
    "lose",
    "release",
    "reclaim",
    "stop",
    "settle",
    "forget",
    "remake",
    "forget_key",
    "recount",
    "unreserve",
    "bound",
    "keep",
    "reposition",
]


class Fix(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One discrepancy to mend. The scheduler looks again before it does, and what it still knows it writes again.

    - `open`: task `task` is open by its record, and not, or not in its place, in the index of open tasks, or its record
      has an end of life.
    - `close`: `task` is in the index of open tasks, and its record is missing or says that it ended.
    - `drop`: the record of `task` cannot be read.
    - `expire`: the record of `task` ended, and has no end of life.
    - `renumber`: another open task has the place of `task` in the order of admission.
    - `wait`: `task` waits for `other`, which ended or is not there.
    - `bind`: the idempotency key of `task` is bound to no task.
    - `lose`: `task` is assigned or working, and the agent that has it does not list the attempt `token`.
    - `release`: `agent` lists attempt `token`, which is not the current one of its task, and has no order of it.
    - `reclaim`: `agent` lists attempt `token`, and its order is gone, or is `entry` and nobody can renew it.
    - `stop`: `agent` lists attempt `token` and has an order of it, and there is no record of its task.
    - `settle`: the stream of `agent` holds `entry`, which is about no attempt that the agent has.
    - `forget`: there is a stream of orders, or a damaged record, of `agent`, which is no agent of the pool.
    - `remake`: the stream of orders of `agent` can take no more entries, as its last possible id was given.
    - `forget_key`: what is kept of the idempotency key `name` cannot be read.
    - `recount`: what is kept of costs in the field `name` cannot be read.
    - `unreserve`: `agent` keeps a slot for `task`, which does not wait for a person.
    - `bound`: the key `name` of a beat, an output, a refusal or the alerts has no end of life.
    - `keep`: the key `name`, which is to stay, has an end of life.
    - `reposition`: the head says that more was read of the reports than there has been, or what it says cannot be read.
    """

    kind: FixKind
    task: str = ""
    agent: str = ""
    token: str = ""
    entry: str = ""
    other: str = ""
    name: str = ""


class Repair(Request, frozen=True, tag="repair"):
    """Mend these discrepancies, at most `MAX_FIXES_PER_REPAIR`."""

    fixes: list[Fix]


class SelfTest(Struct, frozen=True, omit_defaults=True):
    """What a sidecar found out about itself.

    Attributes:
        count: how many it has made since it started, this one included; 0 means none yet.
        at: when, by its own clock.
        problems: why it should not be given work, one line each; empty means that it is fit.
        damage: damaged files that it has set aside, for a person to look at; it works without them.
    """

    count: int = 0
    at: int = 0
    problems: tuple[str, ...] = ()
    damage: str = ""


class Report(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """To the scheduler, from a sidecar."""

    v: int = PROTOCOL
    agent: str
    incarnation: str


class Hello(Report, frozen=True, tag="hello"):
    """A sidecar started, or came back after it had been away; with its last self-test."""

    card: Card
    test: SelfTest = SelfTest()


class Accepted(Report, frozen=True, tag="accepted"):
    """The agent itself showed life on this attempt; that the sidecar spawned it is not enough."""

    task: str
    token: str


class Finished(Report, frozen=True, tag="finished"):
    """The attempt ended. `handed_back` as its result means: not through any fault of the work or the agent."""

    task: str
    token: str
    outcome: Outcome


class Goodbye(Report, frozen=True, tag="goodbye"):
    """The sidecar stops on purpose, and takes no more work; what it still runs it brings to an end or hands back."""


class Order(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """To one agent, from the scheduler. Meant for one incarnation of its sidecar."""

    v: int = PROTOCOL
    incarnation: str
    task: str
    token: str


class Assign(Order, frozen=True, tag="assign"):
    """Work on this task. The entry stays pending from delivery until the attempt ended: it is the lease.

    Attributes:
        spec: the task's.
        attempt: which counted attempt this is, from 1.
        timeout_s: how long the agent may work on it.
        branch: the task's, the same for all attempts.
        part, summary: after an agent had run out of context: which part this is, and what the one before said.
        session, session_usage: of an earlier attempt by this agent, to resume, and what of its usage is counted.
        question, answer: what an earlier attempt asked a person, and what that said.
        tokens_left, usd_left: of the task's budget; 0 means no limit.
        pull_request: the one of its work, as far as the pool knows.
    """

    spec: Raw
    attempt: int
    timeout_s: float
    branch: str = ""
    part: int = 1
    summary: str = ""
    session: str = ""
    session_usage: Usage = NO_USAGE
    question: str = ""
    answer: str = ""
    tokens_left: int = 0
    usd_left: float = 0.0
    pull_request: PullRequest | None = None


class Stop(Order, frozen=True, tag="stop"):
    """End this attempt if it still runs."""

    why: str = ""


class Ask(Order, frozen=True, tag="ask"):
    """Say again how this attempt ended: it is not among what the sidecar's beat names."""


class Beat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last sign of life of a sidecar, at `beat:NAME`, with what it really does. Overwritten, never queued.

    Attributes:
        running: token → task id of every attempt that it works on.
        preparing: tokens of those whose agent is not woken yet, as its workspace is being made ready.
        verifying: tokens of those whose agent is done, and whose work is being checked or published.
        context: token → the fullest the agent's context window was, in percent, where that is known.
        unsent: reports that Redis does not have yet.
        test: its last self-test.
    """

    v: int = PROTOCOL
    agent: str
    incarnation: str
    count: int
    at: int
    state: Activity
    running: dict[str, str] = {}
    preparing: tuple[str, ...] = ()
    verifying: tuple[str, ...] = ()
    context: dict[str, int] = {}
    unsent: int = 0
    test: SelfTest = SelfTest()


def beat_kept_ms(interval_ms: int, stale_beats: int) -> int:
    """How long a beat is kept, of a sidecar that beats in this interval: far longer than it counts as fresh."""
    return interval_ms * max(stale_beats, 2) * 10


AnyRequest = Submit | Cancel | Retry | Answer | Requeue | Cordon | Drain | Resume | Reset | Repair
AgentRequest = Cordon | Drain | Resume | Reset
AnyReport = Hello | Accepted | Finished | Goodbye
AnyOrder = Assign | Stop | Ask

LineKind = Literal["task", "agent", "refused", "pool"]
Axis = Literal["", "link", "health", "activity"]


class Line(Struct, frozen=True, omit_defaults=True):
    """One line of the journal: what changed, from what, to what, and what triggered it.

    `axis` says which of an agent's three changed: `link`, `health` or `activity`.
    """

    at: int
    what: LineKind
    trigger: str
    before: str = ""
    after: str = ""
    task: str = ""
    generation: int = 0
    agent: str = ""
    reason: str = ""
    detail: str = ""
    entry: str = ""
    axis: Axis = ""


class Refusal(Struct, frozen=True, omit_defaults=True):
    """Why a request, or one task of a submission, was not taken on; `existing` is the task that its key has."""

    task: str
    reason: str
    existing: str = ""


class DeadLetter(Struct, frozen=True, omit_defaults=True):
    """A task that used up its attempts, as kept in the stream `dead`."""

    task: str
    title: str
    at: int
    reason: str
    detail: str
    attempts: int


__all__ = [
    "MAX_FIXES_PER_REPAIR",
    "MAX_TASKS_PER_SUBMIT",
    "PROTOCOL",
    "Accepted",
    "AgentRequest",
    "Answer",
    "AnyOrder",
    "AnyReport",
    "AnyRequest",
    "Ask",
    "Assign",
    "Beat",
    "Cancel",
    "Cordon",
    "DeadLetter",
    "Drain",
    "Finished",
    "Fix",
    "FixKind",
    "Goodbye",
    "Hello",
    "Line",
    "LineKind",
    "Order",
    "Refusal",
    "Repair",
    "Report",
    "Request",
    "Requeue",
    "Reset",
    "Resume",
    "Retry",
    "SelfTest",
    "Stop",
    "Submit",
    "TaskSpec",
    "beat_kept_ms",
]
