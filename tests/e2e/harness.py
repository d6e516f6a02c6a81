"""What the tests of the Python API share: a scheduler and an agent in this process, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

import agentcom
from agentcom.broker.connection import connected
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import Policy
from agentcom.sidecar.runners.python import Handler


def does_it(task: agentcom.Task) -> str:
    return f"elm did {task.title}"


@asynccontextmanager
async def a_pool(url: str, handler: Handler = does_it, *, slots: int = 1) -> AsyncIterator[None]:
    """A scheduler, and an agent called elm that can do the examples' tasks."""
    elm = agentcom.Agent("elm", skills={"python": 3}, slots=slots)
    elm.handler(handler)
    async with connected(url) as connections, anyio.create_task_group() as group:
        group.start_soon(SchedulerService(connections, "default", Policy()).run)
        group.start_soon(elm.run)
        yield
        group.cancel_scope.cancel()
