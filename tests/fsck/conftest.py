import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from agentcom.broker.embedded import EmbeddedServer
from agentcom.settings import Policy
from tests.broker.servers import any_binary
from tests.fsck.scene import PATIENT, Scene
from tests.scheduler.harness import Pool

_numbers = itertools.count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("fsck-server"), any_binary()) as server:
        yield server


@pytest.fixture
async def make_pool(shared_server: EmbeddedServer) -> AsyncIterator[Callable[..., Pool]]:
    made: list[Pool] = []

    def make(policy: Policy = PATIENT) -> Pool:
        made.append(Pool(shared_server.url, f"f{next(_numbers)}", policy))
        return made[-1]

    yield make
    for pool in made:
        await pool.connections.close()


@pytest.fixture
def scene(make_pool: Callable[..., Pool]) -> Scene:
    return Scene(make_pool())
