"""What the async code of a command leaves behind when it ends."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from agentcom.cli.context import run


async def _lose_a_connection(path: Path, *, garbage: bool) -> None:
    """The peer goes, what is written then fails, and nobody looks at the connection any more."""
    gc.disable()
    elder: list[object] = []
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), path)
    reader, writer = await asyncio.open_unix_connection(path)
    if garbage:
        # A collection puts what an older object refers to before what refers to it: the order of finalization.
        elder.append(writer.transport.get_protocol()._closed)
        gc.collect()
        elder.clear()
    await asyncio.sleep(0.05)
    writer.write(b"x")
    writer.write(b"y")
    await asyncio.sleep(0)
    del reader, writer
    gc.collect()
    server.close()
    gc.enable()


@pytest.mark.parametrize("garbage", [False, True], ids=["finalized in order", "finalized in the other order"])
def test_a_connection_that_was_lost_leaves_no_traceback(
    garbage: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(lambda: _lose_a_connection(tmp_path / "socket", garbage=garbage))
    assert "BrokenPipeError" not in caplog.text


@pytest.mark.parametrize("what", ["another exception", "a task"])
def test_whatever_else_nobody_asked_for_is_reported(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise BrokenPipeError

    async def leave() -> None:
        if what == "a task":
            task = asyncio.create_task(fail())
            await asyncio.sleep(0)
            del task
        else:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(ValueError("a defect"))
            del future
        gc.collect()

    run(leave)
    assert "exception was never retrieved" in caplog.text
