"""That what the other tests of the command line stand on cannot leave them waiting for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest

from tests.cli.harness import Served, Terminal


class Doomed(Served):
    """A pool of which a part fails as soon as it is told to; nobody is there to do any work."""

    def __init__(self) -> None:
        super().__init__("redis://127.0.0.1:1")
        self.fail = threading.Event()

    async def serve(self) -> None:
        self.started()
        while not self.fail.is_set():
            await anyio.sleep(0.01)
        raise RuntimeError("a part of it broke")


def test_a_call_that_waits_for_a_pool_that_dies_fails_at_once_with_the_reason(quiet: Terminal, tmp_path: Path) -> None:
    pool = Doomed()
    pool.start()
    terminal = Terminal(tmp_path, quiet.environ, pool)
    threading.Timer(0.5, pool.fail.set).start()
    with pytest.raises(pytest.fail.Exception, match="a part of it broke"):
        terminal("submit", "what nobody does", "--wait")
    with pytest.raises(pytest.fail.Exception, match="a part of it broke"):
        terminal("tasks")
    pool.stop()
