"""Ends what an earlier supervisor on the same folder left running when it was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio

from agentcom.broker import runtime
from agentcom.processes import ProcessIdentity, is_running
from agentcom.supervisor.programs import SCHEDULER, SERVER
from agentcom.supervisor.record import already_running, read_children, write_children
from agentcom.supervisor.trees import kill_attempts

POLL_S = 0.05
SCHEDULER_PATIENCE_S = 5.0
SERVER_PATIENCE_S = 5.0
"""It flushes what it was told and ends; killing it then loses nothing that was flushed."""


async def take_over(data_dir: Path, sidecar_patience_s: float, say: Callable[[str], None]) -> None:
    """End the orphans of this folder: first sidecars, which bring their work to an end, then the scheduler and server.

    Whoever calls this holds the folder's lock, so nobody looks after them any more.

    Raises:
        ServerUnavailable: a server runs here whose supervisor lives, and does without the lock.
    """
    children = {name: child for name, child in read_children(data_dir).items() if is_running(child)}
    found = runtime.read_live(data_dir)
    if found is not None:
        if found.supervisor.pid != os.getpid() and is_running(found.supervisor):
            raise already_running(found.supervisor_pid, data_dir)
        children.setdefault(SERVER, found.server)
    if children:
        say(f"an earlier agentcom up was killed; stopping what it left running: {', '.join(sorted(children))}")
    sidecars = {name: child for name, child in children.items() if name not in (SERVER, SCHEDULER)}
    await _end(sidecars.values(), sidecar_patience_s)
    _kill_their_agents(data_dir, sidecars)
    await _end(_only(children, SCHEDULER), SCHEDULER_PATIENCE_S)
    runtime.remove(data_dir)
    await _end(_only(children, SERVER), SERVER_PATIENCE_S)
    write_children(data_dir, {})


def _only(children: Mapping[str, ProcessIdentity], name: str) -> list[ProcessIdentity]:
    return [children[name]] if name in children else []


async def _end(processes: Iterable[ProcessIdentity], patience_s: float) -> None:
    left = list(processes)
    for process in left:
        _signal(process, signal.SIGTERM)
    with anyio.move_on_after(patience_s):
        while any(map(is_running, left)):
            await anyio.sleep(POLL_S)
    for process in filter(is_running, left):
        # Each leads a group of its own; a server's child that writes a snapshot must not outlive it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    while any(map(is_running, left)):
        await anyio.sleep(POLL_S)


def _signal(process: ProcessIdentity, number: signal.Signals) -> None:
    if is_running(process):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def _kill_their_agents(data_dir: Path, sidecars: Iterable[str]) -> None:
    for name in sidecars:
        kill_attempts(data_dir / "agents" / name.removeprefix("sidecar "))
