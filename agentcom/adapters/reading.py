"""Reads what a program printed, whatever that is: nothing here raises, and everything has a bound."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from agentcom.adapters.base import LINE_MAX_BYTES, Unknown
from agentcom.wording import clean, one_line

TEXT_MAX = 4_000
LINE_WIDTH = 200
KIND_WIDTH = 60
NUMBER_MAX = 10**15
"""More is no number of tokens, and would not survive arithmetic in floats."""

NO_EVENT = Unknown("no event")
"""A line that is no JSON object, such as a warning that goes to the same output."""


def object_in(line: bytes) -> Mapping[str, Any] | None:
    """The JSON object that a line holds; None for anything else.

    A byte that is no UTF-8 in a tool's output does not hide the event around it, and neither does half a character,
    which programs in JavaScript write where they cut a text within an emoji.
    """
    line = line.strip()
    if not line.startswith(b"{") or len(line) > LINE_MAX_BYTES:
        return None
    for tolerant in (_as_it_is, _with_whole_bytes, _with_whole_characters):
        try:
            found = msgspec.json.decode(tolerant(line))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _as_it_is(line: bytes) -> bytes:
    return line


def _with_whole_bytes(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _with_whole_characters(line: bytes) -> bytes:
    return json.dumps(json.loads(_with_whole_bytes(line)), ensure_ascii=False).encode("utf-8", "replace")


def at(value: object, *path: str) -> Any:
    """What stands at a path of names; None where nothing does."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def items(value: object, *path: str) -> list[Any]:
    """The array at a path; empty where there is none."""
    found = at(value, *path)
    return found if isinstance(found, list) else []


def text(value: object, *path: str) -> str:
    """The text at a path, without what moves a cursor, and bounded; empty where there is none."""
    return piece(value, *path).strip()


def piece(value: object, *path: str) -> str:
    """The same with the white space around it: a piece of a text."""
    found = at(value, *path)
    return clean(found[:TEXT_MAX], keep_lines=True) if isinstance(found, str) else ""


def line_of(value: object, *path: str, width: int = LINE_WIDTH) -> str:
    """The same on one line."""
    found = at(value, *path)
    return one_line(found[: 4 * width], width) if isinstance(found, str) else ""


def amount(value: object, *path: str) -> float:
    """The number at a path that is not negative; 0 where there is none."""
    found = at(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return 0.0
    return float(min(found, NUMBER_MAX)) if found > 0 and not math.isnan(found) else 0.0


def whole(value: object, *path: str) -> int:
    """The same as a whole number."""
    return int(amount(value, *path))


def unknown(kind: object) -> Unknown:
    """An event of a kind that the adapter does not know."""
    return Unknown(line_of(kind, width=KIND_WIDTH) or "nameless")
