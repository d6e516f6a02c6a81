"""What a runner is: it wakes one kind of agent for one task, tells of its first sign of life, and says how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from agentcom.model.codec import decode_report, encode
from agentcom.model.messages import Assign, Finished
from agentcom.model.task import Outcome, TaskSpec
from agentcom.processes import ProcessIdentity

SUMMARY_MAX = 4_000
DETAIL_MAX = 2_000
VALUE_MAX_BYTES = 65_536


class Job(Struct, frozen=True):
    """One attempt, as a runner gets it.

    Attributes:
        entry: the order's id.
        spec: what is to be done.
        attempt: which attempt of the task this is, counted from 1.
        token: names the attempt.
        alive: to be called at the agent's own first sign of life.
        spawned: to be called with the process that works on it, before it can show life.
        printed: to be called with what the agent prints.
    """

    entry: str
    spec: TaskSpec
    attempt: int
    token: str
    alive: Callable[[], None]
    spawned: Callable[[ProcessIdentity], None]
    printed: Callable[[bytes], None]


class Runner(Protocol):
    """One kind of agent."""

    in_process: bool
    """Whether the agent dies with the sidecar; if so there is nothing to look for after a crash."""

    async def run(self, job: Job) -> Outcome:
        """Do the task. Cancelling this ends everything that was started, and only then lets go."""
        ...

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> None:
        """End what an earlier start of the sidecar may have left running for this order."""
        ...


def bounded(text: str, limit: int) -> str:
    """The text, cut where it would be too long for a report, and without what no JSON can carry."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut.encode("utf-8", "replace").decode("utf-8")


def with_value(outcome: Outcome, value: Any) -> Outcome:
    """The outcome with a value in it, or what is wrong with the value.

    Raises:
        ValueError: a report cannot carry it.
    """
    try:
        body = encode(value)
        if len(body) > VALUE_MAX_BYTES:
            raise ValueError(f"it has {len(body):,} bytes of JSON, over {VALUE_MAX_BYTES:,}")
        final = msgspec.structs.replace(outcome, value=msgspec.json.decode(body))
        read = decode_report(encode(Finished(agent="", incarnation="", task="", token="", outcome=final)))
    except (TypeError, UnicodeError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if isinstance(read, str):
        raise ValueError(read)
    return final
