"""What agents of these tests do."""

import time

from agentcom import Task


async def freeze(task: Task) -> None:
    """What no handler may do, the first time: it stops the loop that everything else of its sidecar needs."""
    if task.text == "freeze" and task.attempt == 1:
        time.sleep(3600)  # noqa: ASYNC251
