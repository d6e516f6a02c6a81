"""A running program: started out of reach of the terminal's Ctrl-C, its output passed on line by line."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import anyio
from anyio.abc import ByteReceiveStream, Process

from agentcom.processes import ProcessIdentity, identify
from agentcom.supervisor.programs import Program

LINE_MAX_BYTES = 16_384
OUTPUT_PATIENCE_S = 1.0
"""For how long after its end a program's output is waited for: what it left running may hold the pipe open."""

Say = Callable[[str, str], None]
"""Told a program's name and one line about or from it."""


class Child:
    """A program that was started. `identity` is None when it ended before it could be recognised."""

    def __init__(self, program: Program, process: Process) -> None:
        self.program = program
        self.identity: ProcessIdentity | None = identify(process.pid)
        self.ended = anyio.Event()
        self._process = process

    @classmethod
    async def start(cls, program: Program) -> Self:
        """Start it in a session of its own, so that only its supervisor is reached by the terminal's signals.

        Raises:
            OSError: it cannot be started.
        """
        process = await anyio.open_process(
            program.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(program.environ),
            start_new_session=True,
        )
        return cls(program, process)

    async def follow(self, say: Say) -> int:
        """Pass its output on until it ended; its exit code, negative for a signal."""
        async with anyio.create_task_group() as group:
            assert self._process.stdout is not None
            group.start_soon(_pass_on, self._process.stdout, self.program.name, say)
            code = await self._process.wait()
            self.ended.set()
            group.cancel_scope.deadline = anyio.current_time() + OUTPUT_PATIENCE_S
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without asking."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


async def _pass_on(stream: ByteReceiveStream, name: str, say: Say) -> None:
    rest = b""
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        while True:
            *lines, rest = (rest + await stream.receive()).split(b"\n")
            if len(rest) > LINE_MAX_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                say(name, line.decode("utf-8", "replace"))
    if rest:
        say(name, rest.decode("utf-8", "replace"))
