"""The runtime file: how the commands in other terminals find the server that `agentcom up` runs.

Whoever starts the server writes it when the server answers and removes it before stopping the server. A crash
leaves it behind, so a reader believes it only while that very process runs and its socket takes connections.
"""

import os
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from agentcom.errors import ConfigurationError
from agentcom.processes import ProcessIdentity, is_running

_NAME = "runtime.json"


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """A running server and who looks after it."""

    url: str
    server_pid: int
    server_started: str
    supervisor_pid: int
    supervisor_started: str

    @property
    def server(self) -> ProcessIdentity:
        return ProcessIdentity(self.server_pid, self.server_started)

    @property
    def supervisor(self) -> ProcessIdentity:
        return ProcessIdentity(self.supervisor_pid, self.supervisor_started)


def default_data_dir(environ: Mapping[str, str], pool: str) -> Path:
    """Where a pool's server keeps its data: $XDG_STATE_HOME/agentcom/POOL, by default under ~/.local/state.

    Raises ConfigurationError when the pool's name cannot be a directory's.
    """
    if pool in {"", ".", ".."} or "/" in pool or "\0" in pool:
        raise ConfigurationError(f"The pool name {pool!r} cannot name a directory", "Use letters, digits and dashes")
    state = Path(environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # as the XDG specification asks for unset, empty and relative values
        home = environ.get("HOME")
        state = (Path(home) if home else Path.home()) / ".local" / "state"
    return state / "agentcom" / pool


def write(data_dir: Path, runtime: Runtime) -> None:
    """Put the file in place in one step, readable by its owner only."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_json(data_dir / _NAME, runtime)


def replace_json(path: Path, value: object) -> None:
    """Put a value into a file for people and programs to read, in one step; readable by its owner only."""
    fd, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def read_live(data_dir: Path) -> Runtime | None:
    """The server that runs on this directory now. None for no file, an unreadable one or a dead server's.

    The supervisor may have died before the server: ask `is_running(runtime.supervisor)` where it matters.
    """
    try:
        runtime = msgspec.json.decode((data_dir / _NAME).read_bytes(), type=Runtime)
    except (OSError, msgspec.DecodeError):
        return None
    return runtime if is_running(runtime.server) and _accepts(runtime.url) else None


def remove(data_dir: Path) -> None:
    """Take the file away; it may be gone already."""
    (data_dir / _NAME).unlink(missing_ok=True)


def _accepts(url: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, suppress(OSError):
        connection.settimeout(1.0)
        connection.connect(unquote(urlsplit(url).path))
        return True
    return False
