"""Makes a task's worktree ready before its agent wakes: verified against `origin`, and on from what was done before."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from agentcom.git.adopting import gathered
from agentcom.git.answering import answering
from agentcom.git.clone import OURS, locked, opened, sound
from agentcom.git.guarding import disarm
from agentcom.git.merging import merge
from agentcom.git.parsing import HEADS
from agentcom.git.place import GitProblem, Place, Started
from agentcom.git.remote import Seen, fetched
from agentcom.git.rescue import Saved, leftovers, save_commit, save_files, send
from agentcom.git.running import Git
from agentcom.git.starting import Beginning, Known, Relation, beginning
from agentcom.git.worktree import Tree, attached, give_way, on_branch, reborn, settled


@answering
async def start(place: Place, *, keep: bool = False) -> Started | GitProblem:
    """Make the worktree ready on the task's branch.

    It goes on from what `origin` has of the branch, else from what this clone has of it, else from another branch on
    `origin` that ends in the task's id, else from the base. Where the base has moved on since, it is merged in, if git
    can do that without conflicts: a merge and no rebase, since a rebased branch could only be pushed by force.

    What an earlier attempt left uncommitted in the worktree is saved on a rescue branch first.

    Args:
        place: where.
        keep: leave uncommitted files as they are, for the same agent to go on with, if the branch need not move.
    """
    disarm(place)
    git = await opened(place)
    return await sound(git, lambda: _start(git, keep))


class Ready(Struct, frozen=True):
    """What came of what there was.

    Attributes:
        tree: the worktree.
        begun: what the branch goes on from.
        head_sha: where it stands, with the base in it.
        conflicts: files that keep the base out of it.
        kept: the files stay as they are.
        rescues: branches that `origin` is to have as well.
        notes: for people.
    """

    tree: Tree
    begun: Beginning
    head_sha: str
    conflicts: tuple[str, ...]
    kept: bool
    rescues: tuple[str, ...]
    notes: tuple[str, ...]


async def _start(git: Git, keep: bool) -> Started:
    seen = await fetched(git)
    async with locked(git.clone, git.place.repository.timeout_s):
        ready = await _made_ready(git, seen, keep)
    for branch in ready.rescues:
        await send(git, branch)
    if not ready.kept:
        await settled(git, ready.tree, ready.head_sha)
    return Started(
        base=seen.base,
        base_sha=seen.base_sha,
        head_sha=ready.head_sha,
        resumed=ready.begun.resumed,
        origin_sha=seen.origin_sha,
        conflicts=ready.conflicts,
        detail="; ".join(note for note in ready.notes if note),
    )


async def _made_ready(git: Git, seen: Seen, keep: bool) -> Ready:
    """The worktree is on the branch, and what has to give way is saved in the clone; no file is touched yet."""
    tree = await attached(git, seen.base_sha)
    await give_way(git, tree.gitdir)
    # An attempt whose sidecar died may have left commits on another branch.
    found = await gathered(git, tree, seen.base_sha)
    begun = await _beginning(git, seen)
    here = await git.commit_of("HEAD", gitdir=tree.gitdir)
    if not here:
        here = begun.head_sha
        await reborn(git, tree, here)
    left = await leftovers(git, tree) if tree.had_files else None
    kept = keep and left is not None and here == begun.head_sha
    head_sha, unmerged = (here, ()) if kept else await _with_base(git, begun.head_sha, seen)
    behind = kept and not await git.contains(here, seen.base_sha)
    saved = await save_files(git, tree, left, here) if left is not None and not kept else Saved()
    rescued = (await save_commit(git, begun.rescued)).branch if begun.rescued else ""
    await on_branch(git, tree, head_sha)
    return Ready(
        tree,
        begun,
        head_sha,
        unmerged,
        kept,
        rescues=tuple(branch for branch in (found.astray, saved.branch, rescued) if branch),
        notes=(
            tree.repaired,
            found.detail,
            begun.detail,
            f"what there was is kept on {rescued}" if rescued else "",
            f"{left.words}: saved on {saved.branch}" if left is not None and saved.branch else "",
            saved.left_out,
            f"{seen.base} has moved on: merge origin/{seen.base}" if behind else "",
        ),
    )


async def _beginning(git: Git, seen: Seen) -> Beginning:
    local = await git.commit_of(HEADS + git.place.branch)
    known = Known(
        base_sha=seen.base_sha,
        origin_sha=seen.origin_sha,
        local_sha=local,
        relation=await _relation(git, local, seen.origin_sha),
        local_is_base=bool(local) and await git.contains(seen.base_sha, local),
    )
    if seen.others and not seen.origin_sha:
        other = await _latest(git, seen.others)
        known = replace(known, other=other, other_sha=seen.others[other])
    return beginning(known, git.place.branch)


async def _relation(git: Git, local: str, origin: str) -> Relation:
    if not local or not origin or local == origin:
        return "same"
    if await git.contains(local, origin):
        return "ahead"
    return "behind" if await git.contains(origin, local) else "apart"


async def _latest(git: Git, others: Mapping[str, str]) -> str:
    """Of several branches, the one that was last committed to."""
    refs = [OURS + name for name in others]
    listed = await git.must("for-each-ref", "--sort=-committerdate", "--format=%(refname)", *refs)
    return listed.splitlines()[0].removeprefix(OURS)


async def _with_base(git: Git, head_sha: str, seen: Seen) -> tuple[str, tuple[str, ...]]:
    """The branch's head with the base in it, and the files for which that takes the agent.

    Raises:
        Trouble: the two have nothing in common.
    """
    if await git.contains(head_sha, seen.base_sha):
        return head_sha, ()
    if await git.contains(seen.base_sha, head_sha):
        return seen.base_sha, ()
    merged = await merge(git, head_sha, seen.base_sha)
    if merged.conflicts:
        return head_sha, merged.conflicts
    message = f"Merge {seen.base} into {git.place.branch}\n".encode()
    parents = ["-p", head_sha, "-p", seen.base_sha]
    return await git.must("commit-tree", merged.tree, *parents, stdin=message, environ=git.authoring), ()
