"""The git side of an agent's attempts: where each is worked on, and what git says of the work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from agentcom.git import (
    Finished,
    GitProblem,
    Place,
    Started,
    agent_environ,
    arm,
    branch_at,
    disarm,
    drop,
    file_at,
    finish,
    merged,
    place_of,
    publishable,
    push,
    restore,
    start,
    written_by_commits,
)
from agentcom.model.task import Evidence
from agentcom.settings import AgentSettings, Policy
from agentcom.settings.repository import CHECKS_FILE, checks_in
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.progress import Progress


class Workshop:
    """Where one agent works on its repository.

    Args:
        agent: its name.
        settings: name the repository and its base, and the workspace.
        data_dir: this machine's folder for the pool, absolute; it has the bare clones that its agents share.
        environ: what git runs in.
        policy: says how long a call of git may take.
    """

    def __init__(
        self, agent: str, settings: AgentSettings, data_dir: Path, environ: Mapping[str, str], policy: Policy
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._data_dir = data_dir
        self._environ = dict(environ)
        self._git_s = policy.git_s

    def desk(self, job: Job) -> Desk:
        """Where one attempt is made."""
        return Desk(self._place(job.spec.id, job.order.branch), job.token)

    def worktree(self, task: str) -> Path:
        """Where a task is worked on."""
        return self._place(task).worktree

    async def forget(self, task: str) -> GitProblem | None:
        """Remove the worktree of a task that is long over."""
        return await drop(self._place(task, branch_at(self.worktree(task))))

    def _place(self, task: str, branch: str = "") -> Place:
        place = place_of(self._data_dir, self._agent, self._settings, task, self._environ, branch=branch)
        return replace(place, repository=replace(place.repository, timeout_s=self._git_s))


class Desk:
    """The git side of one attempt."""

    def __init__(self, place: Place, token: str) -> None:
        self._place = place
        self._token = token

    @property
    def environ(self) -> dict[str, str]:
        """What the agent's environment has more."""
        return agent_environ(self._place, self._token)

    @property
    def writable(self) -> tuple[str, ...]:
        """What outside of the worktree has to be written to in order to commit, for agents that are kept from all
        else.

        Raises:
            OSError: the disk refuses.
        """
        return tuple(map(str, written_by_commits(self._place)))

    async def start(self) -> Started | GitProblem:
        """Make the worktree ready, and let this attempt push from it.

        Raises:
            OSError: the disk refuses.
        """
        started = await start(self._place)
        if isinstance(started, Started):
            arm(self._place, self._token, started)
        return started

    async def is_merged(self) -> bool:
        """Whether the task's work is in the base already, however it came there."""
        return await merged(self._place) is True

    async def checks(self, started: Started) -> tuple[str, ...] | str:
        """The checks that the repository names, as it was when the attempt began; or what is wrong with them."""
        text = await file_at(self._place, started.base_sha, CHECKS_FILE)
        if isinstance(text, GitProblem):
            return text.detail
        return () if text is None else checks_in(text)

    async def look(self, progress: Progress) -> Finished | GitProblem:
        """What git says, when the agent says that it is done."""
        if progress.started is None:
            return GitProblem("git_fetch_failed", "what its worktree began from is not known")
        found = await finish(self._place, progress.started, save=False)
        if isinstance(found, GitProblem) or found.problem is not None or not found.evidence.commits:
            return found
        return replace(found, problem=await publishable(self._place, progress.started))

    async def restore(self, sha: str) -> GitProblem | None:
        """Bring the worktree back to what was checked: what checks left behind is no work of the agent."""
        return await restore(self._place, sha)

    async def push(self, head_sha: str, origin_sha: str) -> GitProblem | None:
        """Let `origin` have what was checked, unless somebody else has gone on with the branch from where it stood."""
        return await push(self._place, head_sha, origin_sha)

    async def save(self, progress: Progress) -> Evidence | None:
        """What an attempt that ends without an outcome has done: on the task's branch what is committed, the rest on a
        rescue branch, for whoever goes on with it."""
        if progress.started is None:
            return None
        found = await finish(self._place, progress.started)
        if isinstance(found, GitProblem):
            return None
        evidence = found.evidence
        if not evidence.commits:
            return evidence if evidence.rescue else None
        problem = await push(self._place, evidence.head_sha, found.origin_sha)
        return replace(evidence, pushed=problem is None)

    async def close(self) -> None:
        """Nobody is to push from the worktree any more."""
        disarm(self._place)
