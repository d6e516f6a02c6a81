"""That what the other tests of the command line stand on cannot leave them waiting for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.cli.harness import Served, Terminal

DOOMED = """
import pathlib, sys, time
print("at work", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
raise RuntimeError("a part of it broke")
"""
"""A pool of which a part fails as soon as it is told to; nobody is there to do any work."""


def test_a_call_that_waits_for_a_pool_that_dies_fails_at_once_with_the_reason(quiet: Terminal, tmp_path: Path) -> None:
    pool = Served("redis://127.0.0.1:1", tmp_path, "-c", DOOMED, str(tmp_path / "fail"))
    pool.start()
    terminal = Terminal(tmp_path, quiet.environ, pool)
    threading.Timer(0.5, (tmp_path / "fail").touch).start()
    with pytest.raises(pytest.fail.Exception, match="a part of it broke"):
        terminal("submit", "what nobody does", "--wait")
    with pytest.raises(pytest.fail.Exception, match="a part of it broke"):
        terminal("tasks")
    pool.stop()
