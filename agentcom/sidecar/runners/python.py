"""Agents that are Python functions in the sidecar's own process."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import anyio
import anyio.to_thread
from msgspec import Struct

from agentcom.errors import ConfigurationError
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.runners.base import DETAIL_MAX, SUMMARY_MAX, Job, bounded, with_value


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


class PythonRunner:
    """Calls a function for each task. A plain function runs in a thread, which no time limit can end."""

    in_process = True

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - it is the coroutine-ness of the method that is asked for
        )
        self._threads = anyio.CapacityLimiter(math.inf)
        """The machine bounds what runs at once; a thread must never wait for another's after it was said to live."""

    async def run(self, job: Job) -> Outcome:
        """Call the handler. That it is entered is its first sign of life; what it raises fails the attempt."""
        spec = job.spec

        def tell(line: str) -> None:
            job.printed(f"{line}\n".encode("utf-8", "backslashreplace"))

        task = Task(spec.id, spec.heading, spec.text, spec.context, job.attempt, tell)
        try:
            job.alive()
            return _outcome_of(await self._call(task))
        except (Exception, SystemExit) as error:
            return _raised(job, error)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            return _raised(job, error)  # it awaited something else that was cancelled; nobody ended it

    async def _call(self, task: Task) -> Any:
        if self._is_async:
            return await self._handler(task)
        return await anyio.to_thread.run_sync(self._handler, task, abandon_on_cancel=True, limiter=self._threads)

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> None:
        """Nothing to end: a function dies with the process that it ran in."""


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
