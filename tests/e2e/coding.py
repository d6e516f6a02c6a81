"""A pool whose agent is a real coding agent, on a real repository, with a stand-in for its model on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from agentcom.client import Client
from agentcom.model.task import ReadRecord
from tests.patience import PATIENCE_S
from tests.standin import Model

PROGRAMS = Path(__file__).parents[2] / "build" / "agents" / "node_modules" / ".bin"
"""Where continuous integration installs coding agents from the npm registry."""

SETTINGS = """
[policy]
beat_s = 1
beat_offset_s = 0
sweep_s = 0.5
lease_s = 2
grace_s = 2
drain_s = 5
stale_beats = 10
agent_down_s = 60
max_returns = 2
disk_free_bytes = 0

[agents.oak]
adapter = "claude"
command = [{program!r}]
arguments = ["--dangerously-skip-permissions"]
model = {model!r}
repo = {origin!r}
forge = "local"
context_tokens = 200_000
skills = {{ python = 3 }}

[agents.oak.env]
{environ}
"""

CHECKS = """
[checks]
commands = ["sh check.sh"]
"""


def program_of(name: str) -> str:
    """A coding agent's program, on PATH or where continuous integration puts it; empty if there is none."""
    return shutil.which(name) or shutil.which(name, path=str(PROGRAMS)) or ""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
    ran = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


class CodingPool:
    """A scheduler and a sidecar, each a process, and the repository that their agent works on."""

    def __init__(self, root: Path, url: str, model: Model, claude: str) -> None:
        self.root = root
        self.url = url
        self.origin = root / "origin.git"
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self._make_origin()
        environ = model.environ_for("claude", root / "home")
        listed = "\n".join(f"{name} = {value!r}" for name, value in environ.items())
        text = SETTINGS.format(program=claude, model=model.model_for("claude"), origin=str(self.origin), environ=listed)
        (root / "agentcom.toml").write_text(text)

    def _make_origin(self) -> None:
        work = self.root / "person"
        git(self.root, "init", "-q", "--bare", "-b", "main", str(self.origin))
        git(self.root, "clone", "-q", str(self.origin), str(work))
        (work / "agentcom.toml").write_text(CHECKS)
        (work / "check.sh").write_text("grep -q right answer.txt || { echo 'answer.txt must say right'; exit 1; }\n")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "begin")
        git(work, "push", "-q", "origin", "HEAD:main")

    def start(self, name: str, *arguments: str) -> None:
        """Start a program of AgentCom, which prints into a file of its name."""
        environ = os.environ | {"AGENTCOM_REDIS": self.url, "AGENTCOM_DATA_DIR": str(self.root / "data")}
        with (self.root / f"{name}.log").open("ab") as output:
            self.programs[name] = subprocess.Popen(
                [sys.executable, "-m", "agentcom", "--config", str(self.root / "agentcom.toml"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
            )

    def kill(self, name: str) -> None:
        program = self.programs.pop(name)
        program.kill()
        program.wait()

    def stop(self) -> None:
        for program in self.programs.values():
            program.terminate()
        for program in self.programs.values():
            program.wait(30)

    async def ended(self, client: Client, task: str) -> ReadRecord:
        """The record of the task, when it ended."""
        record: ReadRecord = await until(lambda: self._ended(client, task), self.story)
        return record

    async def _ended(self, client: Client, task: str) -> ReadRecord | None:
        record = await client.record(task)
        return record if record is not None and record.ended_at else None

    def story(self) -> str:
        """What the programs printed, for people to see why a test failed."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3_000:]}" for path in self.root.glob("*.log"))

    @property
    def refs(self) -> dict[str, str]:
        """All that origin has, by full name."""
        lines = git(self.origin, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)


async def until(condition: Callable[[], Any], story: Callable[[], str]) -> Any:
    """Wait until this is true, and return what it is."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        found = await found if hasattr(found, "__await__") else found
        if found:
            return found
        await anyio.sleep(0.05)
    raise AssertionError(story())
