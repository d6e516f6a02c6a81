"""Finished work is pushed and becomes a pull request. A forge that is away fails nothing: the outcome waits for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from agentcom.forge.base import Draft, Forge, ForgeTrouble
from agentcom.git.place import GitProblem
from agentcom.model.task import PullRequest

log = logging.getLogger("agentcom.sidecar")

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
RETRY_AFTER_MAX_S = 3_600.0

T = TypeVar("T")


class Patience:
    """Tries again for as long as `limit_s`, waiting longer each time.

    Args:
        limit_s: after so long a person is asked.
        say: is told, for people, why something waits.
    """

    def __init__(self, limit_s: float, say: Callable[[str], None]) -> None:
        self._limit_s = limit_s
        self._say = say

    async def until_done(self, attempt: Callable[[], Awaitable[T | GitProblem]]) -> T | GitProblem:
        """What this answers in the end: its result, or a problem that waiting does not solve."""
        began_s, wait_s = anyio.current_time(), FIRST_WAIT_S
        while True:
            try:
                found = await attempt()
                if not isinstance(found, GitProblem) or found.reason != "git_fetch_failed":
                    return found
                why, asked_s = found.detail, 0.0
            except ForgeTrouble as trouble:
                if trouble.hopeless:
                    return GitProblem("forge_refused", trouble.why)
                why, asked_s = trouble.why, trouble.retry_after_s
            left_s = self._limit_s - (anyio.current_time() - began_s)
            if left_s <= 0:
                return GitProblem("forge_refused", f"it could not be published for {self._limit_s:g} s: {why}")
            pause_s = min(left_s, max(wait_s, min(asked_s, RETRY_AFTER_MAX_S)))
            self._say(f"publishing waits for {pause_s:.0f} s: {why}")
            await anyio.sleep(pause_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def publish(
    forge: Forge, draft: Draft, push: Callable[[], Awaitable[GitProblem | None]], patience: Patience
) -> PullRequest | GitProblem | None:
    """Push what was checked, and make or renew the task's pull request; None where there is no forge."""
    problem = await patience.until_done(push)
    if problem is not None:
        return problem
    if forge.name == "none":
        return None
    return await patience.until_done(lambda: forge.publish(draft))
