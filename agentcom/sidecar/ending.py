"""Ends a process with all that it started: SIGTERM, a grace, SIGKILL; daemons that left its process group included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio

from agentcom.processes import ProcessIdentity, identify, is_running

POLL_S = 0.05
MARK = "AGENTCOM_TASK_FILE"
"""The variable that every process of an attempt inherits, with a path that no other attempt has."""


async def end_tree(process: subprocess.Popen[bytes], mark: str, grace_s: float) -> None:
    """End a child of ours and its descendants, and reap the child."""
    members = _members(process.pid, mark, process.poll)
    if not members:
        return
    _signal_group(process.pid, members, signal.SIGTERM)
    with anyio.move_on_after(grace_s):
        while _members(process.pid, mark, process.poll):
            await anyio.sleep(POLL_S)
        return
    _signal_group(process.pid, _members(process.pid, mark, process.poll), signal.SIGKILL)


async def end_orphan(leader: ProcessIdentity | None, mark: str, grace_s: float) -> None:
    """End what an earlier start of this sidecar left running; a recycled pid is never taken for it."""

    def poll() -> int | None:
        return None if leader is not None and is_running(leader) else 0

    group = leader.pid if leader is not None else 0
    members = _members(group, mark, poll)
    _signal_group(group, members, signal.SIGTERM)
    with anyio.move_on_after(grace_s):
        while _members(group, mark, poll):
            await anyio.sleep(POLL_S)
        return
    _signal_group(group, _members(group, mark, poll), signal.SIGKILL)


def _members(leader: int, mark: str, poll: Callable[[], int | None]) -> list[ProcessIdentity]:
    """Who of an attempt's processes still runs."""
    found = {process.pid: process for process in _marked(mark)}
    own = identify(leader) if leader and poll() is None else None
    if own is not None:
        found[own.pid] = own
    return list(found.values())


def _marked(mark: str) -> list[ProcessIdentity]:
    """Processes of this user whose environment carries the attempt's mark."""
    if sys.platform != "linux":
        return []
    wanted = f"{MARK}={mark}".encode()
    found: list[ProcessIdentity] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    process = identify(int(folder.name))
                    if process is not None:
                        found.append(process)
    return found


def _signal_group(leader: int, members: list[ProcessIdentity], number: signal.Signals) -> None:
    if leader and any(process.pid == leader for process in members):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, number)
    for process in members:
        if is_running(process):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
