"""A process that a keeper started for an attempt: it outlives its sidecar, and a later start of that finds it again.

How it ended is what its keeper wrote down; that it runs is seen by its pid and start time, never by its pid alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import anyio
from msgspec import Struct

from agentcom.ending import end_orphan, end_tree, find_leader
from agentcom.processes import ProcessIdentity, identify, is_running
from agentcom.sidecar.runners import keeper
from agentcom.sidecar.runners.files import AttemptFiles, Ended

POLL_S = 0.1
STRANGER_POLL_S = 0.1 if sys.platform == "linux" else 1.0
"""To see whether what is no child of ours still runs takes a program of its own where there is no /proc."""

KEEPER = (sys.executable, "-I", "-S", keeper.__file__)
"""A bare interpreter starts in a third of the time, and the agent's environment means nothing to it."""


class Follower(Protocol):
    """Reads what a process prints, while it does."""

    enough: bool
    """It has said all that it had to say, or more than it may: it is to be ended, should it still run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def follow(self, wait_s: float) -> None:
        """Read a piece of what is there; where nothing is, wait for a while."""
        ...

    async def finish(self) -> None:
        """Read what is there by now."""
        ...


class NotStarted(Struct, frozen=True):
    """There was no process: `unfit` where this machine is to blame, else the command is."""

    why: str
    unfit: bool = False


class Vanished(Struct, frozen=True):
    """The process of an earlier start is gone, and nobody saw how it ended; `begun` is false if it never was."""

    begun: bool


class Kept:
    """One process of an attempt.

    Args:
        files: the attempt's, of this turn.
        grace_s: from asking its process tree to end until killing it.
        spawned: is told of the process, before it can show life.
        ended_by: called when the process was made to end and its keeper wrote down how it did; with whether it had
            ended by itself before.
    """

    def __init__(
        self,
        files: AttemptFiles,
        grace_s: float,
        spawned: Callable[[ProcessIdentity], None],
        ended_by: Callable[[Ended, bool], None],
    ) -> None:
        self._files = files
        self._grace_s = grace_s
        self._spawned = spawned
        self._ended_by = ended_by

    async def run(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        cwd: Path,
        follower: Follower,
        *,
        stdin: bool = True,
        errors_apart: bool = False,
    ) -> Ended | NotStarted:
        """Run it to its end; what it leaves behind of its process tree is ended too, also when this is cancelled.

        Args:
            argv, environ, cwd: of the process.
            follower: reads what it prints.
            stdin: it is told the prompt there; else there is nothing.
            errors_apart: what it prints to stderr is no part of what the follower reads.
        """
        files = self._files
        try:
            process = self._spawn(argv, environ, cwd, stdin, errors_apart)
        except (OSError, ValueError) as error:
            return NotStarted(f"the command cannot be started: {error}")
        try:
            identity = identify(process.pid)
            if identity is not None:
                self._spawned(identity)
            with follower:
                while process.poll() is None and not follower.enough:
                    await follower.follow(POLL_S)
                await follower.finish()
        finally:
            await self._end(end_tree(process, files.mark, self._grace_s))
        if not files.begun and files.output.exists():
            return NotStarted(f"the command was not started: {files.last_words()}", unfit=True)
        code = process.poll()
        return files.ended or Ended(-signal.SIGKILL if code is None else code)

    async def adopt(self, process: ProcessIdentity | None, follower: Follower) -> Ended | Vanished:
        """Go on with one that an earlier start of the sidecar began; without a process none was noted."""
        files = self._files
        leader = process
        try:
            if process is None and files.ended is None:
                leader = await find_leader(files.mark, files.keeper)
                if leader is not None:
                    self._spawned(leader)
            with follower:
                while leader is not None and is_running(leader) and not follower.enough:
                    await follower.follow(STRANGER_POLL_S)
                await follower.finish()
        finally:
            await self._end(end_orphan(leader, files.mark, self._grace_s))
        return files.ended or Vanished(leader is not None or files.begun)

    async def _end(self, end: Awaitable[None]) -> None:
        by_itself = self._files.ended is not None
        with anyio.CancelScope(shield=True):
            await end
        ended = self._files.ended
        if ended is not None:
            self._ended_by(ended, by_itself)

    def _spawn(
        self, argv: Sequence[str], environ: Mapping[str, str], cwd: Path, stdin: bool, errors_apart: bool
    ) -> subprocess.Popen[bytes]:
        files = self._files
        told = files.prompt if stdin else Path(os.devnull)
        said = files.errors if errors_apart else files.output
        with told.open("rb") as prompt, files.output.open("wb") as output, said.open("ab") as errors:
            return subprocess.Popen(
                [*KEEPER, str(files.exit), *argv],
                stdin=prompt,
                stdout=output,
                stderr=errors if errors_apart else subprocess.STDOUT,
                cwd=cwd,
                env=dict(environ),
                start_new_session=True,
            )
