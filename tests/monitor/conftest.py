from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server
from tests.cli.harness import served


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of these tests' own."""
    with EmbeddedServer(tmp_path_factory.mktemp("monitor-redis"), find_server(os.environ)) as server:
        yield server


@pytest.fixture
def quiet_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that nobody else uses, where commands can be counted."""
    with EmbeddedServer(tmp_path / "redis", find_server(os.environ)) as server:
        yield server


@pytest.fixture(scope="session")
def pool(server: EmbeddedServer) -> Iterator[str]:
    """The server's URL, with a scheduler and the agents oak and birch at work."""
    with served(server.url):
        yield server.url
