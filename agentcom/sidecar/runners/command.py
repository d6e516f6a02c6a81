"""Agents that are programs: argv, never a shell; a process group of their own; the task in a file and on stdin.

An attempt goes from its order to its outcome in stages, which are on disk at every change: git is prepared, the agent
is woken, its work is looked at and checked, sent back if it falls short, pushed, and made a pull request. Without a
repository and without checks there is only the agent.

An agent outlives its sidecar: its parent is a keeper, which writes down how it ended, and its output is a file. So a
sidecar that is started anew can go on with it.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from agentcom.adapters.base import Adapter
from agentcom.adapters.registry import adapter_named
from agentcom.ending import end_orphan
from agentcom.forge.base import Forge
from agentcom.forge.none import NoForge
from agentcom.git.layout import workspace_of
from agentcom.ids import is_id
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome, TaskSpec
from agentcom.processes import ProcessIdentity
from agentcom.settings import AgentSettings, Policy, Price, fill
from agentcom.sidecar.probing import asked, probe
from agentcom.sidecar.runners.attempt import Attempt, Means
from agentcom.sidecar.runners.base import Job, bounded, ignore
from agentcom.sidecar.runners.checking import Checker
from agentcom.sidecar.runners.files import AttemptFiles
from agentcom.sidecar.runners.progress import load
from agentcom.sidecar.runners.turnend import TurnEnd
from agentcom.sidecar.runners.turns import Waker
from agentcom.sidecar.runners.workshop import Workshop

log = logging.getLogger("agentcom.sidecar")

PROGRAM_MAX = 100
CANARY = "canary"


class CommandRunner:
    """Wakes an agent that is a program, for each task.

    Args:
        name: the agent's.
        settings: its program, environment and workspace, and the repository it works on.
        folder: where attempts' files and workspaces are kept.
        environ: the sidecar's own environment, of which the agent's process gets only what `env_pass` names.
        policy: the pool's.
        data_dir: this machine's folder for the pool, with the clones that its agents share; by default that which the
            agent's folder is in.
        adapter: knows the program; that which the settings name if none is given.
        forge: where work is reviewed.
        prices: of models, for agents that tell no cost.
        clock: Unix time in ms, to which what an agent says of the time is relative.
    """

    in_process = False

    def __init__(
        self,
        name: str,
        settings: AgentSettings,
        folder: Path,
        environ: Mapping[str, str],
        policy: Policy,
        *,
        data_dir: Path | None = None,
        adapter: Adapter | None = None,
        forge: Forge | None = None,
        prices: Mapping[str, Price] | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._name = name
        self._settings = settings
        self._folder = folder.absolute()  # the command runs elsewhere, and is told paths within it
        self._shared = workspace_of(settings, self._folder) if settings.workspace else None
        self._adapter = adapter or adapter_named(settings.adapter)
        self._environ = agent_environ(settings, environ)
        self._waker = Waker(name, settings, self._adapter, self._environ, policy, prices or {}, clock)
        workshop = None
        if settings.repo:
            workshop = Workshop(name, settings, data_dir or self._folder.parent.parent, self._environ, policy)
        self._means = Means(
            agent=name,
            policy=policy,
            waker=self._waker,
            workshop=workshop,
            checker=Checker(name, self._environ, policy.check_s, policy.grace_s),
            forge=forge or NoForge(),
        )
        self._grace_s = policy.grace_s

    async def run(self, job: Job) -> Outcome:
        """Take the attempt to its end; what it leaves behind of its process tree is ended too."""
        return await Attempt(self._means, job, self._files(job.spec.id, job.token)).run()

    async def adopt(self, job: Job, process: ProcessIdentity | None) -> Outcome:
        """Go on with an attempt that an earlier start of the sidecar began, from the stage that it had reached."""
        return await Attempt(self._means, job, self._files(job.spec.id, job.token)).adopt(process)

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> Outcome | None:
        """End the process tree of an attempt, found by its process and by the mark that all of the tree inherited.

        What it came to is told where that was the agent's word alone to say; work on a repository was not looked at.
        """
        first = self._files(order.task, order.token)
        progress = load(first.progress)
        files = self._files(order.task, order.token, progress.turn)
        ended = files.ended
        await end_orphan(process, files.mark, self._grace_s)
        if ended is not None and self._means.workshop is None and not progress.commands:
            return self._waker.conclude(files, ended)
        began = files.begun or first.begun
        return Outcome("lost", "lost", "it began, and its end was not noted") if began else None

    async def self_test(self) -> str:
        """Its program is there, by the agent's own environment, and the check that the settings name passes; or that
        which the adapter knows of. What version it has is noted with every attempt from then on."""
        problem = self._unresolved() or await self._probe()
        argv = self._adapter.version(self._settings)
        if argv and not problem:
            said = await asked(argv, self._environ, self._cwd(), str(self._folder / "self-test" / "version"))
            self._means.program = bounded(f"{self._adapter.name} {said}".strip(), PROGRAM_MAX)
        return problem

    async def tidy(self, now_s: float, retention_s: float, keep: Collection[str]) -> None:
        """Remove the worktrees of tasks that nobody has touched for so long; what they have that `origin` has not, the
        clone keeps."""
        if self._means.workshop is None:
            return
        for worktree in old_worktrees(self._workspace("any").parent, now_s - retention_s):
            if worktree.name not in keep:
                problem = await self._means.workshop.forget(worktree.name)
                if problem is not None:
                    log.warning("the worktree %s stays: %s", worktree, problem.detail)

    async def canary(self, folder: Path) -> TurnEnd | None:
        """Wake the agent for a word, in an empty folder, named absolutely; None if its adapter knows no such turn.

        Raises:
            OSError: nothing can be written there.
        """
        spec = TaskSpec(id=CANARY, text="a canary")
        files = AttemptFiles(folder, folder / "workspace", CANARY, CANARY)
        job = Job(CANARY, spec, 1, CANARY, alive=lambda: None, spawned=ignore, printed=ignore)
        return await self._waker.canary(job, files)

    # -------------------------------------------------------------- private

    def _files(self, task: str, token: str, turn: int = 1) -> AttemptFiles:
        return AttemptFiles(self._folder, self._workspace(task), task, token, turn)

    def _workspace(self, task: str) -> Path:
        """Where a task is worked on: a later attempt goes on in it."""
        if self._means.workshop is not None:
            return self._means.workshop.worktree(task)
        return self._shared or workspace_of(self._settings, self._folder) / task

    def _cwd(self) -> Path:
        return self._shared or self._folder

    def _unresolved(self) -> str:
        """Why the agent's program cannot be found; empty if it can, or if that depends on the task."""
        argv = self._settings.command or (self._adapter.program,)
        return _unresolved(argv, str(self._shared or ""), self._environ)

    async def _probe(self) -> str:
        argv = self._settings.self_test or self._adapter.self_test(self._settings)
        if not argv:
            return ""
        environ = self._environ | {"AGENTCOM_AGENT": self._name}
        ended = await probe(argv, environ, self._cwd(), str(self._folder / "self-test" / "agent"))
        return f"its self-test {ended}" if ended else ""


def old_worktrees(place: Path, before_s: float) -> list[Path]:
    """The worktrees of tasks in a folder that were not touched since then."""
    found = [path for path in place.glob("*") if is_id(path.name) and (path / ".git").is_file()]
    return [path for path in found if max(path.stat().st_mtime, (path / ".git").stat().st_mtime) < before_s]


def agent_environ(settings: AgentSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of an agent's processes: what the settings pass on, and what they set."""
    return {key: environ[key] for key in settings.env_pass if key in environ} | settings.env


def _unresolved(command: tuple[str, ...], workspace: str, environ: Mapping[str, str]) -> str:
    """Why a program cannot be found; empty if it can, or if that depends on the task."""
    try:
        program = fill(command[:1], {"workspace": workspace} if workspace else {})[0]
    except KeyError:
        return ""
    if os.sep in program and not Path(program).is_absolute():
        if not workspace:
            return f"the command {program!r} is relative to a workspace, and each task has a new one"
        program = str(Path(workspace) / program)
    where = environ.get("PATH", os.defpath)
    if shutil.which(program, path=where) is None:
        return f"there is no program {program!r}" + ("" if os.sep in program else f" in the PATH {where}")
    return ""
