"""The modelled Redis answers as a real one, and holds the same afterwards, scripts included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agentcom.broker import scripts
from agentcom.broker.connection import Connections
from tests.broker.servers import any_binary
from tests.simulation.comparing import Modelled, Operation, Side, draw
from tests.simulation.redis_model import RedisModel
from tests.simulation.redis_scripts import BY_SHA, NAMES, PYTHON

OPERATIONS = 120


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from agentcom.broker.embedded import EmbeddedServer

    folder: Path = tmp_path_factory.mktemp("same")
    with EmbeddedServer(folder, any_binary()) as server:
        yield server.url


@pytest.mark.process
@pytest.mark.parametrize("seed", range(20))
async def test_random_operations_have_the_same_replies_and_leave_the_same_behind(seed: int, server_url: str) -> None:
    connections = Connections(server_url)
    try:
        await connections.commands.flushall()
        real = Side(connections.commands)
        model = Side(Modelled(RedisModel(lambda: time.time_ns() // 1_000_000, BY_SHA)))
        random = Random(seed)
        performed: list[Operation] = []
        for _ in range(OPERATIONS):
            performed.append(draw(random))
            replies: list[Any] = [await side.perform(performed[-1]) for side in (real, model)]
            assert replies[0] == replies[1], f"real and modelled reply to {performed[-1]}"
            everything = [await side.everything() for side in (real, model)]
            assert everything[0] == everything[1], f"real and modelled content after {performed[-5:]}"
    finally:
        await connections.close()


UNUSED = {"alert"}
"""Scripts of programs that take no part in the simulation."""


def test_every_script_is_modelled_but_those_that_take_no_part() -> None:
    assert set(NAMES.values()) - UNUSED == set(PYTHON)
    assert all(NAMES[sha] in {*PYTHON, *UNUSED} for sha in BY_SHA)
    assert scripts.COMMIT._sha in BY_SHA
