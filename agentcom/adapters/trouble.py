"""What a failure means that a program tells in words: they change, so a reason is found by any of the words for it.

Statuses and codes are those of https://docs.claude.com/en/api/errors and
https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import re

from agentcom.adapters.base import Over, Trouble
from agentcom.adapters.resets import stamp_in, wait_in

DETAIL_MAX = 2_000

_OF_STATUS = {
    401: "auth_failed",
    403: "auth_failed",
    402: "misconfigured",
    404: "misconfigured",
    413: "context_exhausted",
}

# The first that is found decides: a provider says 429 also where no waiting helps.
_OF_WORDS: tuple[tuple[str, str], ...] = (
    (
        "misconfigured",
        r"insufficient_quota|exceeded your current quota|credit balance|billing (?:details|error)|unknown option"
        r"|unexpected argument"
        r"|unrecognized (?:option|argument)|unknown argument|invalid value|model_not_found|model not found"
        r"|unknown model|not inside a trusted directory|does not exist or you do not have access"
        r"|error loading config",
    ),
    (
        "context_exhausted",
        r"prompt is too long|prompt_too_long|context[ _]window|context_length|context length|contextoverflow"
        r"|request_too_large|ran out of room|input is too long|too many tokens in|maximum number of tokens",
    ),
    (
        "auth_failed",
        r"not logged in|/login\b|log ?in again|invalid (?:x-)?api[- _]key|incorrect api key|missing bearer"
        r"|missing api[- _]key|missing environment variable"
        r"|authentication|unauthori[sz]ed|\b401\b|\b403\b|forbidden|token (?:has )?expired|permission_error",
    ),
    ("rate_limited", r"rate[- _]?limit|usage limit|hit your .{0,20}limit|limit reached|too many requests|\b429\b"),
    (
        "session_lost",
        r"no conversation found|session (?:id )?.{0,80}(?:not found|already in use)|no rollout found|no saved session",
    ),
    (
        "retry_later",
        r"overloaded|\b(?:500|502|503|504|529)\b|internal server error|bad gateway|service unavailable"
        r"|stream disconnected|connection|econn|enotfound|socket|network|timed? ?out|high demand",
    ),
)
_PATTERNS = tuple((reason, re.compile(words, re.IGNORECASE)) for reason, words in _OF_WORDS)


def reason_in(message: str, status: int = 0) -> str:
    """The reason that a message or an HTTP status gives, of `agentcom.model.reasons`; empty if neither gives one."""
    # What a program says first is what happened; what it quotes may be of any length.
    said = message[:DETAIL_MAX]
    found = next((reason for reason, words in _PATTERNS if words.search(said)), "")
    if status == 429 and found not in ("misconfigured", "context_exhausted"):
        return "rate_limited"
    if status in _OF_STATUS and found not in ("context_exhausted", "misconfigured"):
        return _OF_STATUS[status]
    return found or ("retry_later" if status >= 500 else "")


def failure(message: str, status: int = 0, *, otherwise: str = "agent_failed", resets_at_s: float = 0.0) -> Over:
    """The end of a turn that failed with this message: `otherwise` where neither it nor the status gives a reason."""
    reason = reason_in(message, status) or otherwise
    limited = reason == "rate_limited"
    return Over(
        ok=False,
        reason=reason,
        detail=message[:DETAIL_MAX] or f"status {status}",
        resets_after_s=wait_in(message) if limited else 0.0,
        resets_at_s=(resets_at_s or stamp_in(message)) if limited else 0.0,
    )


def trouble(message: str, status: int = 0, *, otherwise: str = "retry_later") -> Trouble:
    """The same of a request that the program may make again by itself."""
    over = failure(message, status, otherwise=otherwise)
    return Trouble(over.reason, over.detail, over.resets_after_s, over.resets_at_s)
