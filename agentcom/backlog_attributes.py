"""What braces on a backlog item's first line may say, and how each value is read."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from agentcom.model.task import PRIORITIES
from agentcom.wording import one_line, parse_amount, parse_command, parse_duration, parse_usd

SLUG_LENGTH = 80

_SLUG = re.compile(r"\w[\w.-]*")


def attribute(name: str, value: str) -> tuple[str, Any]:
    """The field of `Item` that an attribute sets, and its value. Raises ValueError with one line."""
    if name not in _ATTRIBUTES:
        hint = nearest(name, _ATTRIBUTES) or "put it in `backticks` if it is part of the title"
        raise ValueError(f"unknown attribute {quoted(name)}: {hint}")
    if not value:
        raise ValueError(f"{name} has no value")
    field, read = _ATTRIBUTES[name]
    try:
        return field, read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _duration_s(value: str) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError("expected more than no time at all")
    return seconds


def _whole_number(value: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", value):
        raise ValueError(f"expected a whole number from 1 to 999999999, not {quoted(value)}")
    return int(value)


def _priority(value: str) -> str:
    if value.lower() not in PRIORITIES:
        raise ValueError(f"expected one of {', '.join(PRIORITIES)}, not {quoted(value)}")
    return value.lower()


def _listed(value: str) -> tuple[str, ...]:
    parts = dict.fromkeys(part for part in map(str.strip, value.split(",")) if part)
    if not parts:
        raise ValueError(f"expected a list with commas in between, not {quoted(value)}")
    return tuple(parts)


def _slugs(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(folded, _listed(value.replace("#", "")))))


def _check(value: str) -> tuple[str, ...]:
    parse_command(value)
    return (value,)


_ATTRIBUTES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "after": ("after", _slugs),
    "agent": ("agent", str),
    "budget": ("budget_usd", parse_usd),
    "check": ("checks", _check),
    "context": ("context", _listed),
    "context-tokens": ("context_tokens", _whole_number),
    "expect": ("expect_s", _duration_s),
    "key": ("key", str),
    "max-attempts": ("max_attempts", _whole_number),
    "prefer": ("prefer", str),
    "priority": ("priority", _priority),
    "requires": ("requires", str),
    "timeout": ("timeout_s", _duration_s),
    "tokens": ("budget_tokens", parse_amount),
}


def folded(slug: str) -> str:
    """A slug as it is compared: its case and its form in Unicode make no difference."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", slug).casefold())


def given_slug(written: str) -> str:
    """The slug that braces give. Raises ValueError with one line."""
    slug = folded(written)
    if not _SLUG.fullmatch(slug) or len(slug) > SLUG_LENGTH:
        raise ValueError(f"a slug is up to {SLUG_LENGTH} letters, digits, . _ and -, not {quoted(written)}")
    return slug


def slugified(title: str) -> str:
    """A slug made of a title; empty if none can be made."""
    return re.sub(r"\W+", "-", folded(title)).strip("-")[:SLUG_LENGTH].strip("-")


def quoted(text: str) -> str:
    """What was written, in a sentence about it."""
    return f"'{one_line(text, 60)}'"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at what was probably meant; empty for none."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {quoted(near[0])}?" if near else ""
