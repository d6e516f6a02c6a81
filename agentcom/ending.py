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
import anyio.to_thread

from agentcom.processes import ProcessIdentity, identify, is_running

POLL_S = 0.05
KILL_PATIENCE_S = 5.0
"""What SIGKILL has not ended by then hangs in the kernel, and is not waited for."""

MARK = "AGENTCOM_TASK_FILE"
"""The variable that every process of an attempt inherits, with a path that no other attempt has."""


async def end_tree(process: subprocess.Popen[bytes], mark: str, grace_s: float) -> None:
    """End a child of ours, which leads a session, and its descendants, and reap the child. Without a mark, those that
    left its session are let go."""

    def find() -> list[ProcessIdentity]:
        return _members(process.pid, mark, leads=process.poll() is None)

    await _end(find, process.pid, grace_s)
    with anyio.move_on_after(KILL_PATIENCE_S):
        while process.poll() is None:
            await anyio.sleep(POLL_S)


async def end_orphan(leader: ProcessIdentity | None, mark: str, grace_s: float) -> None:
    """End what an earlier start of this sidecar left running; a recycled pid is never taken for it."""

    def find() -> list[ProcessIdentity]:
        if leader is not None and is_running(leader):
            return _members(leader.pid, mark, leads=True)
        return _members(0, mark, leads=False)

    await _end(find, leader.pid if leader is not None else 0, grace_s)


async def find_leader(mark: str, pid: int = 0) -> ProcessIdentity | None:
    """The process of an attempt that leads its session, by the mark; with a pid, that one or none."""
    for member in await anyio.to_thread.run_sync(lambda: _members(0, mark, leads=False)):
        with suppress(ProcessLookupError):
            if pid in (0, member.pid) and _in_session(member.pid, member.pid):
                return member
    return None


async def _end(find: Callable[[], list[ProcessIdentity]], group: int, grace_s: float) -> None:
    members = await anyio.to_thread.run_sync(find)
    if not members:
        return
    _signal(members, group, signal.SIGTERM)
    with anyio.move_on_after(grace_s):
        while members:
            await anyio.sleep(POLL_S)
            # To look at every process of the machine is dear: first those that are known have to go.
            members = [member for member in members if is_running(member)] or await anyio.to_thread.run_sync(find)
        return
    with anyio.move_on_after(KILL_PATIENCE_S):
        while members := await anyio.to_thread.run_sync(find):
            _signal(members, group, signal.SIGKILL)
            await anyio.sleep(POLL_S)


def _members(session: int, mark: str, *, leads: bool) -> list[ProcessIdentity]:
    """Who of an attempt's processes still runs: of its session, or with its mark in the environment."""
    if sys.platform != "linux":
        own = identify(session) if leads else None
        return [own] if own is not None else []
    wanted = f"{MARK}={mark}".encode() if mark else None
    found: list[ProcessIdentity] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                pid = int(folder.name)
                if _in_session(pid, session) or wanted in (folder / "environ").read_bytes().split(b"\0"):
                    process = identify(pid)
                    if process is not None:
                        found.append(process)
    return found


def _in_session(pid: int, session: int) -> bool:
    """Raises ProcessLookupError for a process that has gone."""
    return session > 0 and os.getsid(pid) == session


def _signal(members: list[ProcessIdentity], group: int, number: signal.Signals) -> None:
    """Signal each once: the process group as a whole, so that none is forked in between, then those outside of it."""
    inside = {member.pid for member in members if group and _group_of(member) == group}
    if inside:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for member in members:
        if member.pid not in inside and is_running(member):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, number)


def _group_of(member: ProcessIdentity) -> int:
    try:
        return os.getpgid(member.pid) if is_running(member) else 0
    except ProcessLookupError:
        return 0
