"""One reader of the journal for all that wait in a program: each is woken when its task has ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import until_back
from agentcom.model.lifecycle import ENDED

BLOCK_MS = 5_000


class Heard:
    """Woken whenever what it listens for was said, or might have been while nobody listened."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Wait until something is said, from the last call on."""
        await self._event.wait()
        self._event = anyio.Event()

    def wake(self) -> None:
        """Something was said."""
        self._event.set()


class Listener:
    """Reads the journal from now on, and wakes those that listen."""

    def __init__(self, store: ClientStore) -> None:
        self._store = store
        self._of_task: dict[str, set[Heard]] = {}
        self._of_any: set[Heard] = set()
        self._ready = anyio.Event()
        self.started = False

    async def ready(self) -> None:
        """Wait until everything that is said from now on is heard."""
        await self._ready.wait()

    @contextmanager
    def hear_end(self, task: str) -> Iterator[Heard]:
        """Listen for the end of one task."""
        heard = Heard()
        self._of_task.setdefault(task, set()).add(heard)
        try:
            yield heard
        finally:
            listeners = self._of_task[task]
            listeners.discard(heard)
            if not listeners:
                del self._of_task[task]

    @contextmanager
    def hear_any(self) -> Iterator[Heard]:
        """Listen to whatever is said."""
        heard = Heard()
        self._of_any.add(heard)
        try:
            yield heard
        finally:
            self._of_any.discard(heard)

    async def run(self) -> None:
        """Listen for ever. Whoever waits is woken after Redis was away, too: something may have been missed."""
        since = await until_back(self._store.journal_end, lambda _: None)
        self._ready.set()
        while True:
            for entry, lines in await until_back(lambda: self._store.journal(since, BLOCK_MS), self._wake_all):  # noqa: B023
                since = entry
                for task in {line.task for line in lines if line.after in ENDED}:
                    for heard in self._of_task.get(task, ()):
                        heard.wake()
                for heard in self._of_any:
                    heard.wake()

    def _wake_all(self, _: Exception) -> None:
        for heard in (*self._of_any, *(heard for group in self._of_task.values() for heard in group)):
            heard.wake()
