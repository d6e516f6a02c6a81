"""Runs git: argv lists, no terminal, a time limit, bounded output, and all that it started ended with it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import anyio
from msgspec import Struct

from agentcom.ending import end_tree
from agentcom.git.environment import identity_environ, overruling, quiet_environ
from agentcom.git.place import GitProblem, Place
from agentcom.settings.rendering import mask_url
from agentcom.wording import clean

OUTPUT_BYTES = 16_777_216
"""A call that prints more is ended: an agent may have left millions of files to be listed."""

LAST_WORDS_BYTES = 4_000
POLL_FIRST_S = 0.001
POLL_LAST_S = 0.02

FETCH_FAILED = "git_fetch_failed"
PUSH_REFUSED = "push_refused"
STALE_BASE = "stale_base"
UNCOMMITTED = "uncommitted"
UNFIT = "unfit"
MISCONFIGURED = "misconfigured"


DETAIL_CHARACTERS = 2_000


def problem(reason: str, detail: str) -> GitProblem:
    """A problem in one line, without passwords and without what an origin may have put in to move a cursor."""
    return GitProblem(reason, mask_url(clean(" ".join(detail.split())))[:DETAIL_CHARACTERS])


class Trouble(Exception):
    """A step cannot be made, and so neither can those after it. The public functions answer with its problem.

    Args:
        reason, detail: of the problem.
        local: what is on this machine may be damaged.
        final: to try again at once would only take as long again.
    """

    def __init__(self, reason: str, detail: str, *, local: bool = False, final: bool = False) -> None:
        super().__init__(detail)
        self.problem = problem(reason, detail)
        self.local = local
        self.final = final


class Ran(Struct, frozen=True):
    """How a call of git ended.

    Attributes:
        code: exit code; minus the signal's number.
        out: what it printed, up to the limit.
        said: the end of what it printed to stderr.
        late: it was ended for its time limit.
        cut: it was ended as it printed too much.
    """

    code: int
    out: bytes
    said: str
    late: bool = False
    cut: bool = False

    @property
    def ok(self) -> bool:
        """It did what it was to do, and its output is whole."""
        return self.code == 0 and not self.late and not self.cut

    @property
    def text(self) -> str:
        """What it printed, as text, without white space around it."""
        return self.out.decode("utf-8", "surrogateescape").strip()

    @property
    def why(self) -> str:
        """In one line, why it did not do it."""
        if self.late:
            return "git did not come to an end in time"
        if self.cut:
            return "git printed too much"
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "!"))] or lines
        return " / ".join(telling[-3:]) or f"git ended with exit code {self.code}"


class Git:
    """Calls git for a place of work. Made by `clone.opened`.

    Args:
        place: that it is for.
        user: what the user's configuration says of identity and ssh: name, in lower case, to value.
    """

    def __init__(self, place: Place, user: Mapping[str, str]) -> None:
        self.place = place
        self.user = user
        self.clone = place.repository.clone
        self._environ = quiet_environ(place.repository.environ, user.get("core.sshcommand", ""))

    async def __call__(
        self,
        *arguments: str,
        gitdir: Path | None = None,
        worktree: Path | None = None,
        stdin: bytes = b"",
        environ: Mapping[str, str] | None = None,
    ) -> Ran:
        """One call.

        Args:
            arguments: the subcommand, and what follows it.
            gitdir: of a worktree; None: the clone itself.
            worktree: whose files it is about.
            stdin: what it reads.
            environ: more variables.

        Raises:
            Trouble: git cannot be started.
        """
        argv = ["git", *overruling(), f"--git-dir={gitdir or self.clone}"]
        argv += [f"--work-tree={worktree}"] if worktree is not None else []
        return await run(
            [*argv, *arguments],
            {**self._environ, **(environ or {})},
            worktree or Path("/"),
            self.place.repository.timeout_s,
            stdin,
        )

    async def must(
        self,
        *arguments: str,
        gitdir: Path | None = None,
        worktree: Path | None = None,
        stdin: bytes = b"",
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """What a local call printed.

        Raises:
            Trouble: it failed: something on this machine is damaged or full.
        """
        ran = await self(*arguments, gitdir=gitdir, worktree=worktree, stdin=stdin, environ=environ)
        if not ran.ok:
            raise Trouble(UNFIT, f"git {arguments[0]} failed: {ran.why}", local=not ran.late)
        return ran.text

    async def commit_of(self, name: str, *, gitdir: Path | None = None) -> str:
        """The sha of the commit that a name stands for; empty if there is none, or it is not there."""
        ran = await self("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", gitdir=gitdir)
        return ran.text if ran.ok else ""

    async def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether one commit has another in its history, or is it. False also where either is unknown."""
        return descendant == ancestor or (await self("merge-base", "--is-ancestor", ancestor, descendant)).ok

    @property
    def authoring(self) -> dict[str, str]:
        """The variables that make a commit the sidecar's own."""
        return identity_environ(self.place.author)


async def run(argv: Sequence[str], environ: Mapping[str, str], cwd: Path, timeout_s: float, stdin: bytes = b"") -> Ran:
    """Run a program to its end, or to its time limit.

    Its output goes through files that have no name: a process that outlives it can hold up nobody.

    Raises:
        Trouble: it cannot be started.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - it takes about a millisecond
                list(argv), stdin=given, stdout=out, stderr=said, cwd=cwd, env=dict(environ), start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise Trouble(UNFIT, f"{argv[0]} cannot be started: {error}") from error
        cut = late = True
        try:
            with anyio.move_on_after(timeout_s) as limit:
                cut = not await _ended(process, (out, said))
            late = limit.cancelled_caught
        finally:
            if process.poll() is None or late:
                with anyio.CancelScope(shield=True):
                    await end_tree(process, "", 0)
        return Ran(
            process.poll() or 0, _beginning(out, OUTPUT_BYTES), _end(said, LAST_WORDS_BYTES), late, cut and not late
        )


async def _ended(process: subprocess.Popen[bytes], outputs: Sequence[BinaryIO]) -> bool:
    """Wait for its end; False as soon as it has printed too much, also where it had ended before that was seen."""
    delay_s = POLL_FIRST_S
    while True:
        ended = process.poll() is not None
        if any(os.fstat(output.fileno()).st_size > OUTPUT_BYTES for output in outputs):
            return False
        if ended:
            return True
        await anyio.sleep(delay_s)
        delay_s = min(delay_s * 1.5, POLL_LAST_S)


def _beginning(file: BinaryIO, limit: int) -> bytes:
    file.seek(0)
    return file.read(limit)


def _end(file: BinaryIO, limit: int) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - limit))
    return file.read(limit).decode("utf-8", "replace")
