"""What a model can be told to do, in words that are the same for all of its dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tokens:
    """What an answer is said to have used."""

    read: int = 1_200
    written: int = 40
    from_cache: int = 300
    into_cache: int = 0
    reasoned: int = 0


@dataclass(frozen=True)
class Say:
    """Answer with this text, which ends the turn."""

    text: str
    tokens: Tokens = Tokens()
    pause_s: float = 0.0


@dataclass(frozen=True)
class Call:
    """Use a tool by the program's own name of it."""

    tool: str
    given: Mapping[str, Any]
    tokens: Tokens = Tokens()


@dataclass(frozen=True)
class Run:
    """Run a shell command, by whatever tool the program offers for that."""

    command: str
    tokens: Tokens = Tokens()


@dataclass(frozen=True)
class Write:
    """Write a file, likewise. The path may be relative to the program's working directory."""

    path: str
    content: str
    tokens: Tokens = Tokens()


@dataclass(frozen=True)
class Fail:
    """Answer with an error."""

    status: int
    kind: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Take the request, and never answer."""


@dataclass(frozen=True)
class Garbage:
    """Answer with what is no answer."""


Step = Say | Call | Run | Write | Fail | Hang | Garbage
Script = Callable[["dict[str, Any]"], Step]


def refused() -> Fail:
    """The key is not taken."""
    return Fail(401, "authentication_error", "invalid x-api-key")


def limited(retry_after_s: int = 0, resets_at_s: int = 0) -> Fail:
    """Too many requests; with when to come again, as the headers of providers have it."""
    headers = {"retry-after": str(retry_after_s)} if retry_after_s else {}
    if resets_at_s:
        headers["anthropic-ratelimit-unified-status"] = "rejected"
        headers["anthropic-ratelimit-unified-reset"] = str(resets_at_s)
        headers["anthropic-ratelimit-unified-representative-claim"] = "five_hour"
    return Fail(429, "rate_limit_error", "This request would exceed your rate limit.", headers)


def overflow() -> Fail:
    """More than the context window holds."""
    return Fail(400, "context_length_exceeded", "prompt is too long: 250000 tokens > 200000 maximum")
