"""Blocking calls that hang hold nobody up, and never become many."""

from __future__ import annotations

import subprocess
import sys
import threading

import anyio
import pytest

from agentcom.forge.threads import AT_ONCE, Threads

HANGS = """
import time
import anyio
from agentcom.forge.threads import Threads

async def main():
    try:
        await Threads().run(lambda: time.sleep(600), 0.05)
    except TimeoutError:
        print("late")

anyio.run(main)
"""


async def test_what_a_call_returns_or_raises() -> None:
    threads = Threads()
    assert await threads.run(lambda: 3, 30) == 3
    assert await threads.run(lambda: None, 30) is None
    with pytest.raises(KeyError):
        await threads.run(lambda: {}["x"], 30)


async def test_calls_that_hang_take_their_places_until_they_end() -> None:
    threads, released = Threads(), threading.Event()
    before = threading.active_count()
    for _ in range(AT_ONCE + 3):
        with pytest.raises(TimeoutError):
            await threads.run(lambda: released.wait(60), 0.02)
    assert threading.active_count() <= before + AT_ONCE
    released.set()
    assert await threads.run(lambda: 3, 30) == 3


async def test_a_call_that_is_left_alone_changes_nothing_any_more() -> None:
    threads, released, ended = Threads(), threading.Event(), threading.Event()

    def call() -> None:
        released.wait(60)
        ended.set()
        raise ValueError

    async with anyio.create_task_group() as group:
        group.start_soon(threads.run, call, 60)
        await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    released.set()
    while not ended.is_set():
        await anyio.sleep(0.01)
    assert await threads.run(lambda: 3, 30) == 3


@pytest.mark.process
def test_a_call_that_hangs_does_not_keep_a_program_from_ending() -> None:
    ran = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "late\n", "")
