"""Looks at what is committed, and puts a worktree back to it."""

from __future__ import annotations

from agentcom.git.answering import answering
from agentcom.git.clone import locked, opened
from agentcom.git.place import Place
from agentcom.git.worktree import attached, settled

FILE_BYTES = 1_048_576


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
