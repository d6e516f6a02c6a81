"""`agentcom scheduler --metrics`, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server
from tests.broker.groups import free_port

pytestmark = pytest.mark.process

PATIENCE_S = 40.0


@contextmanager
def scheduler(url: str, address: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = os.environ | {"AGENTCOM_REDIS": url, "AGENTCOM_POOL": "metrics"}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "agentcom", "scheduler", "--metrics", address]
        process = subprocess.Popen(command, env=environ, stderr=log, cwd=folder)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def scraped(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            return str(reply.read().decode())
    except OSError:
        return ""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_scheduler_serves_its_pool_and_ends_as_ever(tmp_path: Path) -> None:
    port = free_port()
    with (
        EmbeddedServer(tmp_path / "redis", find_server(os.environ)) as server,
        scheduler(server.url, str(port), tmp_path) as process,
    ):
        until(lambda: "agentcom_redis_up 1.0" in scraped(port))
        told = scraped(port)
        assert "agentcom_tasks_open 0.0" in told
        assert "process_cpu_seconds_total" in told
        with scheduler(server.url, f"127.0.0.1:{port}", tmp_path) as second:
            assert second.wait(PATIENCE_S) == 78
        assert f"127.0.0.1:{port} cannot be listened on" in (tmp_path / "log").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_an_address_that_is_none_ends_it_with_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with EmbeddedServer(tmp_path / "redis", find_server(os.environ)) as server:
        for address, told in (
            ("nonsense", "agentcom: --metrics: expected HOST:PORT"),
            ("a..b:9464", "agentcom: --metrics: a..b:9464 cannot be listened on"),
        ):
            with scheduler(server.url, address, tmp_path) as process:
                assert process.wait(PATIENCE_S) == 78
            assert log.read_text().startswith(told)
            assert log.read_text().count("\n") == 1
