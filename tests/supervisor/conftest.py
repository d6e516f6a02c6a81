"""Fixtures of the tests of supervision: a server, and a folder with settings for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server
from tests.supervisor.watched import Home


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("server"), find_server(os.environ)) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, server: EmbeddedServer) -> Home:
    return Home(tmp_path, server.url)
