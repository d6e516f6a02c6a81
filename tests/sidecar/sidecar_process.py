"""A sidecar as a process of its own, for the tests that kill it: url, pool, folder, then the command of its agent."""

import signal
import sys
from pathlib import Path

import anyio

from agentcom.broker.connection import Connections
from agentcom.sidecar.runners.python import Task
from tests.sidecar.harness import command, python, service_of


async def for_ever(task: Task) -> None:
    await anyio.sleep_forever()


async def main(url: str, pool: str, folder: Path, argv: list[str]) -> None:
    runner = command(folder, *argv) if argv else python(for_ever)
    connections = Connections(url, one_reader=True)
    service = service_of(connections, pool, folder, runner)
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    service.stop()

        group.start_soon(watch)
        await service.run()
        group.cancel_scope.cancel()
    await connections.close()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
