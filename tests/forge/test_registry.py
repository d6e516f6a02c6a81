"""From settings to forges; and what is missing is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcom.errors import ConfigurationError
from agentcom.forge.base import Draft, Forge, ForgeTrouble, NotMerged, PullDetails
from agentcom.forge.github import GithubForge
from agentcom.forge.local import LocalForge
from agentcom.forge.registry import forge_of
from agentcom.model.task import PullRequest
from agentcom.settings import AgentSettings

ENVIRON = {"GITHUB_TOKEN": "ghp_secret", "OTHER": " ghp_other\n", "BAD": "ghp_se cret"}


def made(**settings: str) -> Forge:
    return forge_of(AgentSettings(command=("x",), **settings), ENVIRON, Path("/nonexistent"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "repo",
    [
        "https://github.com/acme/shop",
        "https://github.com/acme/shop.git",
        "https://x-access-token:secret@github.com/acme/shop.git/",
        "git@github.com:acme/shop.git",
        "ssh://git@github.com/acme/shop",
    ],
)
def test_the_repository_on_github_follows_from_its_url(repo: str) -> None:
    forge = made(forge="github", repo=repo)
    assert isinstance(forge, GithubForge)
    assert (forge.access.repo, forge.access.url) == ("acme/shop", "https://api.github.com")


def test_another_api_repository_and_token_can_be_named() -> None:
    forge = made(
        forge="github", repo="/srv/x.git", forge_repo="a/b.c", forge_url="https://ghe/api/v3/", forge_token_env="OTHER"
    )
    assert isinstance(forge, GithubForge)
    assert (forge.access.repo, forge.access.url, forge.access.token_env) == ("a/b.c", "https://ghe/api/v3", "OTHER")


def test_the_local_forge_is_the_repository_itself() -> None:
    forge = made(forge="local", repo="/srv/x.git")
    assert isinstance(forge, LocalForge)
    assert forge.origin.url == "/srv/x.git"


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"forge": "local"}, "Set repo"),
        ({"forge": "github", "repo": "/srv/x.git"}, "Set forge_repo"),
        ({"forge": "github", "repo": "https://gitlab.com/a/b"}, "Set forge_repo"),
        ({"forge": "github", "repo": "https://github.com/a/b/c"}, "owner/name"),
        ({"forge": "github", "forge_repo": "a"}, "owner/name"),
        ({"forge": "github", "forge_repo": "a/b?x"}, "owner/name"),
        ({"forge": "github", "forge_repo": "../.."}, "owner/name"),
        ({"forge": "github", "forge_repo": "a/b", "forge_url": "ghe/api"}, "forge_url"),
        ({"forge": "github", "forge_repo": "a/b", "forge_url": "https://u:hunter2@ghe"}, "forge_url"),
        ({"forge": "github", "forge_repo": "a/b", "forge_url": "http://ghe/api"}, "https://"),
        ({"forge": "github", "forge_repo": "a/b", "forge_url": "http://127.0.0.1.ghe/api"}, "https://"),
        ({"forge": "github", "forge_repo": "a/b", "forge_token_env": "NONE"}, "the variable NONE is not set"),
        ({"forge": "github", "forge_repo": "a/b", "forge_token_env": "BAD"}, "the variable BAD"),
    ],
)
def test_what_is_missing_is_said_in_one_line(settings: dict[str, str], what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as raised:
        made(**settings)
    said = str(raised.value)
    assert "\n" not in said
    assert "secret" not in said.replace("ghp_secret", "")
    assert not any(secret in said for secret in ("ghp_", "hunter2", "se cret"))


async def test_no_forge_has_nothing_and_refuses_to_publish() -> None:
    forge = made()
    assert forge.name == "none"
    assert await forge.find("t", "b") is None
    assert await forge.details("t", "b") is None
    with pytest.raises(ForgeTrouble, match="set forge") as raised:
        await forge.publish(Draft("t", "b", "main", "c", "d", "e"))
    assert raised.value.hopeless
    assert isinstance(await forge.merge("t", PullDetails(PullRequest("u"), "b", "main", "c"), "d", "e"), NotMerged)
