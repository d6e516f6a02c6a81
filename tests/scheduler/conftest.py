import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentcom.broker.embedded import EmbeddedServer
from tests.broker.servers import any_binary
from tests.scheduler.harness import QUICK, Pool

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
async def make_pool(shared_server: EmbeddedServer) -> AsyncIterator[Callable[..., Pool]]:
    """Makes pools with a policy of the test's own."""
    made: list[Pool] = []

    def make(**policy: Any) -> Pool:
        made.append(Pool(shared_server.url, f"p{next(_numbers)}", msgspec.structs.replace(QUICK, **policy)))
        return made[-1]

    yield make
    for pool in made:
        await pool.connections.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, which it may kill. What it acknowledged, it keeps."""
    with EmbeddedServer(tmp_path / "server", any_binary(), appendfsync="always") as server:
        yield server


@pytest.fixture
async def own_pool(own_server: EmbeddedServer, request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    pool = Pool(own_server.url, "p", getattr(request, "param", QUICK))
    yield pool
    await pool.connections.close()
