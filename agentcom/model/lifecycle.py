"""The life of a task as one literal table. The diagram in docs/architecture.md is generated from it.

The states are A2A's words. A state that is not a key of `NEXT` does not exist; a step that is not in it is a bug.
"""

from __future__ import annotations

from typing import Literal

TaskState = Literal[
    "submitted",
    "blocked",
    "queued",
    "retry_wait",
    "assigned",
    "working",
    "verifying",
    "input_required",
    "completed",
    "failed",
    "canceled",
    "rejected",
]

NEXT: dict[TaskState, dict[TaskState, str]] = {
    "submitted": {
        "blocked": "admitted, waits for others",
        "queued": "admitted",
        "failed": "admitted, but what it waits for had failed",
        "rejected": "refused",
    },
    "blocked": {
        "queued": "what it waited for completed",
        "failed": "what it waited for failed, or it expired",
        "canceled": "canceled",
    },
    "queued": {
        "assigned": "given to an agent",
        "input_required": "its budget is spent",
        "completed": "a late result of its last attempt",
        "failed": "expired",
        "canceled": "canceled",
    },
    "retry_wait": {
        "queued": "its delay passed",
        "input_required": "its budget is spent",
        "completed": "a late result of its last attempt",
        "failed": "expired",
        "canceled": "canceled",
    },
    "assigned": {
        "working": "the agent showed life",
        "completed": "finished before its acceptance was due",
        "retry_wait": "the attempt failed",
        "queued": "handed back, requeued, to be continued, or failed with no delay due",
        "input_required": "only a person can help it on",
        "failed": "out of attempts, never to be retried, or expired",
        "canceled": "canceled",
    },
    "working": {
        "verifying": "the agent is done, its work is checked",
        "completed": "finished",
        "retry_wait": "the attempt failed",
        "queued": "handed back, requeued, to be continued, or failed with no delay due",
        "input_required": "only a person can help it on",
        "failed": "out of attempts, never to be retried, or expired",
        "canceled": "canceled",
    },
    "verifying": {
        "working": "failed checks went back to the agent",
        "completed": "checked",
        "retry_wait": "the attempt failed",
        "queued": "handed back, requeued, to be continued, or failed with no delay due",
        "input_required": "only a person can help it on",
        "failed": "out of attempts, never to be retried, or expired",
        "canceled": "canceled",
    },
    "input_required": {
        "queued": "answered, or sent on by a person",
        "completed": "a late result of its last attempt",
        "failed": "expired, or nobody answered in time",
        "canceled": "canceled",
    },
    "failed": {
        "queued": "sent back by a person",
        "blocked": "sent back, waits for others",
    },
    "canceled": {
        "queued": "sent back by a person",
        "blocked": "sent back, waits for others",
    },
    "completed": {},
    "rejected": {},
}

ENDED: frozenset[TaskState] = frozenset({"completed", "failed", "canceled", "rejected"})
"""No report changes these; `failed` and `canceled` are left only when a person sends the task back."""

WAITING: frozenset[TaskState] = frozenset({"blocked", "queued", "retry_wait", "input_required"})
RUNNING: frozenset[TaskState] = frozenset({"assigned", "working", "verifying"})


def allowed(before: TaskState, after: TaskState) -> bool:
    """Whether the table has this step."""
    return after in NEXT[before]


def diagram() -> str:
    """The table as a Mermaid state diagram, for docs/architecture.md."""
    lines = ["stateDiagram-v2", "    [*] --> submitted"]
    for before, steps in NEXT.items():
        lines += [f"    {before} --> {after}: {why}" for after, why in steps.items()]
    lines += [f"    {state} --> [*]" for state in NEXT if state in ENDED]
    return "\n".join(lines)
