"""A real repository with a bare origin, and a runner that works on it as a sidecar would."""

from __future__ import annotations

import os
import subprocess
import textwrap
import time
from pathlib import Path
from typing import Any

import anyio
from msgspec import Raw

from agentcom.forge.base import Forge
from agentcom.forge.git import Git
from agentcom.forge.local import LocalForge
from agentcom.forge.origin import Origin
from agentcom.ids import new_id, nonce
from agentcom.model.codec import encode
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome, TaskSpec
from agentcom.settings import AgentSettings, Policy
from agentcom.sidecar.runners.base import Job
from agentcom.sidecar.runners.command import CommandRunner
from tests.sidecar.bench import Heard

POLICY = Policy(grace_s=0.5, git_s=30.0, check_s=20.0, max_returns=2, publish_s=5.0, disk_free_bytes=0)

IDENTITY = {
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.com",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder, as a person would call it."""
    ran = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | IDENTITY, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


class Workbench:
    """An origin with a few files, the checkout of a person, and agents that work on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = folder / "origin.git"
        self.person = folder / "person"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.origin)], check=True)
        subprocess.run(["git", "clone", "-q", str(self.origin), str(self.person)], check=True, capture_output=True)
        self.commit(
            {"README.md": "hello\n", "agentcom.toml": '[checks]\ncommands = ["sh check.sh"]\n', "check.sh": "true\n"}
        )
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
        (folder / "home").mkdir()
        self.task = new_id(int(time.time() * 1000), os.urandom)
        self.heard = Heard()
        self.phases: list[str] = []
        self.reached: list[Outcome] = []
        self.generation = 0

    def commit(self, files: dict[str, str], message: str = "by a person") -> str:
        """A person changes the base; its new head."""
        for name, text in files.items():
            (self.person / name).write_text(text)
        git(self.person, "add", "-A")
        git(self.person, "commit", "-q", "-m", message)
        git(self.person, "push", "-q", "origin", "HEAD:main")
        return git(self.person, "rev-parse", "HEAD")

    @property
    def branches(self) -> dict[str, str]:
        """What origin has."""
        lines = git(self.origin, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
        return dict(line.split(" ") for line in lines)

    @property
    def forge(self) -> LocalForge:
        return LocalForge(Origin(str(self.origin), Git(self.folder / "forge", self.environ)))

    def agent_folder(self, agent: str) -> Path:
        return self.folder / "machines" / agent / "agents" / agent

    def settings(self, script: str, **settings: Any) -> AgentSettings:
        """Those of an agent that is a shell script, and works on the repository."""
        named = {"command": ("bash", "-c", textwrap.dedent(script)), "repo": str(self.origin)}
        return AgentSettings(**named | settings)

    def runner(
        self, agent: str, script: str, *, policy: Policy = POLICY, forge: Forge | None = None, **settings: Any
    ) -> CommandRunner:
        """An agent that is a shell script. Each has a machine of its own."""
        folder = self.agent_folder(agent)
        folder.mkdir(parents=True, exist_ok=True)
        described = self.settings(script, **settings)
        return CommandRunner(agent, described, folder, self.environ, policy, forge=forge or self.forge)

    def job(self, spec: dict[str, Any] | None = None, **order: Any) -> Job:
        """The next attempt at the task. Its branch is named after oak, who was the first to get it."""
        self.generation += 1
        token = f"{self.generation}.{nonce(os.urandom)}"
        told = TaskSpec(**{"id": self.task, "text": "do it", "title": "A title"} | (spec or {}))
        fields = {"attempt": self.generation, "timeout_s": 60.0, "branch": f"oak/{self.task}"} | order
        assign = Assign(incarnation="sc", task=self.task, token=token, spec=Raw(encode(told)), **fields)
        heard = self.heard
        return Job(
            f"{self.generation}-0",
            told,
            self.generation,
            token,
            heard.alive,
            heard.spawned,
            heard.printed,
            reached=self.reached.append,
            order=assign,
            entered=self.phases.append,
        )

    async def run(self, agent: str, script: str, *, spec: dict[str, Any] | None = None, **settings: Any) -> Outcome:
        """One attempt by one agent."""
        order = settings.pop("order", {})
        with anyio.fail_after(60):
            return await self.runner(agent, script, **settings).run(self.job(spec, **order))
