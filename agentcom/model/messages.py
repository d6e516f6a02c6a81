"""What travels in the streams, as JSON: requests to the inbox, orders to an agent, reports from sidecars, beats.

Every message carries `v`, the protocol version. A version that this code does not know is refused with a reason,
not guessed at. Unknown fields are refused in requests, where they are likely a person's typing error, and ignored in
reports and orders, where they come from a newer AgentCom of the same protocol.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from agentcom.model.agent import Activity, Card
from agentcom.model.task import Outcome, TaskSpec

PROTOCOL = 1

MAX_TASKS_PER_SUBMIT = 100


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


class Retry(Request, frozen=True, tag="retry"):
    """Send a failed or canceled task back, with all its attempts before it again."""

    task: str


class Report(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """To the scheduler, from a sidecar."""

    v: int = PROTOCOL
    agent: str
    incarnation: str


class Hello(Report, frozen=True, tag="hello"):
    """A sidecar started, or came back after it had been away."""

    card: Card


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
    """Work on this task. The entry stays pending from delivery until the attempt ended: it is the lease."""

    spec: Raw
    attempt: int
    timeout_s: float


class Stop(Order, frozen=True, tag="stop"):
    """End this attempt if it still runs."""

    why: str = ""


class Beat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last sign of life of a sidecar, at `beat:NAME`, with what it really does. Overwritten, never queued."""

    v: int = PROTOCOL
    agent: str
    incarnation: str
    count: int
    at: int
    state: Activity
    running: dict[str, str] = {}
    unsent: int = 0


AnyRequest = Submit | Cancel | Retry
AnyReport = Hello | Accepted | Finished | Goodbye
AnyOrder = Assign | Stop

LineKind = Literal["task", "agent", "refused", "pool"]


class Line(Struct, frozen=True, omit_defaults=True):
    """One line of the journal: what changed, from what, to what, and what triggered it."""

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
    "MAX_TASKS_PER_SUBMIT",
    "PROTOCOL",
    "Accepted",
    "AnyOrder",
    "AnyReport",
    "AnyRequest",
    "Assign",
    "Beat",
    "Cancel",
    "DeadLetter",
    "Finished",
    "Goodbye",
    "Hello",
    "Line",
    "LineKind",
    "Order",
    "Refusal",
    "Report",
    "Request",
    "Retry",
    "Stop",
    "Submit",
    "TaskSpec",
]
