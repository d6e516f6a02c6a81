"""Runs the checks of a task: commands in its workspace, by somebody other than the agent."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import anyio

from agentcom.ending import MARK, end_tree
from agentcom.git.place import GitProblem
from agentcom.model.task import Check
from agentcom.sidecar.runners.base import bounded
from agentcom.sidecar.runners.files import read_file

POLL_S = 0.05
TAIL_BYTES = 4_000
OUTPUT_MAX_BYTES = 64 * 1_048_576
"""A check that prints more is ended: it has failed."""


async def leave(_: str) -> None:
    """What a check leaves behind stays."""


class Checker:
    """Runs checks one after the other.

    Args:
        by: the agent's name.
        environ: of the agent's processes; a check gets no more than that.
        limit_s: how long one may take.
        grace_s: from asking its process tree to end until killing it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        by: str,
        environ: Mapping[str, str],
        limit_s: float,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._by = by
        self._environ = dict(environ)
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._clock = clock

    async def run(
        self,
        commands: Sequence[str],
        workspace: Path,
        sha: str,
        mark: str,
        kept: Path,
        printed: Callable[[bytes], None],
        restore: Callable[[str], Awaitable[GitProblem | None]] = leave,
    ) -> list[Check] | GitProblem:
        """Run them all, also after one has failed: the agent is told of everything at once.

        Args:
            commands: lines, split as a shell would.
            workspace: where they run.
            sha: of the commit that is there; empty without a repository.
            mark: by which their processes are found, as those of the attempt.
            kept: folder for what they print.
            printed: is told of that too, for people.
            restore: brings the workspace back to the commit, after each of them: a check that changes files must not
                make the next one pass. A problem that it meets ends this.

        Raises:
            OSError: what they print cannot be kept.
        """
        _make_folder(kept)
        done: list[Check] = []
        for number, command in enumerate(commands, 1):
            printed(f"$ {command}\n".encode("utf-8", "backslashreplace"))
            check = await self._check(command, workspace, sha, mark, kept / f"{number}.log")
            done.append(check)
            if check.tail:
                printed(check.tail.encode("utf-8", "backslashreplace") + b"\n")
            unlike = await restore(sha)
            if unlike is not None:
                return unlike
        return done

    async def _check(self, command: str, workspace: Path, sha: str, mark: str, output: Path) -> Check:
        began_s = self._clock()
        with output.open("wb") as file:
            try:
                process = subprocess.Popen(  # noqa: ASYNC220 - it takes about a millisecond
                    shlex.split(command),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=workspace,
                    env={**self._environ, MARK: mark},
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                return Check(command, self._by, sha, passed=False, exit_code=127, tail=f"it cannot be started: {error}")
        code: int | None = None
        try:
            with anyio.move_on_after(self._limit_s):
                while (code := process.poll()) is None and _size_of(output) <= OUTPUT_MAX_BYTES:
                    await anyio.sleep(POLL_S)
        finally:
            with anyio.CancelScope(shield=True):
                await end_tree(process, mark, self._grace_s)
        seconds = round(self._clock() - began_s, 3)
        return Check(command, self._by, sha, code == 0, code, seconds, _tail_of(output))


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _size_of(output: Path) -> int:
    return output.stat().st_size


def _tail_of(output: Path) -> str:
    try:
        found = read_file(output, TAIL_BYTES, end=True)
    except OSError:
        return ""
    return bounded(found.decode("utf-8", "replace").replace("\0", "�").rstrip(), TAIL_BYTES)
