"""Why an attempt did not complete, and what follows: the class decides, not the place where it happened."""

from __future__ import annotations

from typing import Literal

ReasonClass = Literal["elsewhere", "same_workspace", "wait", "split", "human", "never"]

CLASS_OF: dict[str, ReasonClass] = {
    # The agent or its machine: the same work may well succeed elsewhere.
    "wake_failed": "elsewhere",
    "accept_timeout": "elsewhere",
    "lost": "elsewhere",
    "stalled": "elsewhere",
    "output_flood": "elsewhere",
    "retry_later": "elsewhere",
    "misconfigured": "elsewhere",
    "bad_result": "elsewhere",
    "handed_back": "elsewhere",
    "turned_away": "elsewhere",
    "unfit": "elsewhere",
    "requeued": "elsewhere",
    "exit_code": "elsewhere",
    "handler_raised": "elsewhere",
    "agent_failed": "elsewhere",
    # The work takes longer than one attempt may: whoever goes on should build on what is there.
    "timeout": "same_workspace",
    # What is there can be built on, and whoever made it knows it best.
    "git_fetch_failed": "same_workspace",
    "stale_base": "same_workspace",
    "verification_failed": "same_workspace",
    "uncommitted": "same_workspace",
    "no_change": "same_workspace",
    "push_refused": "same_workspace",
    # The session that was to be gone on with is no more: a new one goes on from the workspace.
    "session_lost": "same_workspace",
    # The agent's provider takes no requests for a while: nobody is to blame, and nothing was tried.
    "rate_limited": "wait",
    # The agent's context window is full: the next part goes on from what it said of the work.
    "context_exhausted": "split",
    # No attempt can help before a person has done something.
    "auth_failed": "human",
    "permission_denied": "human",
    "budget_exceeded": "human",
    "input_required": "human",
    "forge_refused": "human",
    "checks_unreadable": "human",
    "pull_request_closed": "human",
    # No attempt can change it.
    "invalid_task": "never",
    "unanswered": "never",
    "dependency_failed": "never",
    "expired": "never",
    "refused": "never",
    "canceled": "never",
}

ASKED_OF_A_PERSON: dict[str, str] = {
    "auth_failed": "log the agent in, then `agentcom retry` the task",
    "permission_denied": "allow the agent what it was denied, then `agentcom retry` the task",
    "budget_exceeded": "add to its budget, with --add-usd or --add-tokens, as you `agentcom retry` the task",
    "input_required": "answer it with `agentcom answer`",
    "checks_unreadable": "mend [checks] in the repository's agentcom.toml, then `agentcom retry` the task",
    "forge_refused": "let the forge accept the agent's token, then `agentcom retry` the task",
    "pull_request_closed": "reopen its pull request, then `agentcom retry` the task; or `agentcom cancel` it",
}
"""What a task waits for that only a person can do."""

STATED_BY_AGENTS: frozenset[str] = frozenset(
    {
        "rate_limited",
        "invalid_task",
        "context_exhausted",
        "auth_failed",
        "permission_denied",
        "budget_exceeded",
        "input_required",
    }
)
"""Reasons that an agent itself may give for a failure."""

SILENT: frozenset[str] = frozenset({"accept_timeout", "wake_failed"})
"""The agent showed no life at all. The task may be to blame, so a self-test decides: until then it gets no work."""

BREAKS_AT_ONCE: frozenset[str] = frozenset({"misconfigured", "auth_failed"})
"""The agent says that it cannot work as it is set up: the next task would meet the same."""

INNOCENT: frozenset[str] = frozenset({"handed_back", "turned_away", "requeued", "retry_later"})
"""Reasons that say nothing about the agent."""


NO_FAILURE: frozenset[str] = frozenset(
    {"context_exhausted", "input_required", "budget_exceeded", "forge_refused", "pull_request_closed"}
)
"""They end an attempt, and are no failure of the agent that made it."""


def class_of(reason: str) -> ReasonClass:
    """The class of a reason. Unknown ones are retried elsewhere."""
    return CLASS_OF.get(reason, "elsewhere")


def blames_agent(reason: str) -> bool:
    """Whether the next attempt should avoid the agent that made this one."""
    return class_of(reason) == "elsewhere"


def is_strike(reason: str) -> bool:
    """Whether an attempt that failed for this reason counts against its agent's reliability."""
    return (blames_agent(reason) and reason not in INNOCENT) or reason in BREAKS_AT_ONCE


def resumes(reason: str) -> bool:
    """Whether the next attempt may go on in the session of the agent that made this one: nothing speaks against the
    work, its context has room, and it is not lost."""
    if reason == "session_lost":
        return False
    return class_of(reason) in ("same_workspace", "wait", "human") or reason in ("lost", "handed_back", "turned_away")
