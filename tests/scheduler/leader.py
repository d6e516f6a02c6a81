"""A scheduler as a process of its own, for tests that kill it: `python leader.py URL POOL`."""

import sys

import anyio

from agentcom.broker.connection import connected
from agentcom.scheduler.service import SchedulerService
from tests.scheduler.harness import QUICK


async def main(url: str, pool: str) -> None:
    async with connected(url) as connections:
        await SchedulerService(connections, pool, QUICK).run(lambda: print("leading", flush=True))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
