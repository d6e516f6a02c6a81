"""An agent's own folder on this machine: one sidecar at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentcom.errors import AgentComError, ConfigurationError

PASSING = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""What a disk answers that may take writes again some day."""


@contextmanager
def agent_folder(data_dir: Path, agent: str) -> Iterator[Path]:
    """The folder, made if missing, and locked for as long as the context lasts.

    Raises:
        ConfigurationError: another sidecar of this agent runs on this machine, or the folder cannot be made.
        AgentComError: it cannot be made now, as its disk takes no writes.
    """
    folder = data_dir / "agents" / agent
    lock = _opened(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 40, 0).decode("ascii", "replace").strip()
        os.close(lock)
        problem = f"another sidecar of agent {agent!r} runs on this machine (process {holder or 'unknown'})"
        raise ConfigurationError(problem, "Stop it first, or give this one another name") from None
    try:
        with suppress(OSError):  # a full disk is no reason not to start: whose lock it is, is for people alone
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield folder
    finally:
        os.close(lock)


def _opened(folder: Path) -> int:
    """The file that is locked. A disk that takes no writes is no reason not to start where there is one: what runs is
    to be adopted, and the self-test refuses new work with that reason."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        with suppress(OSError):
            return os.open(folder / "lock", os.O_RDONLY)
        problem = f"the agent's folder {folder} cannot be used: {error}"
        if error.errno in PASSING:
            raise AgentComError(problem, "Let its disk be written to again") from error
        raise ConfigurationError(problem, "Set data_dir") from error
