"""Agents that are Python functions in the sidecar's own process."""

from __future__ import annotations

import inspect
import math
import time
import traceback
from collections.abc import Awaitable, Callable, Collection
from importlib import import_module
from typing import Any

import anyio
import anyio.to_thread
from msgspec import Struct

from agentcom.ending import end_orphan
from agentcom.errors import ConfigurationError
from agentcom.model.messages import Assign
from agentcom.model.reasons import STATED_BY_AGENTS
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.runners.base import DETAIL_MAX, SUMMARY_MAX, Job, bounded, unfit, with_value
from agentcom.sidecar.runners.outcomes import resets_at
from agentcom.wording import count

UNCHECKED = "it has checks, which cannot be run on what a Python function does: it needs an agent that is a program"


class Task(Struct, frozen=True):
    """A task as a Python handler sees it.

    Attributes:
        id: of the task.
        title: one line for people.
        text: what is to be done.
        context: file references.
        attempt: which attempt this is, counted from 1.
        log: adds a line to the task's output, for `agentcom logs`.
    """

    id: str
    title: str
    text: str
    context: tuple[str, ...]
    attempt: int
    log: Callable[[str], None]


Handler = Callable[[Task], Awaitable[Any]] | Callable[[Task], Any]


class AttemptFailed(Exception):
    """Raised by a handler that knows why it failed, in words that the pool acts upon.

    Args:
        reason: `rate_limited`: not before `retry_after_s`, and this attempt does not count; `auth_failed`,
            `permission_denied`, `budget_exceeded`, `input_required`: a person has to help first; `invalid_task`: no
            attempt can ever succeed.
        detail: for people.
        retry_after_s: in how many seconds it may be tried again, up to a week; 0 means unknown.

    Raises:
        ValueError: there is no such reason.
    """

    def __init__(self, reason: str, detail: str = "", retry_after_s: float = 0.0) -> None:
        if reason not in STATED_BY_AGENTS:
            raise ValueError(f"{reason!r} is no reason that an agent may state: {', '.join(sorted(STATED_BY_AGENTS))}")
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class PythonRunner:
    """Calls a function for each task. A plain function runs in a thread, which no time limit can end: as long as one
    whose attempt is over runs on, no other task is begun.

    Args:
        handler: the function.
        clock: Unix time in ms, to which what a handler says of the time is relative.
    """

    in_process = True

    def __init__(self, handler: Handler, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._handler = handler
        self._clock = clock
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - it is the coroutine-ness of the method that is asked for
        )
        self._threads = anyio.CapacityLimiter(math.inf)
        """The machine bounds what runs at once; a thread must never wait for another's after it was said to live."""
        self._called: set[object] = set()
        self._awaited: set[object] = set()

    async def run(self, job: Job) -> Outcome:
        """Call the handler. That it is entered is its first sign of life; what it raises fails the attempt. A task with
        checks is left to other agents: a function has no workspace for them to run in."""
        spec = job.spec
        if spec.checks:
            return Outcome("failed", "retry_later", UNCHECKED)

        def tell(line: str) -> None:
            job.printed(f"{line}\n".encode("utf-8", "backslashreplace"))

        if left := self._left():
            return unfit(left)
        task = Task(spec.id, spec.heading, spec.text, spec.context, job.attempt, tell)
        try:
            job.alive()
            return _outcome_of(await self._call(task))
        except AttemptFailed as failed:
            detail = bounded(failed.detail or failed.reason, DETAIL_MAX)
            return Outcome("failed", failed.reason, detail, resets_at=resets_at(failed.retry_after_s, self._clock()))
        except (Exception, SystemExit) as error:
            return _raised(job, error)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            return _raised(job, error)  # it awaited something else that was cancelled; nobody ended it

    async def _call(self, task: Task) -> Any:
        if self._is_async:
            return await self._handler(task)
        call = object()

        def enter() -> Any:
            self._called.add(call)
            try:
                return self._handler(task)
            finally:
                self._called.discard(call)

        self._awaited.add(call)
        try:
            return await anyio.to_thread.run_sync(enter, abandon_on_cancel=True, limiter=self._threads)
        finally:
            self._awaited.discard(call)

    def _left(self) -> str:
        """What still runs although its attempt is over; empty if nothing does."""
        left = len(self._called - self._awaited)
        where = count(left, "thread")
        return f"its handler still runs in {where}, for attempts that are over; restart its sidecar" if left else ""

    async def adopt(self, job: Job, process: ProcessIdentity | None) -> Outcome:
        """A function dies with the process that it ran in. What is there was a command, before the settings changed."""
        await end_orphan(process, job.token, 0)
        return Outcome("lost", "lost", "its sidecar was restarted; it may have begun")

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> Outcome | None:
        """Nothing to end but a command, from before the settings changed."""
        await end_orphan(process, order.token, 0)
        return None

    async def tidy(self, now_s: float, retention_s: float, keep: Collection[str]) -> None:
        """A function leaves nothing behind."""

    async def self_test(self) -> str:
        """There is a function to call, and none of its calls outlives its attempt."""
        handler: object = self._handler
        return self._left() if callable(handler) else f"its handler {handler!r} is not a function"


def _raised(job: Job, error: BaseException) -> Outcome:
    job.printed(traceback.format_exc().encode("utf-8", "backslashreplace"))
    return Outcome("failed", "handler_raised", bounded(f"{type(error).__name__}: {error}", DETAIL_MAX))


def _outcome_of(value: Any) -> Outcome:
    if value is None:
        return _COMPLETED
    if isinstance(value, str):
        return Outcome("completed", summary=bounded(value, SUMMARY_MAX))
    try:
        return with_value(_COMPLETED, value)
    except ValueError as error:
        return Outcome("failed", "bad_result", bounded(f"what the handler returned is refused: {error}", DETAIL_MAX))


_COMPLETED = Outcome("completed")


def load_handler(path: str) -> Handler:
    """The function that `package.module:function` names.

    Raises:
        ConfigurationError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        handler = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"handler {path!r} cannot be imported: {type(error).__name__}: {error}",
            "Name it as package.module:function, importable from where the sidecar runs",
        ) from error
    if not callable(handler):
        raise ConfigurationError(f"handler {path!r} is not a function")
    loaded: Handler = handler
    return loaded
