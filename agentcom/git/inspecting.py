"""Looks at what is committed, and puts a worktree back to it."""

from __future__ import annotations

from pathlib import Path

from agentcom.git.answering import answering
from agentcom.git.clone import locked, opened
from agentcom.git.parsing import HEADS
from agentcom.git.place import Place
from agentcom.git.running import UNFIT, Trouble
from agentcom.git.worktree import attached, gitdir_of, holders, on_branch, settled

FILE_BYTES = 1_048_576

WRITTEN_BY_COMMITS = ("objects", "refs/heads", "logs")
"""What of a clone is written to when a commit is made in a worktree of it, besides `worktrees/NAME`; neither its
configuration nor its hooks are."""


def written_by_commits(place: Place) -> tuple[Path, ...]:
    """The folders outside of the worktree that are written to when a commit is made in it; all are there."""
    clone = place.repository.clone
    own = gitdir_of(clone, place.worktree)
    folders = [clone / part for part in WRITTEN_BY_COMMITS]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return (*folders, own) if own is not None else tuple(folders)


def branch_at(worktree: Path) -> str:
    """The branch that a worktree is on; empty if that cannot be told."""
    try:
        gitdir = (worktree / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (worktree / gitdir / "HEAD").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return head.removeprefix(f"ref: {HEADS}") if head.startswith(f"ref: {HEADS}") else ""


@answering
async def file_at(place: Place, sha: str, path: str) -> bytes | None:
    """What a file holds in a commit, up to `FILE_BYTES`; None if it is not there. That git cannot tell is a
    problem, and never an absence."""
    git = await opened(place)
    if not await git.must("ls-tree", "--full-tree", "-z", sha, "--", path):
        return None
    ran = await git("cat-file", "blob", f"{sha}:{path}")
    if not ran.ok:
        raise Trouble(UNFIT, f"{path} at {sha[:12]} cannot be read: {ran.why}", local=True)
    return ran.out[:FILE_BYTES]


@answering
async def restore(place: Place, sha: str) -> None:
    """Put the worktree, in which nothing was uncommitted, back to this commit on the task's branch: what has come since
    is nobody's work. A branch that another worktree has taken meanwhile is left to that."""
    git = await opened(place)
    async with locked(git.clone, place.repository.timeout_s):
        tree = await attached(git, sha)
        if not any(holders(git, tree.gitdir)):
            await on_branch(git, tree, sha)
        await settled(git, tree, sha)
