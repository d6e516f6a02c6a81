"""An asyncio event loop on virtual time, for many simulated processes at once.

Nothing waits: when no callback is ready, time jumps to the next timer. No threads, no sockets, no clock: what happens
follows from what was put in alone. Every callback belongs to the process in whose context it was made, so a process
can be killed (its callbacks are dropped) and stopped (they are kept until it goes on) at any point.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any

SPIN_MAX = 50_000
"""Callbacks in a row without time going on: somebody spins."""

UNWIND_MAX = 50
PRUNE_AT = 512


class Killed(BaseException):
    """This process was ended by SIGKILL: nothing that it still does has an effect."""


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)


class Handle:
    """A callback that waits for its turn."""

    __slots__ = ("args", "callback", "context", "gone", "when_s")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context, when_s: float) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.when_s = when_s
        self.gone = False

    def cancel(self) -> None:
        self.gone = True
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self.when_s


def _nothing() -> None:
    pass


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """A task whose hash does not depend on where it lies in memory: anyio keeps tasks in sets."""

    def __init__(self, coro: Coroutine[Any, Any, Any], loop: SimLoop, context: Context | None) -> None:
        self.number = next(loop.numbers)
        super().__init__(coro, loop=loop, name="", context=context)

    def __hash__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return f"task {self.number}"


class SimLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in the order in which they were asked for, and time in jumps."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._order = 0
        self.numbers = count()
        self._outside = copy_context()
        self.steps = 0
        self.spins = 0
        self.stopped = False
        self.on_error: Callable[[dict[str, Any]], None] = lambda context: None

    # ------------------------------------------------------------ as asyncio

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def get_task_factory(self) -> None:
        return None

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: SimTask = SimTask(coro, self, context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            process.adopt(task)
        return task

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, context if context is not None else copy_context(), 0.0)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:  # type: ignore[override]
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, context if context is not None else copy_context(), when)
        self._order += 1
        heappush(self._timers, (when, self._order, handle))
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.on_error(context)

    # ------------------------------------------------------ what is no process

    def at(self, when: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """Call at this time, outside of all processes: it happens also if who asks for it is killed."""
        return self.call_at(when, callback, *args, context=self._outside)

    def after(self, delay: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """Call after so many seconds, outside of all processes."""
        return self.call_at(self._now + delay, callback, *args, context=self._outside)

    # --------------------------------------------------------------- running

    def run_until(self, limit_s: float) -> None:
        """Run until `stopped` is set, nothing is left to do, or this time."""
        asyncio._set_running_loop(self)
        try:
            while not self.stopped and self._turn(limit_s):
                pass
        finally:
            asyncio._set_running_loop(None)

    def _turn(self, limit_s: float) -> bool:
        ready = self._ready
        done = 0
        while ready and not self.stopped:
            handle = ready.popleft()
            if handle.gone:
                continue
            process = handle.context.get(PROCESS)
            if process is not None and not process.runs:
                process.put_aside(handle)
                continue
            handle.context.run(handle.callback, *handle.args)
            done += 1
            if done > SPIN_MAX:
                self.spins += 1
                break
        self.steps += done
        timers = self._timers
        while timers and timers[0][2].gone:
            heappop(timers)
        if not timers or timers[0][0] > limit_s:
            return bool(ready)
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heappop(timers)[2])
        return True


class Process:
    """One simulated process: what it may do ends with `kill`, and pauses between `freeze` and `thaw`."""

    def __init__(self, loop: SimLoop, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.alive = True
        self.runs = True
        self.crash_in = 0
        """After so many more steps it is killed; 0 means never."""
        self.on_killed: list[Callable[[], None]] = []
        self._loop = loop
        self._backlog: list[Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._context = copy_context()
        self._context.run(PROCESS.set, self)

    def start(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._loop.create_task(coro, context=self._context.copy())

    def call(self, action: Callable[..., Any], *args: Any) -> None:
        """As by a signal's handler: in this process, soon."""
        self._loop.call_soon(action, *args, context=self._context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        if len(self._tasks) > PRUNE_AT:
            self._tasks = [known for known in self._tasks if not known.done()]
        self._tasks.append(task)

    def put_aside(self, handle: Handle) -> None:
        if self.alive:
            self._backlog.append(handle)

    def step(self) -> None:
        """Somewhere between two of its effects: it may be the last thing that it does.

        Raises:
            Killed: it was.
        """
        if not self.alive:
            raise Killed
        if self.crash_in:
            self.crash_in -= 1
            if not self.crash_in:
                self.kill()
                raise Killed

    def freeze(self) -> None:
        self.runs = False

    def thaw(self) -> None:
        if self.alive and not self.runs:
            self.runs = True
            backlog, self._backlog = self._backlog, []
            self._loop._ready.extend(backlog)

    def kill(self) -> None:
        """SIGKILL. Its coroutines are unwound here and now, where nothing that they do has an effect any more."""
        if not self.alive:
            return
        self.alive = self.runs = False
        self._backlog.clear()
        for action in self.on_killed:
            action()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                self._context.copy().run(_unwind, task)


def _unwind(task: asyncio.Task[Any]) -> None:
    coro: Any = task.get_coro()
    if coro.cr_running:
        return
    if coro.cr_frame is not None and coro.cr_frame.f_lasti <= 0 and coro.cr_await is None:
        coro.close()
        return
    for _ in range(UNWIND_MAX):
        try:
            coro.throw(Killed())
        except StopIteration:
            return
        except BaseException:
            return
