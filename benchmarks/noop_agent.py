"""An agent of 100 slots that does nothing. For latencies, it tells at which time each task's function began."""

from __future__ import annotations

import os
import time

import anyio

import agentcom
from agentcom.sidecar.runners.python import Task


async def main() -> None:
    agent = agentcom.Agent("noop", skills={"python": 3}, slots=100)
    told = os.environ.get("BENCH_TELL")

    @agent.handler
    async def work(task: Task) -> int | None:
        return time.perf_counter_ns() if told or task.text == "tell" else None

    await agent.run()


if __name__ == "__main__":
    anyio.run(main)
