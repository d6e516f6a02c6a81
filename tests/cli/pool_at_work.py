"""A scheduler and two agents at work, as a process of its own: `python -m tests.cli.pool_at_work URL`.

Oak knows python well, birch writes documentation. They work until the standard input ends, as it does with whoever
started them.
"""

from __future__ import annotations

import sys
from typing import Any

import anyio
import anyio.to_thread

import agentcom
from agentcom.broker.connection import connected
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import Policy

POOL = "cli"

POLICY = Policy(
    accept_s=5,
    beat_s=0.5,
    beat_offset_s=0,
    sweep_s=0.5,
    lease_s=10,
    retry_delays_s=(300.0,),
    max_attempts=2,
    breaker_failures=1_000,  # the agents fail tasks for many tests, and are to work for the next
)


async def work(task: agentcom.Task) -> Any:
    """What the agents of these tests do: the first word of the text says what happens."""
    verb, _, rest = task.text.partition(" ")
    if verb == "sleep":
        task.log("falling asleep")
        await anyio.sleep(3600)
    if verb == "fail":
        raise ValueError(rest or "it was told to")
    if verb == "state":
        raise agentcom.AttemptFailed(*rest.split(maxsplit=1))
    if verb == "print":
        task.log(rest)
    return f"did {task.title}"


async def serve(url: str) -> None:
    agents = [
        agentcom.Agent("birch", skills={"docs": 2, "python": 1}, url=url, pool=POOL, policy=POLICY),
        agentcom.Agent("oak", skills={"python": 3, "review": 1}, slots=4, url=url, pool=POOL, policy=POLICY),
    ]
    async with connected(url) as connections, anyio.create_task_group() as group:
        group.start_soon(SchedulerService(connections, POOL, POLICY).run)
        for agent in agents:
            agent.handler(work)
            group.start_soon(agent.run)
        async with agentcom.Client(url, POOL) as client:
            while len(await client.agents()) < len(agents):
                await anyio.sleep(0.02)
        print("at work", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
        group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(serve, sys.argv[1])
