"""Why an attempt did not complete, and what follows: the class decides, not the place where it happened."""

from __future__ import annotations

from typing import Literal

ReasonClass = Literal["elsewhere", "same_workspace", "human", "never"]

CLASS_OF: dict[str, ReasonClass] = {
    # The agent or its machine: the same work may well succeed elsewhere.
    "wake_failed": "elsewhere",
    "accept_timeout": "elsewhere",
    "lost": "elsewhere",
    "timeout": "elsewhere",
    "retry_later": "elsewhere",
    "misconfigured": "elsewhere",
    "bad_result": "elsewhere",
    # The work itself: whoever goes on should build on what is there.
    "exit_code": "same_workspace",
    "handler_raised": "same_workspace",
    # No attempt can change it.
    "invalid_task": "never",
    "dependency_failed": "never",
    "expired": "never",
    "refused": "never",
    # A person decided.
    "canceled": "human",
    "handed_back": "elsewhere",
}


def retries(reason: str) -> bool:
    """Whether an attempt that ended for this reason is followed by another. Unknown reasons are retried."""
    return CLASS_OF.get(reason, "elsewhere") in ("elsewhere", "same_workspace")


def blames_agent(reason: str) -> bool:
    """Whether the next attempt should avoid the agent that made this one."""
    return CLASS_OF.get(reason, "elsewhere") == "elsewhere"
