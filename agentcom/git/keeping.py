"""What becomes of a task's worktree and branch afterwards."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import anyio.to_thread

from agentcom.git.adopting import gathered
from agentcom.git.answering import answering
from agentcom.git.clone import OURS, PUSHED, locked, opened
from agentcom.git.guarding import disarm, hooks_of
from agentcom.git.merging import merge
from agentcom.git.parsing import HEADS
from agentcom.git.place import GitProblem, Place
from agentcom.git.remote import fetched
from agentcom.git.rescue import leftovers, save_files
from agentcom.git.running import UNFIT, Git, Trouble
from agentcom.git.worktree import OWN, attached, gitdir_of, make_writable

GC_OBJECTS = 20_000
"""From so many loose objects on, those that nothing needs any more are removed, and the others packed."""


@answering
async def merged(place: Place, head_sha: str = "") -> bool | GitProblem:
    """Whether the task's work is in the base on `origin` already: merged, rebased or squashed.

    Where it cannot be told from a branch without any work, the answer is no: to look at finished work again costs
    little, to pass over a task costs all of it.

    Args:
        place: where.
        head_sha: a commit of the task's that is known to be work, as from an earlier attempt's evidence.
    """
    git = await opened(place)
    seen = await fetched(git)
    if head_sha and await git.contains(seen.base_sha, head_sha):
        return True
    head = seen.origin_sha or await git.commit_of(HEADS + place.branch)
    if not head:
        return False
    if await git.contains(seen.base_sha, head):
        pushed = await git.commit_of(PUSHED + place.branch)
        return (bool(pushed) and await git.contains(head, pushed)) or not await _is_on_line_of(git, head, seen.base_sha)
    return await _is_squashed_into(git, head, seen.base_sha)


async def _is_on_line_of(git: Git, sha: str, base_sha: str) -> bool:
    """Whether the base itself once stood there, so that a branch at it may be one that was only begun."""
    # Of the base's own line, what the commit has not: the line comes from the commit, if the first of that does.
    since = (await git("rev-list", "--first-parent", base_sha, f"^{sha}")).text.split()
    return base_sha == sha or (bool(since) and await git.commit_of(f"{since[-1]}^1") == sha)


async def _is_squashed_into(git: Git, head: str, base_sha: str) -> bool:
    """Whether merging would change nothing, although the branch changes something."""
    fork = await git("merge-base", base_sha, head)
    if not fork.ok or (await git("diff", "--quiet", "--no-ext-diff", fork.text, head, "--")).ok:
        return False
    result = await merge(git, base_sha, head)
    return not result.conflicts and result.tree == await git.must("rev-parse", f"{base_sha}^{{tree}}")


@answering
async def drop(place: Place) -> GitProblem | None:
    """Remove the task's worktree. What was not committed, and commits that `origin` does not have, stay in the clone.

    None also where there was no worktree. A folder with files that the clone knows nothing of is left alone.
    """
    git = await opened(place)
    async with locked(git.clone, place.repository.timeout_s):
        if gitdir_of(git.clone, place.worktree) is None:
            if place.worktree.is_dir() and any(place.worktree.iterdir()):
                raise Trouble(UNFIT, f"{place.worktree} is no worktree of {git.clone}, and is left alone")
        else:
            await _remove(git)
        with suppress(OSError):
            place.worktree.rmdir()
    disarm(place)
    shutil.rmtree(hooks_of(place), ignore_errors=True)
    return None


async def _remove(git: Git) -> None:
    place = git.place
    stands = await git.commit_of(HEADS + place.branch)
    tree = await attached(git, stands)
    await gathered(git, tree)
    left = await leftovers(git, tree)
    here = await git.commit_of("HEAD", gitdir=tree.gitdir) or stands
    if left is not None and here:
        await save_files(git, tree, left, here)
    await anyio.to_thread.run_sync(_remove_files, place.worktree)
    shutil.rmtree(tree.gitdir)
    for own in place.worktree.parent.glob(f".{place.worktree.name}{OWN}*"):
        shutil.rmtree(own, ignore_errors=True)
    origin = await git.commit_of(OURS + place.branch)
    stands = await git.commit_of(HEADS + place.branch)
    if origin and stands and await git.contains(origin, stands):
        await git("update-ref", "-d", HEADS + place.branch, stands)
    await git("-c", f"gc.auto={GC_OBJECTS}", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet")


def _remove_files(folder: Path) -> None:
    """All of it.

    Raises:
        OSError: something cannot be removed.
    """
    make_writable(folder)
    shutil.rmtree(folder)
