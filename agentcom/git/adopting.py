"""Brings together what an agent committed in its worktree, wherever it did that."""

from __future__ import annotations

from msgspec import Struct

from agentcom.git.clone import OURS
from agentcom.git.parsing import HEADS, made_here
from agentcom.git.rescue import save_commit
from agentcom.git.running import Git
from agentcom.git.worktree import Tree, holders, log_of

NOTHING_IN_COMMON = 1
"""Exit code of `git merge-base`; with others it says that it cannot tell."""


class Gathered(Struct, frozen=True):
    """What became of the commits.

    Attributes:
        head_sha: where the task's branch stands now; empty if there is none.
        astray: a rescue branch with commits that do not go on from the task's branch; empty if there are none.
        detail: for people.
    """

    head_sha: str
    astray: str = ""
    detail: str = ""


async def gathered(git: Git, tree: Tree, base_sha: str = "") -> Gathered:
    """Move the task's branch on to what was committed in the worktree on another branch, or on none, if that goes on
    from it; else keep it on a rescue branch.

    Only commits that were made in this worktree count: an agent may have looked at somebody else's.

    Args:
        git: of the place.
        tree: its worktree.
        base_sha: a branch that has no history in common with it becomes a rescue branch; empty: none does.

    Raises:
        Trouble: the clone is damaged.
    """
    branch = git.place.branch
    stands = await git.commit_of(HEADS + branch)
    if stands and base_sha and (await git("merge-base", base_sha, stands)).code == NOTHING_IN_COMMON:
        saved = await save_commit(git, stands)
        await git.must("update-ref", "-d", HEADS + branch, stands)
        return Gathered("", saved.branch, f"{branch} had no history in common with its base: kept on {saved.branch}")
    here = await git.commit_of("HEAD", gitdir=tree.gitdir) or await _last_made(git, tree)
    if (
        not here
        or here == stands
        or (stands and await git.contains(stands, here))
        or not await _is_own(git, tree, here)
    ):
        return Gathered(stands)
    return await _gathered_from(git, tree, here, stands)


async def _gathered_from(git: Git, tree: Tree, here: str, stands: str) -> Gathered:
    branch, where = git.place.branch, tree.branch or "no branch"
    holder = next(holders(git, tree.gitdir), None)
    goes_on = await git.contains(here, stands) if stands else await _is_task_branch_to_be(git, here)
    if holder is None and goes_on:
        await git.must("update-ref", HEADS + branch, here, stands)
        return Gathered(here, detail=f"commits on {where} were taken over to {branch}, which they go on from")
    saved = await save_commit(git, here)
    if holder is not None:
        return Gathered(
            stands, saved.branch, f"{branch} is at work in {holder[1]}: what was made here is on {saved.branch}"
        )
    return Gathered(stands, saved.branch, f"commits on {where} do not go on from {branch}: kept on {saved.branch}")


async def _last_made(git: Git, tree: Tree) -> str:
    """What was last committed here, for where the branch was deleted under HEAD; empty if `origin` has it."""
    for sha in reversed(made_in(tree)):
        if await git.commit_of(sha):
            return "" if await git.must("for-each-ref", "--count=1", "--contains", sha, OURS) else sha
    return ""


async def _is_own(git: Git, tree: Tree, sha: str) -> bool:
    """Whether a commit was made here: the worktree's log says so, or no branch has it."""
    return sha in made_in(tree) or not await git.must("for-each-ref", "--count=1", "--contains", sha)


async def _is_task_branch_to_be(git: Git, sha: str) -> bool:
    """Whether it goes on from where the branch stood on `origin`, where that has it."""
    origin = await git.commit_of(f"{OURS}{git.place.branch}")
    return not origin or await git.contains(sha, origin)


def made_in(tree: Tree) -> list[str]:
    """The commits that were made in a worktree, oldest first, as far as its log goes back."""
    return made_here(log_of(tree.gitdir))
