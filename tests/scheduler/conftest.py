import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer
from tests.broker.servers import any_binary
from tests.scheduler.harness import Pool

_numbers = itertools.count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("server"), any_binary()) as server:
        yield server


@pytest.fixture
async def pool(shared_server: EmbeddedServer) -> AsyncIterator[Pool]:
    pool = Pool(shared_server.url, f"p{next(_numbers)}")
    yield pool
    await pool.connections.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, which it may kill. What it acknowledged, it keeps."""
    with EmbeddedServer(tmp_path / "server", any_binary(), appendfsync="always") as server:
        yield server


@pytest.fixture
async def own_pool(own_server: EmbeddedServer) -> AsyncIterator[Pool]:
    pool = Pool(own_server.url, "p")
    yield pool
    await pool.connections.close()
