from collections.abc import AsyncIterator, Iterator

import pytest

from agentcom.broker.connection import Connections
from agentcom.broker.keys import Keys
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.settings import Policy
from tests.broker.conformance.pool import Pool
from tests.broker.servers import ALL_KINDS, FAKE, FakeConnections, running, without_shebangs


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", params=ALL_KINDS)
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == FAKE:
        yield ""
        return
    with running(tmp_path_factory.mktemp(request.param), request.param) as server:
        yield server.url


@pytest.fixture
async def connections(server_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connections]:
    if not server_url:
        without_shebangs(monkeypatch)
    connections = Connections(server_url) if server_url else FakeConnections()
    await connections.commands.flushall()
    yield connections
    await connections.close()


@pytest.fixture
def policy() -> Policy:
    return Policy(lease_s=1.0, retention_s=100.0, journal_entries=100, dead_entries=100)


@pytest.fixture
async def store(connections: Connections, policy: Policy) -> SchedulerStore:
    return SchedulerStore(connections, "p", policy)


@pytest.fixture
async def pool(connections: Connections, store: SchedulerStore, policy: Policy) -> Pool:
    return Pool(connections, store, policy, Keys("p"))
