from __future__ import annotations

import pytest
from hypothesis import settings

# Many processes share a machine that runs tests: how long one example takes says nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
