"""Servers on loopback ports: primaries, replicas and sentinels, which a test may kill, freeze, demote and configure."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import redis

from agentcom.broker.embedded import ServerBinary

READY_WITHIN_S = 20.0
DEFAULTS = {"save": "", "repl-diskless-sync-delay": 0, "enable-protected-configs": "yes"}


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TcpServer:
    """A server program on a port of loopback, without a disk unless it is told otherwise."""

    def __init__(self, folder: Path, binary: ServerBinary, settings: Mapping[str, object] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._binary = binary
        self._settings = DEFAULTS | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.place}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *, ready: bool = True) -> None:
        """Start it, and wait until it serves; with `ready` false, until it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._answers(ready):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """It goes on to hold its connections, and to let the system take new ones, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __call__(self, *command: Any) -> Any:
        """Send one command over a connection of its own."""
        with self.client() as client:
            return client.execute_command(*command)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, protocol=2, socket_timeout=20, **options)

    def _command(self) -> list[str]:
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, **self._settings}
        return [
            str(self._binary.path),
            *(part for name, value in settings.items() for part in (f"--{name}", str(value))),
        ]

    def _answers(self, ready: bool) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(1)
                connection.sendall(b"PING\r\n")
                answer = connection.recv(100)
        except OSError:
            return False
        return not ready or answer.startswith((b"+PONG", b"-NOAUTH", b"-DENIED"))


class SentinelServer(TcpServer):
    """A sentinel that watches one primary under the name `main`, and is quick to give it up."""

    def __init__(self, folder: Path, binary: ServerBinary, primary: TcpServer, *more: str) -> None:
        super().__init__(folder, binary)
        self._lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor main 127.0.0.1 {primary.port} 2",
            # After a standstill sentinels do not act for 30 s, and then take no replica without its primary for over
            # ten times this: a fail-over that falls there would never come.
            "sentinel down-after-milliseconds main 3500",
            "sentinel failover-timeout main 4000",
            *more,
        ]

    def _command(self) -> list[str]:
        path = self.folder / "sentinel.conf"
        if not path.exists():
            path.write_text("\n".join(self._lines) + "\n")
        return [str(self._binary.path), str(path), "--sentinel"]


@contextmanager
def replicated(folder: Path, binary: ServerBinary) -> Iterator[tuple[TcpServer, TcpServer]]:
    """A primary, and a replica that is up to date."""
    with TcpServer(folder / "first", binary) as primary:
        settings = {"replicaof": f"127.0.0.1 {primary.port}"}
        with TcpServer(folder / "second", binary, settings) as replica:
            wait_for(lambda: b"up" in replica("INFO", "replication").get("master_link_status", "").encode())
            yield primary, replica


@contextmanager
def watched(folder: Path, binary: ServerBinary) -> Iterator[tuple[TcpServer, TcpServer, list[SentinelServer]]]:
    """A primary, its replica, and three sentinels that know of each other and of the replica."""
    with replicated(folder, binary) as (primary, replica):
        sentinels = [SentinelServer(folder / f"sentinel{number}", binary, primary) for number in range(3)]
        try:
            for sentinel in sentinels:
                sentinel.start()
            for sentinel in sentinels:
                wait_for(lambda: _knows_all(sentinel))  # noqa: B023
            yield primary, replica, sentinels
        finally:
            for sentinel in sentinels:
                sentinel.kill()


def _knows_all(sentinel: TcpServer) -> bool:
    with sentinel.client() as client:
        state = client.sentinel_master("main")
    return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1


def wait_for(holds: Any, within_s: float = READY_WITHIN_S) -> None:
    """Wait until something is so; what it raises meanwhile counts as no."""
    deadline = time.monotonic() + within_s
    while True:
        with suppress(redis.RedisError, KeyError):
            if holds():
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)
