"""Agents that are commands: argv, never a shell; a process group of their own; the task in a file and on stdin.

Exit 0 is done, 75 means try again later, 78 that the agent is set up wrongly, anything else that it failed. The first
sign of life is the first thing that it prints, or its end: that it was spawned proves nothing.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.lowlevel
import msgspec

from agentcom.model.codec import encode
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome, Usage
from agentcom.processes import ProcessIdentity, identify
from agentcom.settings import AgentSettings, fill
from agentcom.sidecar.ending import end_orphan, end_tree
from agentcom.sidecar.runners.base import DETAIL_MAX, SUMMARY_MAX, VALUE_MAX_BYTES, Job, bounded, with_value

EXIT_RETRY_LATER = 75
EXIT_MISCONFIGURED = 78

TASK_FILE = "task.json"
POLL_S = 0.1
READ_BYTES = 65_536
LAST_WORDS_BYTES = 400
BEHIND_MAX_BYTES = 16 * 1_048_576
"""Who prints faster than this can pass on is not read in full, so that the end of its output never lies far ahead."""


class CommandRunner:
    """Starts the agent's command for each task.

    Args:
        name: the agent's.
        settings: its command, environment and workspace.
        folder: where attempts' files and workspaces are kept.
        environ: the sidecar's own environment, of which the agent's process gets only what `env_pass` names.
        grace_s: from asking a process tree to end until killing it.
    """

    in_process = False

    def __init__(
        self, name: str, settings: AgentSettings, folder: Path, environ: Mapping[str, str], grace_s: float
    ) -> None:
        self._name = name
        self._settings = settings
        self._folder = folder.absolute()  # the command runs elsewhere, and is told paths within it
        self._environ = {key: environ[key] for key in settings.env_pass if key in environ} | settings.env
        self._grace_s = grace_s

    async def run(self, job: Job) -> Outcome:
        """Run the command to its end; what it leaves behind of its process tree is ended too."""
        try:
            files = _Files(self._folder, self._settings.workspace, job)
            files.write_task(job)
            process = self._spawn(job, files)
        except (OSError, ValueError) as error:
            return Outcome("failed", "wake_failed", bounded(f"the command cannot be started: {error}", DETAIL_MAX))
        try:
            identity = identify(process.pid)
            if identity is not None:
                job.spawned(identity)
            exit_code = await self._follow(process, files, job)
        finally:
            with anyio.CancelScope(shield=True):
                await end_tree(process, str(files.task), self._grace_s)
        return _outcome_of(exit_code, files)

    async def end_orphan(self, order: Assign, process: ProcessIdentity | None) -> None:
        """End the process tree of an attempt, found by its process and by the mark that all of the tree inherited."""
        await end_orphan(
            process, str(_attempt_folder(self._folder, order.task, order.token) / TASK_FILE), self._grace_s
        )

    def _spawn(self, job: Job, files: _Files) -> subprocess.Popen[bytes]:
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
                fill(self._settings.command, values),
                stdin=prompt,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=files.workspace,
                env=environ,
                start_new_session=True,
            )

    async def _follow(self, process: subprocess.Popen[bytes], files: _Files, job: Job) -> int:
        """Pass on what the agent prints until its process ends; its exit code."""
        with files.output.open("rb") as output:
            while (exit_code := process.poll()) is None:
                if not await _pass_on(output, job):
                    await anyio.sleep(POLL_S)
            # What it left behind may go on printing for ever: only what is there by now is passed on.
            end = os.fstat(output.fileno()).st_size
            while output.tell() < end and await _pass_on(output, job):
                pass
        job.alive()
        return exit_code


async def _pass_on(output: BinaryIO, job: Job) -> bool:
    end = os.fstat(output.fileno()).st_size
    if end - output.tell() > BEHIND_MAX_BYTES:
        output.seek(end - BEHIND_MAX_BYTES)
    printed = output.read(READ_BYTES)
    if printed:
        job.alive()
        job.printed(printed)
        await anyio.lowlevel.checkpoint()
    return bool(printed)


class _Files:
    """Where one attempt keeps its files. The workspace is the task's, so that a later attempt goes on in it."""

    def __init__(self, folder: Path, workspace: str, job: Job) -> None:
        self.workspace = Path(workspace).absolute() if workspace else folder / "workspaces" / job.spec.id
        attempt = _attempt_folder(folder, job.spec.id, job.token)
        self.task = attempt / TASK_FILE
        self.prompt = attempt / "prompt.txt"
        self.result = attempt / "result.json"
        self.output = attempt / "output.log"
        attempt.mkdir(parents=True, exist_ok=True)
        self.workspace.mkdir(parents=True, exist_ok=True)
        self.result.unlink(missing_ok=True)

    def write_task(self, job: Job) -> None:
        """The task for the agent to read: as JSON in a file, as text for its stdin."""
        spec = job.spec
        told: dict[str, Any] = {
            "id": spec.id,
            "title": spec.heading,
            "text": spec.text,
            "context": spec.context,
            "attempt": job.attempt,
        }
        self.task.write_bytes(encode(told))
        self.prompt.write_text(spec.text, encoding="utf-8", errors="replace")


def _attempt_folder(folder: Path, task: str, token: str) -> Path:
    """One that no other attempt has: after a fail-over of Redis, two may have the same generation."""
    return folder / "attempts" / f"{task}.{token}"


class _Result(msgspec.Struct):
    """What an agent may write to its result file; any other fields of it become the outcome's value."""

    summary: str = ""
    changed: tuple[str, ...] = ()
    usage: Usage | None = None


def _outcome_of(exit_code: int, files: _Files) -> Outcome:
    if exit_code != 0:
        reason = {EXIT_RETRY_LATER: "retry_later", EXIT_MISCONFIGURED: "misconfigured"}.get(exit_code, "exit_code")
        ended = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        return Outcome("failed", reason, bounded(f"{ended}: {_last_words(files.output)}", DETAIL_MAX), exit_code)
    try:
        body = _read(files.result, VALUE_MAX_BYTES + 1)
        if len(body) > VALUE_MAX_BYTES:
            raise ValueError(f"it has over {VALUE_MAX_BYTES:,} bytes")
        return _outcome_in(body)
    except FileNotFoundError:
        return Outcome("completed", exit_code=0)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return Outcome("failed", "bad_result", bounded(f"its result file is refused: {error}", DETAIL_MAX), 0)


def _outcome_in(body: bytes) -> Outcome:
    told = msgspec.json.decode(body, type=dict[str, Any])
    result = msgspec.convert(told, _Result)
    outcome = Outcome(
        "completed",
        exit_code=0,
        summary=bounded(result.summary, SUMMARY_MAX),
        changed=result.changed,
        usage=result.usage,
    )
    others = {name: value for name, value in told.items() if name not in _Result.__struct_fields__}
    return with_value(outcome, others) if others else outcome


def _read(path: Path, limit: int, *, end: bool = False) -> bytes:
    """The beginning or the end of a file, which the agent may have made something else that would never end.

    Raises:
        OSError: it cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path.name} is not a file")
        file.seek(max(0, found.st_size - limit) if end else 0)
        return file.read(limit)


def _last_words(output: Path) -> str:
    """The end of what it printed, in one line: the likeliest place of the cause."""
    try:
        lines = _read(output, LAST_WORDS_BYTES, end=True).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return "it printed nothing that can be read"
    return " / ".join(line.strip() for line in lines[-3:]) or "it printed nothing"
