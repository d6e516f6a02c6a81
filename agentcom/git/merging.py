"""Merges without a worktree, to see whether two histories can be brought together."""

from __future__ import annotations

from msgspec import Struct

from agentcom.git.parsing import conflicts
from agentcom.git.running import STALE_BASE, Git, Trouble

CONFLICTS_EXIT = 1
SHOWN = 20


class Merged(Struct, frozen=True):
    """What a merge comes to: a tree, or the first files that git cannot merge."""

    tree: str
    conflicts: tuple[str, ...] = ()


async def merge(git: Git, ours: str, theirs: str) -> Merged:
    """What merging two commits comes to.

    Raises:
        Trouble: they have no history in common, or cannot be read.
    """
    ran = await git("merge-tree", "--write-tree", "--name-only", "-z", ours, theirs)
    told = ran.out.decode("utf-8", "replace")
    tree = told.partition("\0")[0]
    if ran.ok:
        return Merged(tree)
    if ran.code == CONFLICTS_EXIT and tree:
        return Merged(tree, conflicts(told)[:SHOWN] or ("some files",))
    raise Trouble(STALE_BASE, f"{ours} and {theirs} cannot be merged: {ran.why}", local=True)
