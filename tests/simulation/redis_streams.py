"""Streams of the modelled Redis, with their consumer groups."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

Id = tuple[int, int]

FIRST: Id = (0, 0)
LAST: Id = ((1 << 64) - 1, (1 << 64) - 1)

NODE = 100
"""Entries are trimmed approximately by whole nodes of so many."""


def parse_id(text: Any) -> Id:
    """An id as sent: `1-2`, or `1` for `1-0`."""
    if isinstance(text, bytes):
        text = text.decode()
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number or 0)


def parse_bound(text: Any, *, end: bool) -> tuple[Id, bool]:
    """One end of a range, and whether it is exclusive."""
    if isinstance(text, bytes):
        text = text.decode()
    if text == "-":
        return FIRST, False
    if text == "+":
        return LAST, False
    exclusive = text.startswith("(")
    bare = text[1:] if exclusive else text
    if "-" not in bare and end:
        return (int(bare), LAST[1]), exclusive
    return parse_id(bare), exclusive


def show_id(id_: Id) -> bytes:
    return b"%d-%d" % id_


class Pending:
    """One row of a pending-entries list."""

    __slots__ = ("at", "consumer", "count")

    def __init__(self, consumer: str, at: int, count: int) -> None:
        self.consumer = consumer
        self.at = at
        self.count = count

    def copy(self) -> Pending:
        return Pending(self.consumer, self.at, self.count)


class Group:
    """A consumer group."""

    __slots__ = ("consumers", "delivered", "pending")

    def __init__(self, delivered: Id) -> None:
        self.delivered = delivered
        self.pending: dict[Id, Pending] = {}
        self.consumers: dict[str, None] = {}

    def copy(self) -> Group:
        twin = Group(self.delivered)
        twin.pending = {id_: row.copy() for id_, row in self.pending.items()}
        twin.consumers = dict(self.consumers)
        return twin

    def range(self, start: Any, end: Any, count: int, consumer: str = "", idle_before: int | None = None) -> list[Id]:
        """Ids of pending entries from `start` to `end`, of one consumer, last delivered at `idle_before` at most."""
        low, after = parse_bound(start, end=False)
        high, before = parse_bound(end, end=True)
        found: list[Id] = []
        for id_ in sorted(self.pending):
            row = self.pending[id_]
            if id_ < low or (after and id_ == low) or (consumer and row.consumer != consumer):
                continue
            if id_ > high or (before and id_ == high) or len(found) == count:
                break
            if idle_before is None or row.at <= idle_before:
                found.append(id_)
        return found


class Stream:
    """Entries in the order of their ids."""

    __slots__ = ("entries", "groups", "ids", "last")

    def __init__(self) -> None:
        self.ids: list[Id] = []
        self.entries: dict[Id, tuple[bytes, dict[bytes, bytes]]] = {}
        self.last: Id = FIRST
        self.groups: dict[str, Group] = {}

    def copy(self) -> Stream:
        twin = Stream()
        twin.ids, twin.entries, twin.last = list(self.ids), dict(self.entries), self.last
        twin.groups = {name: group.copy() for name, group in self.groups.items()}
        return twin

    def add(self, id_: Id, fields: dict[bytes, bytes]) -> bytes:
        self.ids.append(id_)
        shown = show_id(id_)
        self.entries[id_] = (shown, fields)
        self.last = id_
        return shown

    def next_id(self, now: int) -> Id:
        return (now, 0) if now > self.last[0] else (self.last[0], self.last[1] + 1)

    def delete(self, id_: Id) -> bool:
        if self.entries.pop(id_, None) is None:
            return False
        del self.ids[bisect_left(self.ids, id_)]
        return True

    def trim_before(self, id_: Id) -> int:
        return self._drop_first(bisect_left(self.ids, id_))

    def trim_about(self, most: int) -> int:
        return self._drop_first(max(0, (len(self.ids) - most) // NODE * NODE))

    def _drop_first(self, number: int) -> int:
        for id_ in self.ids[:number]:
            del self.entries[id_]
        del self.ids[:number]
        return number

    def after(self, id_: Id, count: int | None) -> list[Id]:
        first = bisect_right(self.ids, id_)
        return self.ids[first:] if count is None else self.ids[first : first + count]

    def between(self, start: Any, end: Any) -> list[Id]:
        low, after = parse_bound(start, end=False)
        high, before = parse_bound(end, end=True)
        first = (bisect_right if after else bisect_left)(self.ids, low)
        last = (bisect_left if before else bisect_right)(self.ids, high)
        return self.ids[first:last]
