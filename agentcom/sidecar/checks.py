"""What a sidecar checks of its machine before it takes work: places to write to, room on their disks, a repository."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from agentcom.git.environment import quiet_environ
from agentcom.git.layout import workspace_of
from agentcom.settings import AgentSettings, Policy
from agentcom.sidecar.probing import probe

Check = Callable[[], Awaitable[str]]
"""Answers in one line why work should not be given here; empty if this is no reason. It may fail, and it may hang."""

PROBE_BYTES = 65_536
"""About as much as an attempt's files have."""


def machine_checks(
    folder: Path, policy: Policy, settings: AgentSettings | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Check]:
    """The checks by the names that are said of one that hangs.

    Args:
        folder: the agent's own.
        policy: says how much room is needed.
        settings: name a workspace and a repository, where there are such.
        environ: the agent's own environment, in which git runs.

    Raises:
        ConfigurationError: the workspace is in the home of a user that is not known here.
    """
    folder = folder.absolute()
    workspace = workspace_of(settings or AgentSettings(), folder)
    places = {folder / "journal" / "runs", folder / "attempts"}
    checks: dict[str, Check] = {
        f"the folder {folder}": _InThread(partial(_first_problem, places, policy.disk_free_bytes)),
        f"the workspace {workspace}": _InThread(partial(_first_problem, {workspace}, policy.disk_free_bytes)),
    }
    if settings is not None and settings.repo:
        checks["git ls-remote"] = partial(_git_problem, settings.repo, dict(environ or {}), folder)
    return checks


class _InThread:
    """A look at a disk that may hang for ever: at most one at a time does."""

    def __init__(self, look: Callable[[], str]) -> None:
        self._look = look
        self._looking = False
        self._limiter = anyio.CapacityLimiter(1)

    async def __call__(self) -> str:
        if self._looking:
            await anyio.sleep_forever()
        return await anyio.to_thread.run_sync(self._run, abandon_on_cancel=True, limiter=self._limiter)

    def _run(self) -> str:
        self._looking = True
        try:
            return self._look()
        finally:
            self._looking = False


def _first_problem(places: set[Path], free_bytes: int) -> str:
    return next((problem for place in sorted(places) if (problem := _problem_of(place, free_bytes))), "")


def _problem_of(place: Path, free_bytes: int) -> str:
    """Why nothing can be written here. What is not there yet is made when it is needed, where its parent allows it."""
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    try:
        # It never has a name, so that no agent at work finds it.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
        free = shutil.disk_usage(there).free
    except OSError as error:
        return f"{place} cannot be written to: {error.strerror or error}"
    if free < free_bytes:
        return f"the disk of {place} has {free:,} bytes left, under policy.disk_free_bytes ({free_bytes:,})"
    return ""


async def _git_problem(repo: str, environ: dict[str, str], folder: Path) -> str:
    if repo.startswith("-"):
        return f"the repository {repo!r} begins with a hyphen, which git would take for an option"
    argv = ["git", "ls-remote", "--quiet", "--", repo, "HEAD"]
    ended = await probe(argv, quiet_environ(environ), Path(), str(folder / "self-test" / "git"))
    return f"the repository {repo} cannot be reached: git ls-remote {ended}" if ended else ""
