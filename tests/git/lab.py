"""A bare origin, machines with a clone each, and agents that do what agents do: all with real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from msgspec.structs import replace

from agentcom.git import ATTEMPT, Finished, Place, Repository, Started, arm, finish, push, start

TASK = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
BRANCH = f"oak/{TASK}"
TOKEN = "1-abcd"

Begun = tuple[Place, Started]


class Lab:
    """One origin, and whoever works on it.

    Attributes:
        root: the folder of the test.
        origin: a bare repository with a first commit on main.
        environ: in which the sidecar runs git. Nobody has an identity.
    """

    def __init__(self, root: Path, template: Path) -> None:
        self.root = root
        self.origin = root / "origin.git"
        shutil.copytree(template, self.origin, symlinks=True)
        home = root / "home"
        home.mkdir()
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}

    def place(
        self,
        agent: str = "oak",
        *,
        machine: str = "here",
        task: str = TASK,
        branch: str = "",
        url: str = "",
        base: str = "main",
        timeout_s: float = 60.0,
        **environ: str,
    ) -> Place:
        """Where an agent works on a task. The branch is the first agent's for all of them."""
        folder = self.root / machine
        repository = Repository(
            url=url or str(self.origin),
            base=base,
            clone=folder / "clones" / "project.git",
            environ=self.environ | environ,
            timeout_s=timeout_s,
        )
        return Place(
            repository=repository,
            task=task,
            branch=branch or f"oak/{task}",
            worktree=folder / agent / "workspaces" / task,
            guard=folder / agent / "guards" / f"{task}.json",
            author=agent,
        )

    def run(self, *arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """A call of git, as a person or an agent makes it."""
        return subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )

    def git(self, *arguments: str, cwd: Path, **environ: str) -> str:
        """A call of git that has to succeed; what it printed."""
        ran = self.run(*arguments, cwd=cwd, **environ)
        assert ran.returncode == 0, (arguments, ran.stderr)
        return ran.stdout.strip()

    def commit(self, cwd: Path, name: str = "work.txt", text: str = "work\n", message: str = "Work") -> str:
        """Write a file and commit it; the commit's sha."""
        (cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (cwd / name).write_text(text)
        self.git("add", "--", name, cwd=cwd)
        self.git("commit", "--quiet", "-m", message, cwd=cwd)
        return self.git("rev-parse", "HEAD", cwd=cwd)

    def sha(self, ref: str, *, cwd: Path | None = None) -> str:
        """Where a ref stands, on origin unless said otherwise; empty if it is not there."""
        return self.run("rev-parse", "--verify", "--quiet", ref, cwd=cwd or self.origin).stdout.strip()

    def branches(self) -> list[str]:
        """The branches on origin."""
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads", cwd=self.origin).splitlines()

    def shown(self, branch: str, name: str) -> str:
        """A file as it is on a branch of origin."""
        return self.git("show", f"{branch}:{name}", cwd=self.origin)

    def person(self) -> Path:
        """A person's own clone of origin, up to date, on main."""
        folder = self.root / "person"
        if not folder.exists():
            self.git("clone", "--quiet", str(self.origin), str(folder), cwd=self.root)
            self.git("config", "user.name", "Ann", cwd=folder)
            self.git("config", "user.email", "ann@example.invalid", cwd=folder)
        self.git("checkout", "--quiet", "main", cwd=folder)
        self.git("pull", "--quiet", "--ff-only", cwd=folder)
        return folder

    def main_moves(self, name: str = "news.txt", text: str = "news\n") -> str:
        """A person pushes a commit to main; its sha."""
        folder = self.person()
        sha = self.commit(folder, name, text, "News")
        self.git("push", "--quiet", "origin", "main", cwd=folder)
        return sha

    async def started(self, place: Place, token: str = TOKEN, *, keep: bool = False) -> Started:
        """A start that has to succeed, with the hook armed."""
        answer = await start(place, keep=keep)
        assert isinstance(answer, Started), answer
        arm(place, token, answer)
        return answer

    async def finished(self, place: Place, began: Started) -> Finished:
        """A finish that has to succeed."""
        answer = await finish(place, began)
        assert isinstance(answer, Finished), answer
        return answer

    async def attempt(self, place: Place, name: str = "work.txt", text: str = "work\n") -> Finished:
        """A whole attempt: one commit, pushed."""
        began = await self.started(place)
        self.commit(place.worktree, name, text)
        done = await self.finished(place, began)
        assert done.problem is None
        assert await push(place, done.evidence.head_sha, done.origin_sha) is None
        return done

    def agent_pushes(self, place: Place, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        """The agent's own push, from its worktree."""
        return self.run("push", *arguments, cwd=place.worktree, **{ATTEMPT: token})


def elsewhere(place: Place, url: str) -> Place:
    """The same place of a repository that has moved."""
    return replace(place, repository=replace(place.repository, url=url))
