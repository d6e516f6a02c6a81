"""Ends the agents' processes that a sidecar which was killed could not end."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from agentcom.ending import MARK
from agentcom.processes import is_running
from agentcom.sidecar.journal import Journal


def kill_attempts(folder: Path) -> None:
    """SIGKILL for whatever still works for the agent of this folder, whose sidecar must be dead.

    They are found by the sidecar's own notes and, on Linux, by the mark in their environment, which catches a process
    that was started in the moment its sidecar died.
    """
    for group in _noted(folder) | _marked(folder):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _noted(folder: Path) -> set[int]:
    """The process groups that the sidecar wrote down: each agent's process leads one of its own."""
    if not (folder / "journal").is_dir():
        return set()
    leaders = (note.process for note in Journal(folder / "journal").runs())
    return {leader.pid for leader in leaders if leader is not None and is_running(leader)}


def _marked(folder: Path) -> set[int]:
    """The process groups of this user's processes that carry the path of one of the folder's attempts."""
    if sys.platform != "linux":
        return set()
    wanted = f"{MARK}={folder}{os.sep}".encode()
    groups = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                variables = (process / "environ").read_bytes().split(b"\0")
                if any(variable.startswith(wanted) for variable in variables):
                    groups.add(os.getpgid(int(process.name)))
    return groups - {os.getpgrp()}
