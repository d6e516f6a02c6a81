"""Whatever a command started is ended with it: asked once, killed after the grace, daemons and strays included."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentcom.processes import is_running
from agentcom.sidecar.runners.command import CommandRunner
from tests.sidecar.bench import Bench, gone, written

pytestmark = pytest.mark.process

IGNORING = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"

DAEMON = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            with open(sys.argv[1], "w") as file:
                print(os.getpid(), file=file)
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            time.sleep(60)
        os._exit(0)
    os.wait()
    if sys.argv[2] == "stay":
        time.sleep(60)
"""


async def canceled(bench: Bench, runner: CommandRunner, ready: Callable[[], Any]) -> float:
    """Cancel a command when it is ready; how long its ending took."""
    async with anyio.create_task_group() as group:
        group.start_soon(runner.run, bench.job())
        await ready()
        started = time.monotonic()
        group.cancel_scope.cancel()
    return time.monotonic() - started


@pytest.mark.parametrize("kind", ["child", "grandchild", "background", "clean environment"])
async def test_to_cancel_a_command_ends_all_that_it_started(bench: Bench, kind: str):
    pids = bench.folder / "pids"
    script = {
        "child": f"echo $$ > {pids}; exec sleep 60",
        "grandchild": f"sh -c 'echo $$ > {pids}; sleep 60; true'; true",
        "background": f"sleep 60 & echo $! > {pids}; wait",
        "clean environment": f"env -i sleep 60 & echo $! > {pids}; wait",
    }[kind]
    took = await canceled(bench, bench.runner("sh", "-c", script, grace_s=60), lambda: written(pids))
    assert gone(int(pids.read_text()), 0)
    assert bench.heard.process is not None
    assert not is_running(bench.heard.process)
    assert took < 30


async def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench):
    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    took = await canceled(bench, bench.runner(sys.executable, "-c", IGNORING, grace_s=0.4), ready)
    assert bench.heard.process is not None
    assert not is_running(bench.heard.process)
    assert 0.4 <= took < 30


async def test_a_child_that_ignores_sigterm_is_killed_though_its_parent_went(bench: Bench):
    script = f'"{sys.executable}" -c "{IGNORING}" & echo $! > {bench.folder}/pid; wait'

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    await canceled(bench, bench.runner("sh", "-c", script, grace_s=0.3), ready)
    assert gone(int((bench.folder / "pid").read_text()), 0)


async def test_sigterm_lets_it_clean_up(bench: Bench):
    script = f"trap 'echo cleaned > {bench.folder}/cleaned; exit 0' TERM; echo on; while :; do sleep 0.05; done"

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    await canceled(bench, bench.runner("sh", "-c", script), ready)
    assert (bench.folder / "cleaned").read_text() == "cleaned\n"


async def test_each_process_is_asked_to_end_once(bench: Bench):
    """A second SIGTERM means "at once" to many programs."""
    script = """
        import signal, sys, time
        count = 0
        def heard(*_):
            global count
            count += 1
        signal.signal(signal.SIGTERM, heard)
        print("on", flush=True)
        while not count:
            time.sleep(0.01)
        time.sleep(0.2)
        with open(sys.argv[1], "w") as file:
            print(count, file=file)
    """
    path = bench.folder / "count"

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    await canceled(bench, bench.runner(sys.executable, "-c", textwrap.dedent(script), str(path)), ready)
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("parent", ["stay", "leave"])
async def test_a_daemon_that_left_its_session_is_ended_too(bench: Bench, parent: str):
    """Also when the command itself ended well: nothing of an attempt outlives it."""
    pids = bench.folder / "pids"
    runner = bench.runner(sys.executable, "-c", textwrap.dedent(DAEMON), str(pids), parent)
    if parent == "stay":
        await canceled(bench, runner, lambda: written(pids))
    else:
        assert (await runner.run(bench.job())).result == "completed"
    assert gone(int(pids.read_text()), 0)


async def test_what_is_left_behind_and_prints_for_ever_holds_nothing_up(bench: Bench):
    for_ever = "while :; do echo more; done"
    outcome = await bench.sh(f"({for_ever}) & echo $! > {bench.folder}/pid; sleep 0.1; exit 0", grace_s=0.5)
    assert outcome.result == "completed"
    assert gone(int((bench.folder / "pid").read_text()), 0)


async def test_a_stopped_process_is_ended(bench: Bench):
    path = bench.folder / "pid"

    async def ready() -> None:
        await written(path)
        while state(int(path.read_text())) != "T":
            await anyio.sleep(0.01)

    def state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]

    await canceled(bench, bench.runner("sh", "-c", f"echo $$ > {path}; kill -STOP $$", grace_s=0.3), ready)
    assert gone(int(path.read_text()), 0)
    assert bench.heard.process is not None
    assert not is_running(bench.heard.process)


async def test_the_loop_goes_on_while_a_tree_is_being_ended(bench: Bench):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0.01)
            turns += 1

    async def ready() -> None:
        while b"on" not in bench.heard.output:
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await ready_then_cancel(bench, ready)
        group.cancel_scope.cancel()
    assert turns > 20


async def ready_then_cancel(bench: Bench, ready: Callable[[], Any]) -> None:
    await canceled(bench, bench.runner(sys.executable, "-c", IGNORING, grace_s=0.5), ready)
