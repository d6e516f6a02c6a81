"""Where what is known of incidents is kept: in Redis, between all schedulers, or in this process alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import anyio
import msgspec

from agentcom.alerts.incidents import Book, Incident
from agentcom.broker.alert_store import AlertStore, Notes
from agentcom.broker.connection import backoff_s

log = logging.getLogger("agentcom.alerts")

T = TypeVar("T")

Change = Callable[[Book, int], T]
"""Changes a book, given the time; it may be called again with a newer book."""

_LIMIT = b"limit"
_incident = msgspec.json.Decoder(Incident)


class Keeper(Protocol):
    """Keeps a book."""

    async def amend(self, change: Change[T]) -> T:
        """Change the book in one step; what the change returned. Raises what redis-py raises if the book is there."""
        ...


class OwnKeeper:
    """Keeps a book in this process's memory: for what is to be told when Redis is away.

    Args:
        clock: Unix time in ms.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._book = Book()
        self._clock = clock

    async def amend(self, change: Change[T]) -> T:
        """Change the book."""
        return change(self._book, self._clock())


class SharedKeeper:
    """Keeps a book in Redis. Its time is the server's, so that all who share it have the same.

    Args:
        store: of the pool.
    """

    def __init__(self, store: AlertStore) -> None:
        self._store = store

    async def amend(self, change: Change[T]) -> T:
        """Change the book. A change that changes nothing writes nothing; one that came too late is made again."""
        attempt = 0
        while True:
            notes = await self._store.read()
            book = _read(notes)
            answer = change(book, notes.now)
            written = _written(book)
            changed = {name: value for name, value in written.items() if notes.fields.get(name) != value}
            gone = notes.fields.keys() - written.keys()
            if not changed and not gone:
                return answer
            if await self._store.write(notes, os.urandom(8), changed, gone):
                return answer
            await anyio.sleep(backoff_s(min(attempt, 3)))
            attempt += 1


def _read(notes: Notes) -> Book:
    """What the notes say. One that cannot be read is dropped: at worst something is told once more."""
    book = Book()
    for name, value in notes.fields.items():
        try:
            if name == _LIMIT:
                limit: dict[str, Any] = msgspec.json.decode(value, type=dict[str, Any])
                book.told_in = msgspec.convert(limit["told_in"], dict[int, int], strict=False)
                book.kept_at = msgspec.convert(limit["kept_at"], int)
            else:
                incident = _incident.decode(value)
                book.incidents[incident.finding.incident] = incident
        except (msgspec.MsgspecError, KeyError) as error:
            log.warning("a note on alerts cannot be read: %s", error)
    return book


def _written(book: Book) -> dict[bytes, bytes]:
    fields = {id_.encode(): msgspec.json.encode(incident) for id_, incident in book.incidents.items()}
    if book.told_in or book.kept_at:
        fields[_LIMIT] = msgspec.json.encode({"told_in": book.told_in, "kept_at": book.kept_at})
    return fields
