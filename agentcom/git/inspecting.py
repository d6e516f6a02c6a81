"""Looks at what is committed, and puts a worktree back to it."""

from __future__ import annotations

from pathlib import Path

from agentcom.git.answering import answering
from agentcom.git.clone import locked, opened
from agentcom.git.parsing import HEADS
from agentcom.git.place import Place
from agentcom.git.worktree import attached, settled

FILE_BYTES = 1_048_576


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
    """What a file holds in a commit, up to `FILE_BYTES`; None if it is not there."""
    git = await opened(place)
    ran = await git("cat-file", "blob", f"{sha}:{path}")
    return ran.out[:FILE_BYTES] if ran.ok else None


@answering
async def restore(place: Place, sha: str) -> None:
    """Put the worktree, in which nothing was uncommitted, back to this commit: what has come since is nobody's work."""
    git = await opened(place)
    async with locked(git.clone, place.repository.timeout_s):
        tree = await attached(git, sha)
        await settled(git, tree, sha)
