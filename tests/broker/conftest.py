from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer
from tests.broker.servers import any_binary


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, which it may configure and kill."""
    with EmbeddedServer(tmp_path / "server", any_binary(), appendfsync="always") as server:
        yield server
