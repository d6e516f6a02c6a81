"""What a supervisor must leave to its successor should it be killed: which processes are its own.

DATA_DIR/up.lock         locked as long as the supervisor lives, so there is one at a time
DATA_DIR/children.json   the processes it started and has not ended, replaced atomically at every change
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from agentcom.broker.runtime import replace_json
from agentcom.errors import ConfigurationError, ServerUnavailable
from agentcom.processes import ProcessIdentity

_LOCK = "up.lock"
_CHILDREN = "children.json"
_decoder = msgspec.json.Decoder(dict[str, ProcessIdentity])


@contextmanager
def only_supervisor(data_dir: Path) -> Iterator[None]:
    """Be the only supervisor on this folder, which is made if it is missing, for as long as the context lasts.

    Raises:
        ServerUnavailable: another one runs.
        ConfigurationError: the folder cannot be used.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        problem = f"the data directory {data_dir} cannot be used: {error.strerror}"
        raise ConfigurationError(problem, "Choose another with --data-dir") from error
    try:
        _take(lock, data_dir)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def _take(lock: int, data_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 40, 0).decode("ascii", "replace").strip() or "unknown"
        raise already_running(holder, data_dir) from None


def already_running(pid: int | str, data_dir: Path) -> ServerUnavailable:
    """What to tell who starts a second supervisor on the same folder."""
    return ServerUnavailable(
        f"agentcom up runs here already (process {pid}, data in {data_dir})",
        "Use that one, or give this one another --pool or --data-dir",
    )


def write_children(data_dir: Path, children: Mapping[str, ProcessIdentity]) -> None:
    """Put down who was started, by name, in one step. With nobody left, the file goes."""
    if not children:
        (data_dir / _CHILDREN).unlink(missing_ok=True)
        return
    replace_json(data_dir / _CHILDREN, children)


def read_children(data_dir: Path) -> dict[str, ProcessIdentity]:
    """Whom an earlier supervisor had started; nobody if there is no file, or none that can be read."""
    with suppress(OSError, msgspec.MsgspecError, UnicodeError):
        return _decoder.decode((data_dir / _CHILDREN).read_bytes())
    return {}
