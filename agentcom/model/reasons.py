"""Why an attempt did not complete, and what follows: the class decides, not the place where it happened."""

from __future__ import annotations

from typing import Literal

ReasonClass = Literal["elsewhere", "same_workspace", "never"]

CLASS_OF: dict[str, ReasonClass] = {
    # The agent or its machine: the same work may well succeed elsewhere.
    "wake_failed": "elsewhere",
    "accept_timeout": "elsewhere",
    "lost": "elsewhere",
    "retry_later": "elsewhere",
    "misconfigured": "elsewhere",
    "bad_result": "elsewhere",
    "handed_back": "elsewhere",
    "exit_code": "elsewhere",
    "handler_raised": "elsewhere",
    # The work takes longer than one attempt may: whoever goes on should build on what is there.
    "timeout": "same_workspace",
    # No attempt can change it.
    "dependency_failed": "never",
    "expired": "never",
    "refused": "never",
    "canceled": "never",
}


def retries(reason: str) -> bool:
    """Whether an attempt that ended for this reason is followed by another. Unknown reasons are retried."""
    return CLASS_OF.get(reason, "elsewhere") != "never"


def blames_agent(reason: str) -> bool:
    """Whether the next attempt should avoid the agent that made this one."""
    return CLASS_OF.get(reason, "elsewhere") == "elsewhere"
