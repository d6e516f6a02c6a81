"""Agents that are Python functions in the sidecar's own process."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from agentcom.errors import ConfigurationError
from agentcom.model.codec import encode
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity
from agentcom.sidecar.runners.base import DETAIL_MAX, SUMMARY_MAX, VALUE_MAX_BYTES, Job, bounded


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

    async def run(self, job: Job) -> Outcome:
        """Call the handler. That it is entered is its first sign of life; what it raises fails the attempt."""
        spec = job.spec
        task = Task(
            spec.id, spec.heading, spec.text, spec.context, job.attempt, lambda line: job.printed(f"{line}\n".encode())
        )
        try:
            job.alive()
            if self._is_async:
                value = await self._handler(task)
            else:
                value = await anyio.to_thread.run_sync(self._handler, task, abandon_on_cancel=True)
        except Exception as error:
            job.printed(traceback.format_exc().encode("utf-8", "backslashreplace"))
            return Outcome("failed", "handler_raised", bounded(f"{type(error).__name__}: {error}", DETAIL_MAX))
        return _outcome_of(value)

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> None:
        """Nothing to end: a function dies with the process that it ran in."""


def _outcome_of(value: Any) -> Outcome:
    if value is None:
        return _COMPLETED
    if isinstance(value, str):
        return Outcome("completed", summary=bounded(value, SUMMARY_MAX))
    try:
        size = len(encode(value))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return Outcome("failed", "bad_result", bounded(f"what the handler returned is not JSON: {error}", DETAIL_MAX))
    if size > VALUE_MAX_BYTES:
        return Outcome("failed", "bad_result", f"the handler returned {size:,} bytes of JSON, over {VALUE_MAX_BYTES:,}")
    return Outcome("completed", value=value)


_COMPLETED = Outcome("completed")


def load_handler(path: str) -> Handler:
    """The function that `package.module:function` names.

    Raises:
        ConfigurationError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        handler = getattr(import_module(module), name)
    except Exception as error:
        raise ConfigurationError(
            f"handler {path!r} cannot be imported: {type(error).__name__}: {error}",
            "Name it as package.module:function, importable from where the sidecar runs",
        ) from error
    if not callable(handler):
        raise ConfigurationError(f"handler {path!r} is not a function")
    loaded: Handler = handler
    return loaded
