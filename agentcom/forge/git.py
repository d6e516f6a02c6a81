"""Git on a bare repository of this machine, for the forge's own use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
from msgspec import Struct

from agentcom.forge.base import ForgeTrouble
from agentcom.git.environment import identity_environ, overruling, quiet_environ
from agentcom.git.running import Trouble, run
from agentcom.settings.rendering import mask_url
from agentcom.wording import one_line

TIMEOUT_S = 120.0
SAID_WIDTH = 400
AUTHOR = "AgentCom"

# Nobody else looks after this repository; and housekeeping in the background would outlive whoever called.
HOUSEKEEPING = ("gc.auto=6700", "maintenance.auto=true", "gc.autoDetach=false", "maintenance.autoDetach=false")
TIDIED = tuple(word for setting in HOUSEKEEPING for word in ("-c", setting))


class Ran(Struct, frozen=True):
    """What a call of git ended with: its exit code, what it printed, and in one line what it complained of."""

    code: int
    out: bytes
    said: str

    @property
    def text(self) -> str:
        """What it printed."""
        return self.out.decode(errors="replace").strip()


class Git:
    """Git on a bare repository.

    Args:
        folder: of the repository; made when it is first needed.
        environ: that git runs in.
        timeout_s: limit of one call.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        self.folder = folder
        self._environ = dict(environ)
        self._quiet: dict[str, str] = {}
        self._making = anyio.Lock()
        self._timeout_s = timeout_s

    async def run(self, *arguments: str, stdin: bytes = b"") -> Ran:
        """Run git, whatever it ends with.

        Raises:
            ForgeTrouble: it did not end in time, printed too much, or is not there; or the repository cannot be made.
        """
        async with self._making:
            if not self._quiet:
                self._quiet = await self._make()
        return await self._ended(
            self._quiet, *overruling(), *TIDIED, f"--git-dir={self.folder}", *arguments, stdin=stdin
        )

    async def _make(self) -> dict[str, str]:
        """Make the repository, if there is none yet; the environment in which git is to run in it."""
        ssh = await self._ended(self._environ, "config", "--get", "core.sshCommand")
        quiet = quiet_environ(self._environ, ssh.text) | identity_environ(AUTHOR)
        made = await self._ended(quiet, "init", "--quiet", "--bare", "--", str(self.folder))
        if made.code != 0:
            raise ForgeTrouble(f"git init failed: {made.said}")
        return quiet

    async def checked(self, *arguments: str, stdin: bytes = b"") -> Ran:
        """Run git, which must succeed.

        Raises:
            ForgeTrouble: it failed.
        """
        ran = await self.run(*arguments, stdin=stdin)
        if ran.code != 0:
            raise ForgeTrouble(f"git {arguments[0]} failed: {ran.said}")
        return ran

    async def read(self, *arguments: str, stdin: bytes = b"") -> str:
        """What git prints, as text.

        Raises:
            ForgeTrouble: it failed.
        """
        return (await self.checked(*arguments, stdin=stdin)).text

    async def _ended(self, environ: Mapping[str, str], *arguments: str, stdin: bytes = b"") -> Ran:
        try:
            ran = await run(["git", *arguments], environ, Path(), self._timeout_s, stdin)
        except Trouble as trouble:
            raise ForgeTrouble(trouble.problem.detail) from trouble
        if ran.late or ran.cut:
            raise ForgeTrouble(ran.why)
        # Of where it pushed to, and of what it advises, nothing: the one is known, and both are long.
        lines = [line for line in mask_url(ran.said).splitlines() if not line.startswith(("To ", "hint:"))]
        return Ran(ran.code, ran.out, one_line(" ".join(lines), SAID_WIDTH))
