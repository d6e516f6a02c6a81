import itertools
from collections.abc import Iterator

import pytest

from agentcom.broker.embedded import EmbeddedServer
from tests.alerts.harness import Inbox, inbox
from tests.broker.servers import any_binary

_numbers = itertools.count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("alerts"), any_binary()) as server:
        yield server


@pytest.fixture
def pool() -> str:
    """The name of a pool of the test's own."""
    return f"a{next(_numbers)}"


@pytest.fixture
def receiver() -> Iterator[Inbox]:
    """An HTTP receiver of alerts that is up."""
    with inbox() as made:
        yield made
