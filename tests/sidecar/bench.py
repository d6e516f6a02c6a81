"""Runs commands as a sidecar would, and notes what is heard of them."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import anyio

from agentcom.model.task import Outcome, TaskSpec
from agentcom.processes import ProcessIdentity, identify
from agentcom.settings import AgentSettings, Policy
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.command import CommandRunner
from tests.patience import PATIENCE_S

ID = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
TOKEN = "1.0123456789abcdef"


class Heard:
    """What a runner told of one attempt, and when."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.output = b""
        self.process: ProcessIdentity | None = None
        self.alive_s = 0.0

    def alive(self) -> None:
        if "alive" not in self.events:
            self.alive_s = time.monotonic()
            self.events.append("alive")

    def spawned(self, process: ProcessIdentity) -> None:
        self.process = process
        self.events.append("spawned")

    def printed(self, body: bytes) -> None:
        self.output += body


class Bench:
    """Runs commands as a sidecar would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.heard = Heard()

    @property
    def workspace(self) -> Path:
        return self.folder / "workspaces" / ID

    def runner(self, *command: str, grace_s: float = 5.0, **settings: Any) -> CommandRunner:
        described = AgentSettings(command=command, **settings)
        return CommandRunner("oak", described, self.folder, self.environ, Policy(grace_s=grace_s))

    def job(self, text: str = "do it", token: str = TOKEN) -> Job:
        heard = self.heard
        spec = TaskSpec(id=ID, text=text, title="A title", context=("a.py",))
        return Job("1-0", spec, 2, token, heard.alive, heard.spawned, heard.printed)

    async def run(self, *command: str, text: str = "do it", **settings: Any) -> Outcome:
        with anyio.fail_after(PATIENCE_S):
            return await self.runner(*command, **settings).run(self.job(text))

    async def sh(self, script: str, **settings: Any) -> Outcome:
        return await self.run("sh", "-c", script, **settings)

    async def python(self, script: str, *arguments: str, **settings: Any) -> Outcome:
        return await self.run(sys.executable, "-c", textwrap.dedent(script), *arguments, **settings)


def gone(pid: int, within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while identify(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    return identify(pid) is None


def is_written(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("\n")


async def written(path: Path) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not is_written(path):
            await anyio.sleep(0.01)
