"""Redis as the chaos runs use it: one server with an append-only file, killed, frozen, or robbed of its tail."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any, Literal, Protocol

import redis

from agentcom.broker.embedded import EmbeddedServer, find_server
from tests.chaos.evidence import Span
from tests.chaos.ledger import now_ms

TIMEOUT_S = 2.0
"""A frozen server must not freeze the harness."""

POWER_LOSS_S = 1.0
"""What a power cut takes with it at most when the file is flushed every second."""

DELAYED_WRITE_MS = 2_000
"""Where it is flushed every second, Redis acknowledges what it has not even written yet, for so long at most, while the
last flush is still going on (flushAppendOnlyFile in its aof.c): even a plain kill loses that."""

SAMPLE_S = 0.05


class Store(Protocol):
    """What every kind of store offers."""

    losses: list[Span]

    @property
    def url(self) -> str:
        """Where programs find it."""

    def start(self) -> None:
        """Start whatever of it does not run, and return when it answers."""

    def client(self) -> redis.Redis:
        """A client of the harness's own, past any proxy, that never waits for long."""

    def tend(self) -> None:
        """What has to be done all the time."""

    def stop(self) -> None:
        """End all of it."""


class OneServer:
    """One Redis (or Valkey) on a unix socket, with the settings of redis.conf."""

    def __init__(self, folder: Path, appendfsync: Literal["always", "everysec"]) -> None:
        self.server = EmbeddedServer(folder, find_server(os.environ), appendfsync=appendfsync)
        self.losses: list[Span] = []
        self._puts_off = appendfsync == "everysec"
        self._sizes: deque[tuple[int, Path, int]] = deque(maxlen=int(3 * POWER_LOSS_S / SAMPLE_S))

    @property
    def url(self) -> str:
        """Its socket."""
        return self.server.url

    def start(self) -> None:
        """Start it, unless it runs."""
        self.server.start()

    def client(self) -> redis.Redis:
        """A client on its socket."""
        return redis.Redis(
            unix_socket_path=str(self.server.socket_path), socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )

    def tend(self) -> None:
        """Note how long the append-only file is, so that a power cut knows what had been written when."""
        file = self._append_only_file()
        if file is not None and (not self._sizes or now_ms() - self._sizes[-1][0] >= SAMPLE_S * 1000):
            self._sizes.append((now_ms(), file, file.stat().st_size))

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        at = now_ms()
        self.server.kill()
        if self._puts_off:
            self.losses.append(Span(at - DELAYED_WRITE_MS, now_ms()))

    def cut_power(self, share: float) -> None:
        """SIGKILL, and the file loses this share of what may not have been flushed: the last second."""
        self.tend()
        at = now_ms()
        self.server.kill()
        killed_at = now_ms()
        lost_from = at - int(share * POWER_LOSS_S * 1000)
        file = self._append_only_file()
        sizes = [(when, size) for when, path, size in self._sizes if path == file]
        flushed = [(when, size) for when, size in sizes if when <= lost_from] or sizes[:1]
        if file is not None and flushed:
            when, size = flushed[-1]
            os.truncate(file, size)
            self.losses.append(Span(min(when, lost_from) - DELAYED_WRITE_MS, killed_at))
            # It is shorter now than it was, and what the next cut finds of this is safe: it will have been loaded.
            self._sizes.clear()
            self._sizes.append((at, file, size))

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT, if it runs."""
        if self.server.is_alive() and self.server.pid is not None:
            os.kill(self.server.pid, number)

    def stop(self) -> None:
        """End it."""
        self.server.kill()

    def _append_only_file(self) -> Path | None:
        files = sorted((self.server.data_dir / "redis").glob("appendonlydir/*.incr.aof"))
        return files[-1] if files else None


def await_answer(client: redis.Redis, within_s: float = 60.0) -> None:
    """Until the server answers that it can be written to. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            client.set("chaos:answers", "1", px=1000)
        except redis.RedisError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"Redis does not take writes within {within_s:g} s")


def info(client: redis.Redis, section: str) -> dict[str, Any]:
    """A part of INFO."""
    return dict(client.info(section))
