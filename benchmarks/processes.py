"""A pool of real processes for the benchmarks: an embedded Redis, a scheduler, a sidecar with a no-op agent."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentcom.broker.embedded import EmbeddedServer, find_server

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Pool:
    """Where the processes are."""

    url: str
    server: int
    scheduler: int
    sidecar: int

    def peaks_mb(self) -> dict[str, float]:
        """The most memory that each had resident, in MB."""
        pids = {"redis": self.server, "scheduler": self.scheduler, "sidecar": self.sidecar}
        return {name: peak_mb(pid) for name, pid in pids.items()}


def peak_mb(pid: int) -> float:
    """Peak resident memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1_024


def own_peak_mb() -> float:
    """Peak resident memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@contextmanager
def server() -> Iterator[EmbeddedServer]:
    """An embedded Redis with AOF everysec, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="agentcom-bench-") as folder:
        redis = EmbeddedServer(Path(folder), find_server(os.environ))
        redis.start()
        try:
            yield redis
        finally:
            redis.stop()


@contextmanager
def pool(
    redis: EmbeddedServer, *, scheduler: bool = True, sidecar: bool = True, name: str = "default"
) -> Iterator[Pool]:
    """A scheduler and a sidecar with 100 slots on this server."""
    with tempfile.TemporaryDirectory(prefix="agentcom-bench-") as folder:
        environ = os.environ | {"AGENTCOM_REDIS": redis.url, "AGENTCOM_POOL": name, "XDG_STATE_HOME": folder}
        commands = {
            "scheduler": [sys.executable, "-m", "agentcom", "scheduler"],
            "sidecar": [sys.executable, "-m", "benchmarks.noop_agent"],
        }
        wanted = {"scheduler": scheduler, "sidecar": sidecar}
        with Path(folder, "log").open("w") as log:
            started = {
                name: subprocess.Popen(command, env=environ, stderr=log, stdout=log)
                for name, command in commands.items()
                if wanted[name]
            }
        try:
            time.sleep(2)
            pids = {name: process.pid for name, process in started.items()}
            yield Pool(redis.url, redis.pid or 0, pids.get("scheduler", 0), pids.get("sidecar", 0))
        finally:
            for process in started.values():
                process.send_signal(signal.SIGTERM)
            for process in started.values():
                process.wait(30)
