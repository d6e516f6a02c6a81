"""What a test started and did not end."""

from __future__ import annotations

import os
from pathlib import Path

from agentcom.processes import identify


def processes_of(folder: Path) -> list[int]:
    """Every process but this one that names this folder, inherited its name, or works in it, from /proc.

    A Redis server writes its title over its arguments and its environment: only where it works tells whose it is.
    """
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if int(process.name) != os.getpid()
        and os.fsencode(folder) in _told_by(process)
        and identify(int(process.name)) is not None
    ]


def _told_by(process: Path) -> bytes:
    try:
        told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        return told + os.fsencode((process / "cwd").readlink())
    except OSError:
        return b""
