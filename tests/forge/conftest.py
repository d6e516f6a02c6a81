from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from agentcom.forge.github import GithubForge
from agentcom.forge.github_answers import Access
from tests.forge.github_server import REPO, TOKEN, GithubServer, github_server

# Many processes share a machine that runs tests: how long one example takes says nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[GithubServer]:
    """GitHub's API on loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with github_server() as made:
        yield made


@pytest.fixture
def forge_at(server: GithubServer) -> Callable[..., GithubForge]:
    """Makes forges on the server, each as another sidecar would."""

    def make(token: str = TOKEN, repo: str = REPO, limit_s: float = 30.0, timeout_s: int = 15) -> GithubForge:
        return GithubForge(Access(server.url, repo, "GITHUB_TOKEN"), token, limit_s=limit_s, timeout_s=timeout_s)

    return make


@pytest.fixture
def forge(forge_at: Callable[..., GithubForge]) -> GithubForge:
    return forge_at()
