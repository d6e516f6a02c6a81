"""A primary, a replica and three Sentinels on loopback ports, and the faults by which a fail-over loses writes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from redis.sentinel import Sentinel

from agentcom.broker.embedded import configuration_file, find_server
from tests.chaos.evidence import Span
from tests.chaos.ledger import now_ms
from tests.chaos.stores import TIMEOUT_S, info

SERVICE = "chaos"
DOWN_AFTER_MS = 1_500
FAILOVER_TIMEOUT_MS = 6_000
LOOK_S = 0.5
"""A look at a node that may be frozen."""

LAG_MS = 1_000
"""What a replica may be behind when its primary goes away without warning."""

NOBODYS_PORT = "1"
DEMOTION_PATIENCE_MS = 60_000

_SENTINEL = """
sentinel monitor {service} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} {failover_timeout_ms}
sentinel parallel-syncs {service} 1
"""


class Node:
    """One process of the group. Its settings are in a file of its own, where Sentinel keeps what it changes."""

    def __init__(self, folder: Path, name: str, settings: str, *arguments: str) -> None:
        self.name = name
        self.port = _free_port()
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self._file = self.folder / "node.conf"
        common = f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nlogfile {self.folder}/log\n"
        self._file.write_text(settings + "\n" + common, encoding="utf-8")
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def add(self, line: str) -> None:
        """Another setting, before the first start."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.process is None or self.process.poll() is not None:
            binary = find_server(os.environ).path
            self.process = subprocess.Popen(
                [binary, self._file, *self._arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def client(self) -> redis.Redis:
        """A client of this very node."""
        return redis.Redis(port=self.port, socket_timeout=LOOK_S, socket_connect_timeout=LOOK_S)


class SentinelGroup:
    """The store of the fail-over scenario."""

    def __init__(self, folder: Path) -> None:
        settings = configuration_file().read_text(encoding="utf-8")
        settings += "\nappendfsync always\nrepl-diskless-sync-delay 0\nrepl-timeout 5\nrepl-ping-replica-period 1\n"
        self.servers = [Node(folder, f"server-{number}", settings) for number in (1, 2)]
        self.servers[1].add(f"replicaof 127.0.0.1 {self.servers[0].port}")
        monitor = _SENTINEL.format(
            service=SERVICE,
            primary=self.servers[0].port,
            down_after_ms=DOWN_AFTER_MS,
            failover_timeout_ms=FAILOVER_TIMEOUT_MS,
        )
        self.sentinels = [Node(folder, f"sentinel-{number}", monitor, "--sentinel") for number in (1, 2, 3)]
        self.losses: list[Span] = []
        self.probes: list[str] = []
        """Keys that were written, and acknowledged, where they would be lost."""
        self._deposed: list[tuple[Node, int]] = []
        """Former primaries that may still take writes, each with when its writes began to be lost."""

    @property
    def url(self) -> str:
        """The Sentinels and the service."""
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"sentinel://{places}/{SERVICE}"

    def start(self) -> None:
        """Start every node, and return when the Sentinels know each other and the replica follows."""
        for node in (*self.servers, *self.sentinels):
            node.start()
        deadline = time.monotonic() + 60
        while not self.is_whole():
            if time.monotonic() > deadline:
                raise TimeoutError("the Sentinel group does not come to be whole within 60 s")
            time.sleep(0.1)

    def client(self) -> redis.Redis:
        """A client of whoever is the primary."""
        places: Any = [("127.0.0.1", node.port) for node in self.sentinels]
        make_group: Any = Sentinel
        group = make_group(places, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        client: redis.Redis = group.master_for(SERVICE, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        return client

    def tend(self) -> None:
        """A former primary loses what it takes until it has become a replica."""
        for node, from_at in list(self._deposed):
            if now_ms() - from_at > DEMOTION_PATIENCE_MS or self._is_settled(node):
                self._deposed.remove((node, from_at))
                self.losses.append(Span(from_at, now_ms()))

    @property
    def has_deposed(self) -> bool:
        """Whether some former primary may still take writes."""
        return bool(self._deposed)

    def stop(self) -> None:
        """End every node."""
        for node in (*self.sentinels, *self.servers):
            node.kill()

    def is_whole(self) -> bool:
        """Whether there is a primary with a replica that follows it, and all Sentinels know of each other."""
        try:
            replication = info(self.primary().client(), "replication")
            follows = any(
                isinstance(value, dict) and value.get("state") == "online"
                for name, value in replication.items()
                if name.startswith("slave")
            )
            return replication["role"] == "master" and follows and all(map(_knows_the_others, self.sentinels))
        except redis.RedisError:
            return False

    def primary(self) -> Node:
        """Who the Sentinels say is the primary. Raises redis.RedisError when none of them answers."""
        for sentinel in self.sentinels:
            with suppress(redis.ConnectionError, redis.TimeoutError):
                place: Any = _ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(node for node in self.servers if node.port == int(place[1]))
        raise redis.ConnectionError("no Sentinel answers")

    def replica(self) -> Node:
        """The other one."""
        primary = self.primary()
        return next(node for node in self.servers if node is not primary)

    # --------------------------------------------------------------- faults

    def kill_primary(self, share: float) -> Node:
        """Cut the replica off, let writes come in for a part of a second, and kill the primary: those are lost."""
        primary = self.primary()
        from_at = now_ms()
        _ask(self.replica(), "REPLICAOF", "127.0.0.1", NOBODYS_PORT)
        time.sleep(0.1 + 0.7 * share)
        with suppress(redis.RedisError):
            name = f"chaos:probe:{from_at}"
            primary.client().set(name, "1")
            self.probes.append(name)
        primary.kill()
        self.losses.append(Span(from_at - LAG_MS, now_ms()))
        return primary

    def start_again(self, node: Node) -> None:
        """Start what was the primary. It takes writes as if it still were, until Sentinel tells it otherwise."""
        self._deposed.append((node, now_ms() - LAG_MS))
        node.start()

    def freeze_primary(self) -> Node:
        """SIGSTOP: thawed, it takes for a while what the pool sends, while the other one is the primary already."""
        primary = self.primary()
        self._deposed.append((primary, now_ms() - LAG_MS))
        primary.signal(signal.SIGSTOP)
        return primary

    def order_failover(self) -> Node:
        """As an operator does it."""
        primary = self.primary()
        self._deposed.append((primary, now_ms() - LAG_MS))
        _ask(self.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
        time.sleep(1.0)  # until it has begun, the old primary looks as if nothing had been asked
        return primary

    def _is_settled(self, node: Node) -> bool:
        """Whether a node that had been the primary is a replica now, or the primary of all still."""
        try:
            role = info(node.client(), "replication")["role"]
            return bool(role == "slave" or self.is_whole())
        except redis.RedisError:
            return False


def _ask(node: Node, *command: str) -> Any:
    client: Any = node.client()
    return client.execute_command(*command)


def _knows_the_others(node: Node) -> bool:
    state: Any = _ask(node, "SENTINEL", "MASTER", SERVICE)
    fields = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
    told = {_text(key): _text(value) for key, value in fields.items()}
    return told["num-other-sentinels"] == "2" and told["num-slaves"] >= "1"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
