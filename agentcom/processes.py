"""Recognising a process again later, although the system gives its pid to another one some day.

A pid alone is no name: after a crash or a reboot it may belong to a stranger. The pid together with the
moment the process started is one, and it can be written to a file and compared by another program.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
_DEAD_STATES = "ZXx"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process for all time on this machine.

    `started` is opaque: it is compared with other values from `identify` on the same machine, never parsed.
    """

    pid: int
    started: str


def identify(pid: int) -> ProcessIdentity | None:
    """Who runs under this pid now; None when nobody does. A zombie has ended, so it is nobody."""
    if pid <= 0:
        return None
    started = _started_by_proc(pid) if sys.platform == "linux" else _started_by_ps(pid)
    return None if started is None else ProcessIdentity(pid, started)


def is_running(identity: ProcessIdentity) -> bool:
    """Whether that very process still runs: not a zombie, and not another process that got its pid."""
    return identify(identity.pid) == identity


def _started_by_proc(pid: int) -> str | None:
    """The start time in clock ticks since boot, with the boot it counts from."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    fields = stat[stat.rindex(b")") + 2 :].decode("ascii").split()
    state, ticks = fields[0], fields[19]
    if state in _DEAD_STATES:
        return None
    return f"{_BOOT_ID.read_text().strip()}:{ticks}"


def _started_by_ps(pid: int) -> str | None:
    """The start time to the second, as `ps` prints it in UTC, for systems without /proc."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],
        env={"LC_ALL": "C", "TZ": "UTC", "PATH": "/bin:/usr/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, started = listed.stdout.strip().partition(" ")
    if not started or state[0] in _DEAD_STATES:
        return None
    return " ".join(started.split())
