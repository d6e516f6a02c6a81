"""From an agent's settings to the forge that they name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from agentcom.errors import ConfigurationError
from agentcom.forge.base import Forge
from agentcom.forge.git import Git
from agentcom.forge.local import LocalForge
from agentcom.forge.none import NoForge
from agentcom.forge.origin import Origin
from agentcom.settings import AgentSettings

GITHUB_API = "https://api.github.com"

_OWN = re.compile(r"[A-Za-z0-9_-]+/(?!\.{1,2}\Z)[A-Za-z0-9_.-]+")
_ON_GITHUB = re.compile(r"(?:(?:https|ssh)://(?:[^@/]*@)?|(?:[^@/]+@))(?:www\.)?github\.com[:/](.+?)(?:\.git)?/?")
_API = re.compile(r"(?:https://|http://(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/]|\Z))[^\s?#@]*")
_TOKEN = re.compile(r"[!-~]+")


def forge_of(settings: AgentSettings, environ: Mapping[str, str], folder: Path) -> Forge:
    """The forge of an agent.

    Args:
        environ: of the sidecar; holds the forge's token, and is what git runs in.
        folder: for the forge's own use on this machine; made when it is first needed.

    Raises:
        ConfigurationError: something is missing or malformed.
    """
    match settings.forge:
        case "none":
            return NoForge()
        case "local":
            return _local(settings, environ, folder)
        case "github":
            return _github(settings, environ)


def _local(settings: AgentSettings, environ: Mapping[str, str], folder: Path) -> Forge:
    if not settings.repo:
        raise ConfigurationError('forge = "local" keeps pull requests in the repository', "Set repo")
    return LocalForge(Origin(settings.repo, Git(folder, environ)))


def _github(settings: AgentSettings, environ: Mapping[str, str]) -> Forge:
    from agentcom.forge.github import GithubForge
    from agentcom.forge.github_answers import Access

    url = (settings.forge_url or GITHUB_API).rstrip("/")
    if not _API.fullmatch(url):
        # A token is not sent over a network in the clear.
        raise ConfigurationError(
            "forge_url is no https:// URL of an API", f"Set it as in {GITHUB_API}, without a password"
        )
    return GithubForge(Access(url, _repo(settings), settings.forge_token_env), _token(settings, environ))


def _repo(settings: AgentSettings) -> str:
    found = _ON_GITHUB.fullmatch(settings.repo)
    repo = settings.forge_repo or (found[1] if found else "")
    if not repo:
        raise ConfigurationError('forge = "github" needs to know which repository', 'Set forge_repo = "owner/name"')
    if not _OWN.fullmatch(repo):
        raise ConfigurationError("forge_repo does not name a repository on GitHub", 'Set it as in "owner/name"')
    return repo


def _token(settings: AgentSettings, environ: Mapping[str, str]) -> str:
    name = settings.forge_token_env
    token = environ.get(name, "").strip()
    if not token:
        raise ConfigurationError(
            f'forge = "github" needs a token, and the variable {name} is not set',
            "Set it for the sidecar, or name another one as forge_token_env",
        )
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(f"the variable {name} does not hold a token", "A token has no spaces in it")
    return token
