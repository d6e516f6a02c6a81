"""Fixtures of the sidecar's tests: a real server, one pool of its own for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.ids import nonce


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server that all tests share; none of them stops it."""
    with EmbeddedServer(tmp_path_factory.mktemp("server"), find_server(os.environ)) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server for one test, to kill and start again; what it acknowledged is never lost."""
    with EmbeddedServer(tmp_path / "server", find_server(os.environ), appendfsync="always") as running:
        yield running


@pytest.fixture
def pool() -> str:
    return f"test-{nonce(os.urandom)}"
