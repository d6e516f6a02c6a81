"""Where on a machine the git side of a task lies. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from agentcom.git.place import Place, Repository
from agentcom.places import expanded
from agentcom.settings import AgentSettings

_UNFIT_FOR_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def clone_of(data_dir: Path, url: str) -> Path:
    """The bare clone that all agents of this machine share for a repository."""
    last = re.split(r"[/:]", url.rstrip("/"))[-1].removesuffix(".git")
    name = _UNFIT_FOR_NAME.sub("-", last).strip("-.")[:60] or "repository"
    return data_dir / "clones" / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:10]}.git"


def workspace_of(settings: AgentSettings, folder: Path) -> Path:
    """The folder that an agent works in: the one that its settings name, else one in its own folder for all its tasks.

    Raises:
        ConfigurationError: they name the home of a user that is not known here.
    """
    return expanded(settings.workspace).absolute() if settings.workspace else folder / "workspaces"


def place_of(
    data_dir: Path,
    agent: str,
    settings: AgentSettings,
    task: str,
    environ: Mapping[str, str],
    *,
    branch: str = "",
) -> Place:
    """Where an agent works on a task.

    Args:
        data_dir: the machine's folder for the pool, absolute.
        agent: its name.
        settings: name the repository and its base, and the workspace, in which each task has a worktree.
        task: its id.
        environ: in which git runs.
        branch: of the task; empty: named after this agent, which is right only where it is the task's first.

    Raises:
        ConfigurationError: the workspace is in the home of a user that is not known here.
    """
    folder = data_dir / "agents" / agent
    return Place(
        repository=Repository(settings.repo, settings.base, clone_of(data_dir, settings.repo), dict(environ)),
        task=task,
        branch=branch or f"{agent}/{task}",
        worktree=workspace_of(settings, folder) / task,
        guard=folder / "guards" / f"{task}.json",
        author=agent,
    )
