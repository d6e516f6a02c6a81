"""What a monitor reads beyond a plain look at the pool: what a person has opened, costs, and the last hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from agentcom.broker.keys import LINES, Keys
from agentcom.broker.streams import number, readable
from agentcom.model.codec import decode_lines, decode_record
from agentcom.model.messages import Line
from agentcom.model.task import ReadRecord


class Wanted(Struct, frozen=True):
    """What else to read.

    Attributes:
        tasks: whose records, whether they have ended or not.
        output_of: whose output's tail; empty: nobody's.
        pieces: at most so many pieces of it.
        costs: fields of the hash `costs`.
    """

    tasks: tuple[str, ...] = ()
    output_of: str = ""
    pieces: int = 50
    costs: tuple[str, ...] = ()


class Extras(Struct, frozen=True):
    """What was read of it.

    Attributes:
        records: by id.
        output: pieces with the attempt that each is of, oldest first.
        costs: by field, as stored.
    """

    records: dict[str, ReadRecord] = {}
    output: tuple[tuple[int, bytes], ...] = ()
    costs: dict[str, bytes] = {}


def ask_for_extras(pipeline: Any, names: Keys, wanted: Wanted) -> None:
    """Queue the commands whose replies `extras_of` reads."""
    if wanted.tasks:
        pipeline.mget([names.task(task) for task in wanted.tasks])
    if wanted.output_of:
        pipeline.xrevrange(names.output(wanted.output_of), count=wanted.pieces)
    if wanted.costs:
        pipeline.hmget(names.costs, list(wanted.costs))


def extras_of(replies: Sequence[Any], wanted: Wanted) -> Extras:
    """What was asked for; of a reply that is an error, nothing."""
    told = iter(replies)
    bodies, pieces, costs = (
        _list(next(told)) if asked else [] for asked in (wanted.tasks, wanted.output_of, wanted.costs)
    )
    records = readable(decode_record, (body for body in bodies if body is not None))
    return Extras(
        {record.spec.id: record for record in records},
        tuple((number(fields.get(b"a")), fields.get(b"t", b"")) for _, fields in reversed(pieces)),
        {field: body for field, body in zip(wanted.costs, costs, strict=False) if body is not None},
    )


async def lines_since(redis: Any, names: Keys, at: int, entries: int) -> tuple[list[Line], bool]:
    """Lines of the journal since a time, in Unix ms by the server's clock, oldest first, of at most so many entries;
    and whether these are all."""
    found: Any = await redis.xrevrange(names.journal, min=max(at, 0), count=entries)
    parts = readable(decode_lines, (fields.get(LINES, b"[]") for _, fields in reversed(found)))
    return [line for part in parts for line in part], len(found) < entries


def _list(reply: Any) -> list[Any]:
    return reply if isinstance(reply, list) else []
