"""What a runner is: it wakes one kind of agent for one task, tells of its first sign of life, and says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from agentcom.ids import is_id
from agentcom.model.codec import decode_report, encode
from agentcom.model.messages import Assign, Finished
from agentcom.model.task import Outcome, TaskSpec
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.effects import Phase

SUMMARY_MAX = 4_000
DETAIL_MAX = 2_000
VALUE_MAX_BYTES = 65_536
RETRY_AFTER_MAX_S = 7 * 86_400.0
"""An agent that says that it can be tried again only later than this is taken to say nothing."""


UNORDERED = Assign(incarnation="", task="", token="", spec=Raw(b"{}"), attempt=1, timeout_s=0.0)


def ignore(_: object) -> None:
    """For what nobody wants to be told of."""


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
        followed: to be called with how many bytes of the agent's output were passed on, all in all.
        reached: to be called with what became of an attempt that is being ended: that it completed all the same, or
            what is known of it.
        offset: of an attempt that is adopted: how many were passed on before.
        order: what the scheduler said beside the spec.
        entered: to be called with each phase that the attempt comes into.
        filled: to be called with how full the agent's context window is, in percent.
        ours: whether the attempt is still this sidecar's to speak for. What it lost must not publish anything.
    """

    entry: str
    spec: TaskSpec
    attempt: int
    token: str
    alive: Callable[[], None]
    spawned: Callable[[ProcessIdentity], None]
    printed: Callable[[bytes], None]
    followed: Callable[[int], None] = ignore
    reached: Callable[[Outcome], None] = ignore
    offset: int = 0
    order: Assign = UNORDERED
    entered: Callable[[Phase], None] = ignore
    filled: Callable[[int], None] = ignore
    ours: Callable[[], bool] = lambda: True


class Runner(Protocol):
    """One kind of agent."""

    in_process: bool
    """Whether the agent dies with the sidecar; if so there is nothing to look for after a crash."""

    async def run(self, job: Job) -> Outcome:
        """Do the task. Cancelling this ends everything that was started, and only then lets go.

        What had completed all the same, and what is known of the rest, `job.reached` is told of before.
        """
        ...

    async def adopt(self, job: Job, process: ProcessIdentity | None) -> Outcome:
        """Go on with what an earlier start of the sidecar left running, as `run` does with what it started itself,
        also if it is cancelled before it begins.

        Without a process, none was noted, though there may be one.
        """
        ...

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> Outcome | None:
        """End what an earlier start of the sidecar left running for this order; what had become of it before, or None
        if it never began."""
        ...

    async def tidy(self, now_s: float, retention_s: float, keep: Collection[str]) -> None:
        """Remove what it has kept outside of the agent's folder, or as git does, of tasks that nobody has touched for
        so long; those to keep are at work."""
        ...

    async def self_test(self) -> str:
        """Why the agent cannot be woken, in one line; empty if it can. Cancelling this ends what it started."""
        ...


def names_attempt(order: Assign) -> bool:
    """Whether this order's task and token are such as name an attempt, and may be parts of a path."""
    return is_id(order.task) and order.token.replace(".", "").isalnum()


def not_woken(why: str) -> Outcome:
    """The agent was not started, or in vain."""
    return Outcome("failed", "wake_failed", bounded(why, DETAIL_MAX))


def unfit(why: str) -> Outcome:
    """The sidecar cannot work here: the task goes on elsewhere, unharmed."""
    return Outcome("handed_back", "unfit", bounded(why, DETAIL_MAX))


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
