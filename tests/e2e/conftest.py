import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the test's own, which clients and agents find in the environment."""
    with EmbeddedServer(tmp_path / "data", find_server(os.environ)) as server:
        monkeypatch.setenv("AGENTCOM_REDIS", server.url)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        yield server.url
