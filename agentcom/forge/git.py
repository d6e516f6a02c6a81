"""Calls of git, each with a time limit, none of which can ask for a password."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream
from msgspec import Struct

from agentcom.forge.base import ForgeTrouble
from agentcom.settings.rendering import mask_url
from agentcom.wording import one_line

TIMEOUT_S = 120.0
SAID_WIDTH = 400

OUTPUT_MAX_BYTES = 33_554_432

STEERED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
"""Would make git work on another repository than the one it is told."""

AUTHOR = {
    "GIT_AUTHOR_NAME": "AgentCom",
    "GIT_AUTHOR_EMAIL": "agentcom@localhost",
    "GIT_COMMITTER_NAME": "AgentCom",
    "GIT_COMMITTER_EMAIL": "agentcom@localhost",
}


class Ran(Struct, frozen=True):
    """What a call of git ended with."""

    code: int
    out: bytes
    err: bytes

    @property
    def said(self) -> str:
        """What it complained of, in one line without passwords; of where it pushed to, nothing."""
        lines = mask_url(self.err.decode(errors="replace")).splitlines()
        return one_line(" ".join(line for line in lines if not line.startswith("To ")), SAID_WIDTH)

    @property
    def text(self) -> str:
        """What it printed."""
        return self.out.decode(errors="replace").strip()


class Git:
    """Git on a bare repository of this machine, which holds what was fetched.

    Args:
        folder: of the repository; made when it is first needed.
        environ: that git runs in.
        timeout_s: limit of one call.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        self.folder = folder
        self._environ = _unattended(environ)
        self._timeout_s = timeout_s
        self._made = False

    async def run(self, *arguments: str, stdin: bytes = b"") -> Ran:
        """Run git, whatever it ends with.

        Raises:
            ForgeTrouble: it did not end in time, or is not there.
        """
        if not self._made:
            await self._ended("init", "--quiet", "--bare", "--", str(self.folder))
            self._made = True
        # Housekeeping in the background would outlive whoever called.
        return await self._ended(
            "-c",
            "gc.autoDetach=false",
            "-c",
            "maintenance.autoDetach=false",
            f"--git-dir={self.folder}",
            *arguments,
            stdin=stdin,
        )

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

    async def _ended(self, *arguments: str, stdin: bytes = b"") -> Ran:
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._communicate(["git", *arguments], stdin)
        except TimeoutError:
            raise ForgeTrouble("git did not come to an end in time") from None
        except OSError as error:
            raise ForgeTrouble(f"git cannot be started: {error}") from error

    async def _communicate(self, argv: list[str], stdin: bytes) -> Ran:
        """All that a process says. It leads a group, so that it can be ended with the helpers that it started."""
        async with await anyio.open_process(argv, env=self._environ, start_new_session=True) as process:
            out, err = bytearray(), bytearray()
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(_collect, process.stdout, out)
                    group.start_soon(_collect, process.stderr, err)
                    with suppress(anyio.BrokenResourceError):
                        await process.stdin.send(stdin)
                    await process.stdin.aclose()
                    code = await process.wait()
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
            if max(len(out), len(err)) >= OUTPUT_MAX_BYTES:
                raise ForgeTrouble("git printed too much")
            return Ran(code, bytes(out), bytes(err))


async def _collect(stream: ByteReceiveStream, into: bytearray) -> None:
    """Read to the end, and keep no more than the bound."""
    async for chunk in stream:
        into += chunk[: OUTPUT_MAX_BYTES - len(into)]


def _unattended(environ: Mapping[str, str]) -> dict[str, str]:
    """Nobody is there to type a password, and a helper that asks in a window would hang."""
    defaults = {"GIT_SSH_COMMAND": "ssh", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
    inherited = defaults | {name: value for name, value in environ.items() if name not in STEERED}
    ssh = f"{inherited['GIT_SSH_COMMAND']} -o BatchMode=yes"
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "GIT_SSH_COMMAND": ssh, "LC_ALL": "C"}
    return inherited | AUTHOR | quiet
