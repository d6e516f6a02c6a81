"""Fixtures of the sidecar's tests: a real server, one pool of its own for every test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.ids import nonce
from tests.sidecar.bench import Bench
from tests.sidecar.harness import Desk, desk_client
from tests.sidecar.program import Program


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server that all tests share; none of them stops it."""
    with EmbeddedServer(tmp_path_factory.mktemp("server"), find_server(os.environ)) as running:
        yield running


@pytest.fixture(scope="session")
def fragile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    folder = tmp_path_factory.mktemp("fragile")
    with EmbeddedServer(folder, find_server(os.environ), appendfsync="always") as running:
        yield running


@pytest.fixture
def own_server(fragile_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """A server that a test may kill, start again and reconfigure; what it acknowledged is never lost."""
    fragile_server.start()
    yield fragile_server
    fragile_server.kill()


@pytest.fixture
def pool() -> str:
    return f"test-{nonce(os.urandom)}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the agent whose sidecar is a process of its own."""
    return tmp_path / "agent"


@pytest.fixture
def program(own_server: EmbeddedServer, pool: str, folder: Path) -> Iterator[Program]:
    program = Program(own_server.url, pool, folder)
    yield program
    program.kill()


@pytest.fixture
async def desk(own_server: EmbeddedServer, pool: str) -> AsyncIterator[Desk]:
    client = desk_client(own_server.url)
    yield Desk(client, pool, "oak")
    await client.aclose()
