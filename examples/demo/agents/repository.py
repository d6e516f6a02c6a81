"""The agent's clone of the origin: a branch and one commit per task, published by fast-forwarding main."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract import RetryLaterError, Task, child_environment, say

GIT_TIMEOUT_S = 30.0
COMMITS_SEARCHED = 1000


class Repository:
    """A clone in `root` on the branch `{agent}/{task id}`, and main in `base` to compare with.

    Every method raises RetryLaterError when git fails or takes over 30 s, say for an absent origin.
    """

    def __init__(self, workspace: Path, origin: str, task: Task) -> None:
        self.root = workspace / "work"
        self.base = workspace / "base"
        self.task = task
        self.branch = f"{task.agent}/{task.id}"
        self._origin = origin
        self._environment = child_environment(
            {
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_EDITOR": "true",
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_AUTHOR_NAME": task.agent,
                "GIT_AUTHOR_EMAIL": f"{task.agent}@agents.invalid",
                "GIT_COMMITTER_NAME": task.agent,
                "GIT_COMMITTER_EMAIL": f"{task.agent}@agents.invalid",
            }
        )

    def open(self) -> None:
        """Clones the origin; goes on from what an earlier attempt of this agent pushed, else from main."""
        for left_over in (self.root, self.base):
            shutil.rmtree(left_over, ignore_errors=True)
        self._must("clone", "--quiet", "--no-checkout", self._origin, str(self.root), cwd=self.root.parent)
        pushed = self._git("rev-parse", "--verify", "--quiet", f"origin/{self.branch}").returncode == 0
        start = f"origin/{self.branch}" if pushed else "origin/main"
        self._must("switch", "--quiet", "--no-track", "-C", self.branch, start)
        self._must("worktree", "add", "--quiet", "--detach", str(self.base), "origin/main")
        say(f"{self.branch} starts from {start}")

    def catch_up(self) -> bool:
        """Rebases the branch onto the newest main. False if it has no commit (left): a conflict drops it."""
        self._must("fetch", "--quiet", "origin")
        if self._git("rebase", "--quiet", "origin/main").returncode != 0:
            say("the rebase conflicts; the change is made again on the new main")
            self._git("rebase", "--abort")
            self._must("reset", "--quiet", "--hard", "origin/main")
        self._must("checkout", "--quiet", "--detach", "origin/main", cwd=self.base)
        return self._is_ahead()

    def commit_on_main(self) -> str:
        """The commit on main that this task has already led to; empty if there is none."""
        log = self._must(
            "log",
            f"--max-count={COMMITS_SEARCHED}",
            "--format=%H %(trailers:key=Task,valueonly,separator=%x2C)",
            "origin/main",
        )
        found = [line.partition(" ") for line in log.splitlines()]
        return next((commit for commit, _, tasks in found if self.task.id in tasks.split(",")), "")

    def commit(self, summary: str) -> str:
        """One commit ahead of main with everything that was changed; empty if nothing was."""
        self._must("add", "--all")
        staged = self._git("diff", "--cached", "--quiet").returncode != 0
        ahead = self._is_ahead()
        if staged:
            message = f"{self.task.title}\n\n{summary}\n\nTask: {self.task.id}\nAttempt: {self.task.attempt}"
            self._must("commit", "--quiet", *(["--amend"] if ahead else []), "-m", message)
        return self._must("rev-parse", "HEAD") if staged or ahead else ""

    def push_branch(self) -> None:
        """Makes the work safe. The branch is this agent's own: what an earlier attempt left is replaced."""
        self._must("push", "--quiet", "origin", f"+HEAD:refs/heads/{self.branch}")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for its turn to change main, as in a merge queue: nobody else's push gets ahead. Death gives it up."""
        with (Path(self._origin) / "merge.lock").open("w") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)
            yield

    def publish(self) -> bool:
        """Fast-forwards main to the branch; False if somebody else was quicker."""
        return self._git("push", "--quiet", "origin", "HEAD:refs/heads/main").returncode == 0

    def files_of(self, commit: str) -> tuple[str, ...]:
        """The files that a commit changed."""
        return tuple(self._must("show", "--name-only", "--format=", commit).splitlines())

    def subject_of(self, commit: str) -> str:
        """The first line of a commit's message."""
        return self._must("show", "--no-patch", "--format=%s", commit)

    def _is_ahead(self) -> bool:
        return self._must("rev-list", "--count", "origin/main..HEAD") != "0"

    def _must(self, *arguments: str, cwd: Path | None = None) -> str:
        done = self._git(*arguments, cwd=cwd)
        if done.returncode != 0:
            raise RetryLaterError(f"git {arguments[0]} failed: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    def _git(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", "-c", "gc.auto=0", *arguments],
                cwd=cwd or self.root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=GIT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RetryLaterError(f"git {arguments[0]} took longer than {GIT_TIMEOUT_S:.0f} s") from error
