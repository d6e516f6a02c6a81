"""Blocking calls with a time limit that holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio

T = TypeVar("T")

AT_ONCE = 8


class Threads:
    """Runs blocking calls in threads that are left behind where they take too long.

    A thread cannot be ended, and anyio's would keep the program from ending: these are daemons. One that hangs keeps
    its place among `AT_ONCE` until it ends, so that there are never more of them.
    """

    def __init__(self) -> None:
        self._places = anyio.Semaphore(AT_ONCE)

    async def run(self, call: Callable[[], T], limit_s: float) -> T:
        """What `call` returns or raises.

        Raises:
            TimeoutError: it did not end in time; it may go on.
        """
        with anyio.fail_after(limit_s):
            await self._places.acquire()
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[T] = loop.create_future()

            def settle(result: T | None, error: Exception | None) -> None:
                self._places.release()
                if answer.done():
                    return
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(result)  # type: ignore[arg-type]  # None only if T is

            def work() -> None:
                result: T | None = None
                failed: Exception | None = None
                try:
                    result = call()
                except Exception as error:
                    failed = error
                with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                    loop.call_soon_threadsafe(settle, result, failed)

            threading.Thread(target=work, name="forge", daemon=True).start()
            return await answer
