from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server
from tests.cli.harness import Served, Terminal, served
from tests.cli.pool_at_work import POOL


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of these tests' own."""
    with EmbeddedServer(tmp_path_factory.mktemp("cli-redis"), find_server(os.environ)) as server:
        yield server.url


@pytest.fixture(scope="session")
def at_work(url: str) -> Iterator[Served]:
    """A scheduler and the agents oak and birch, at work on the server."""
    with served(url) as pool:
        yield pool


@pytest.fixture
def pool(at_work: Served) -> str:
    """The URL of the server on which they are at work."""
    return at_work.url


@pytest.fixture
def agentcom(at_work: Served, tmp_path: Path) -> Terminal:
    """The command line, on the pool that is at work."""
    return Terminal(tmp_path, {"AGENTCOM_REDIS": at_work.url, "AGENTCOM_POOL": POOL, "TZ": "UTC"}, at_work)


@pytest.fixture
def quiet(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Terminal:
    """The command line, on a pool of the test's own in which nobody works."""
    name = "q-" + request.node.name.replace("_", "-").lower()[-35:].strip("-")
    return Terminal(tmp_path, {"AGENTCOM_REDIS": url, "AGENTCOM_POOL": name, "TZ": "UTC"})
