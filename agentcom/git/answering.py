"""Makes what stops a step its answer: nothing that git, a disk or an agent can do is raised."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from agentcom.git.place import GitProblem
from agentcom.git.running import UNFIT, Trouble, problem

P = ParamSpec("P")
T = TypeVar("T")


def answering(step: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T | GitProblem]]:
    """The step, answering with the problem where it met one."""

    @functools.wraps(step)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T | GitProblem:
        try:
            return await step(*args, **kwargs)
        except Trouble as trouble:
            return trouble.problem
        except OSError as error:
            return problem(UNFIT, f"the disk refuses: {error}")

    return answered
