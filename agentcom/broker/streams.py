"""Small common ground of the stores: stream entries as redis-py returns them, and groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec import MsgspecError, Struct
from redis.asyncio import Redis

from agentcom.broker import scripts
from agentcom.broker.keys import BODY, ORDERS_GROUP
from agentcom.model.commit import DIGITS_MAX

T = TypeVar("T")

UNREADABLE = (MsgspecError, RecursionError, UnicodeError)
"""What decoding raises for a value that is damaged, or was put there by hand."""


MAX_ID_PART = (1 << 64) - 1


class Entry(Struct, frozen=True):
    """A stream entry: its id, and the body of its message; empty if it has none."""

    id: str
    body: bytes


def entries_of(reply: Any) -> dict[str, list[Entry]]:
    """Entries by stream, of an XREAD or XREADGROUP reply. A deleted entry has an empty body."""
    return {
        text(stream): [Entry(text(id_), (fields or {}).get(BODY, b"")) for id_, fields in entries]
        for stream, entries in reply or ()
    }


async def ensure_group(redis: Redis, stream: str) -> None:
    """Make the group of an orders stream. It begins at the start of the stream: what came before it is not lost."""
    await scripts.ENSURE_GROUP(redis, [stream], [ORDERS_GROUP])


def text(value: bytes | str) -> str:
    """What Redis answered, as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def number(field: bytes | None) -> int:
    """What a field counts; 0 where it is not there, or was damaged."""
    return int(field) if field is not None and is_number(field) else 0


def is_number(field: bytes) -> bool:
    """Whether it is such a number."""
    return field.isdigit() and len(field) <= DIGITS_MAX


def position(field: bytes | None) -> str:
    """How far a stream was read; its beginning where that is not there, or was damaged."""
    return text(field) if field is not None and is_position(field) else "0-0"


def is_position(field: bytes) -> bool:
    """Whether it is the id of an entry that a stream may have."""
    parts = field.split(b"-")
    return len(parts) <= 2 and all(part.isdigit() and len(part) <= 20 and int(part) <= MAX_ID_PART for part in parts)


def readable(decode: Callable[[bytes], T], bodies: Iterable[Any]) -> list[T]:
    """What can be read of these: what is damaged, or was put there by hand, must not keep people from the rest."""
    found: list[T] = []
    for body in bodies:
        try:
            found.append(decode(body))
        except UNREADABLE:
            continue
    return found
