"""Agents that are commands: argv, never a shell; a process group of their own; the task in a file and on stdin.

Exit 0 is done, 75 means try again later, 78 that the agent is set up wrongly, anything else that it failed. The first
sign of life is the first thing that it prints, or its end: that it was spawned proves nothing.

An agent outlives its sidecar: its parent is a keeper, which writes down how it ended, and its output is a file. So a
sidecar that is started anew can go on with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio

from agentcom.ending import end_orphan, end_tree, find_leader
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome
from agentcom.processes import ProcessIdentity, identify, is_running
from agentcom.settings import AgentSettings, fill
from agentcom.sidecar.probing import probe
from agentcom.sidecar.runners import keeper
from agentcom.sidecar.runners.base import Job, not_woken, unfit
from agentcom.sidecar.runners.files import AttemptFiles, Ended
from agentcom.sidecar.runners.outcomes import outcome_of
from agentcom.sidecar.runners.tail import Tail

POLL_S = 0.1
STRANGER_POLL_S = 0.1 if sys.platform == "linux" else 1.0
"""To see whether what is no child of ours still runs takes a program of its own where there is no /proc."""

KEEPER = (sys.executable, "-I", "-S", keeper.__file__)
"""A bare interpreter starts in a third of the time, and the agent's environment means nothing to it."""


class CommandRunner:
    """Starts the agent's command for each task.

    Args:
        name: the agent's.
        settings: its command, environment and workspace.
        folder: where attempts' files and workspaces are kept.
        environ: the sidecar's own environment, of which the agent's process gets only what `env_pass` names.
        grace_s: from asking a process tree to end until killing it.
        clock: Unix time in ms, to which what an agent says of the time is relative.
    """

    in_process = False

    def __init__(
        self,
        name: str,
        settings: AgentSettings,
        folder: Path,
        environ: Mapping[str, str],
        grace_s: float,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._name = name
        self._settings = settings
        self._folder = folder.absolute()  # the command runs elsewhere, and is told paths within it
        self._environ = agent_environ(settings, environ)
        self._grace_s = grace_s
        self._clock = clock

    async def self_test(self) -> str:
        """Its program is there, by the agent's own environment, and the check that the settings name passes."""
        return unresolved(self._settings, self._environ) or await self._probe()

    async def run(self, job: Job) -> Outcome:
        """Run the command to its end; what it leaves behind of its process tree is ended too."""
        files = self._files(job.spec.id, job.token)
        try:
            files.prepare(job)
        except OSError as error:
            return unfit(f"the attempt's files cannot be written: {error}")
        try:
            process = self._spawn(job, files)
        except (OSError, ValueError) as error:
            return not_woken(f"the command cannot be started: {error}")
        try:
            identity = identify(process.pid)
            if identity is not None:
                job.spawned(identity)
            with Tail(files.output, job) as tail:
                while (code := process.poll()) is None:
                    await tail.follow(POLL_S)
                await tail.finish()
        finally:
            await self._end_all(job, files, end_tree(process, files.mark, self._grace_s))
        if not files.begun and files.output.exists():
            return unfit(f"the command was not started: {files.last_words()}")
        return self._end(job, files, files.ended or Ended(code))

    async def adopt(self, job: Job, process: ProcessIdentity | None) -> Outcome:
        """Follow a command that an earlier start of the sidecar began, to its end.

        Where it has ended already, its keeper says how. A process that got the same pid is never taken for it.
        """
        files = self._files(job.spec.id, job.token)
        leader = process
        try:
            if process is None and files.ended is None:
                leader = await find_leader(files.mark, files.keeper)
                if leader is not None:
                    job.spawned(leader)
            with Tail(files.output, job) as tail:
                while leader is not None and is_running(leader):
                    await tail.follow(STRANGER_POLL_S)
                await tail.finish()
        finally:
            await self._end_all(job, files, end_orphan(leader, files.mark, self._grace_s))
        if files.ended is not None:
            return self._end(job, files, files.ended)
        if leader is None and not files.begun:
            return Outcome("handed_back", "handed_back", "its sidecar was restarted before it was started")
        return Outcome("lost", "lost", "its process ended while no sidecar watched")

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> Outcome | None:
        """End the process tree of an attempt, found by its process and by the mark that all of the tree inherited."""
        files = self._files(order.task, order.token)
        ended = files.ended
        await end_orphan(process, files.mark, self._grace_s)
        if ended is not None:
            return outcome_of(ended, files, self._clock())
        return Outcome("lost", "lost", "it began, and its end was not noted") if files.begun else None

    async def _end_all(self, job: Job, files: AttemptFiles, end: Awaitable[None]) -> None:
        """End an attempt's tree. What completed while it was being ended is said, or nobody would hear of it.

        Of what was asked to end, exit 0 alone says only that it obeyed; with a result file, that it is done.
        """
        by_itself = files.ended is not None
        with anyio.CancelScope(shield=True):
            await end
        ended = files.ended
        if ended is not None and (by_itself or files.result.exists()):
            outcome = outcome_of(ended, files, self._clock())
            if outcome.result == "completed":
                job.alive()
                job.reached(outcome)

    async def _probe(self) -> str:
        argv = self._settings.self_test
        if not argv:
            return ""
        workspace = self._settings.workspace
        environ = self._environ | {"AGENTCOM_AGENT": self._name}
        cwd = Path(workspace) if workspace else self._folder
        ended = await probe(argv, environ, cwd, str(self._folder / "self-test" / "agent"))
        return f"its self-test {ended}" if ended else ""

    def _files(self, task: str, token: str) -> AttemptFiles:
        return AttemptFiles(self._folder, self._settings.workspace, task, token)

    def _end(self, job: Job, files: AttemptFiles, ended: Ended) -> Outcome:
        if not ended.unstarted:
            job.alive()
        return outcome_of(ended, files, self._clock())

    def _spawn(self, job: Job, files: AttemptFiles) -> subprocess.Popen[bytes]:
        values = {
            "task_file": str(files.task),
            "result_file": str(files.result),
            "workspace": str(files.workspace),
            "task_id": job.spec.id,
            "agent": self._name,
        }
        environ = self._environ | {
            "AGENTCOM_TASK_FILE": str(files.task),
            "AGENTCOM_RESULT_FILE": str(files.result),
            "AGENTCOM_TASK_ID": job.spec.id,
            "AGENTCOM_AGENT": self._name,
            "AGENTCOM_ATTEMPT": str(job.attempt),
        }
        with files.prompt.open("rb") as prompt, files.output.open("wb") as output:
            return subprocess.Popen(
                [*KEEPER, str(files.exit), *fill(self._settings.command, values)],
                stdin=prompt,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=files.workspace,
                env=environ,
                start_new_session=True,
            )


def agent_environ(settings: AgentSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of an agent's processes: what the settings pass on, and what they set."""
    return {key: environ[key] for key in settings.env_pass if key in environ} | settings.env


def unresolved(settings: AgentSettings, environ: Mapping[str, str]) -> str:
    """Why the agent's program cannot be found; empty if it can, or if that depends on the task."""
    try:
        program = fill(settings.command[:1], {"workspace": settings.workspace} if settings.workspace else {})[0]
    except KeyError:
        return ""
    if os.sep in program and not Path(program).is_absolute():
        if not settings.workspace:
            return f"the command {program!r} is relative to a workspace, and each task has a new one"
        program = str(Path(settings.workspace) / program)
    where = environ.get("PATH", os.defpath)
    if shutil.which(program, path=where) is None:
        return f"there is no program {program!r}" + ("" if os.sep in program else f" in the PATH {where}")
    return ""
