"""How a task's git side stands: looked at, and left as it is."""

from __future__ import annotations

from msgspec import Struct

from agentcom.git.answering import answering
from agentcom.git.clone import OURS, opened
from agentcom.git.guarding import armed
from agentcom.git.parsing import HEADS
from agentcom.git.place import GitProblem, Place
from agentcom.git.remote import look
from agentcom.git.rescue import leftovers
from agentcom.git.running import Git, Trouble
from agentcom.git.worktree import Tree, gitdir_of


class Standing(Struct, frozen=True):
    """What there is of a task.

    Attributes:
        branch: of the task.
        worktree: its folder; empty where there is none that the clone knows.
        on: the branch that the worktree is on; empty where it is on none.
        head_sha: where the branch stands here; empty where it is not here.
        commits: how many it has more than the base, as far as that was fetched.
        uncommitted: what of the worktree is not committed, for people; empty if all is.
        under_way: what git is in the middle of there.
        base, base_sha, origin_sha: the base, and where it and the branch stand on `origin`; empty where unknown.
        attempt: token of who may push; empty if nobody may.
        rescues: rescue branches in this clone.
        problem: why `origin` could not be asked.
    """

    branch: str
    worktree: str = ""
    on: str = ""
    head_sha: str = ""
    commits: int = 0
    uncommitted: str = ""
    under_way: str = ""
    base: str = ""
    base_sha: str = ""
    origin_sha: str = ""
    attempt: str = ""
    rescues: tuple[str, ...] = ()
    problem: GitProblem | None = None


@answering
async def status(place: Place) -> Standing | GitProblem:
    """How it stands now."""
    git = await opened(place)
    base = base_sha = origin_sha = ""
    problem = None
    try:
        seen = await look(git)
        base, base_sha, origin_sha = seen.base, seen.base_sha, seen.origin_sha
    except Trouble as trouble:
        problem = trouble.problem
    gitdir = gitdir_of(git.clone, place.worktree)
    tree = Tree(place.worktree, gitdir) if gitdir is not None and place.worktree.is_dir() else None
    left = await leftovers(git, tree) if tree is not None else None
    guard = armed(place)
    head_sha = await git.commit_of(HEADS + place.branch)
    return Standing(
        branch=place.branch,
        worktree=str(tree.files) if tree is not None else "",
        on=tree.branch if tree is not None else "",
        head_sha=head_sha,
        commits=await _commits(git, head_sha, base_sha or await git.commit_of(OURS + place.repository.base)),
        uncommitted=left.words if left is not None else "",
        under_way=tree.under_way if tree is not None else "",
        base=base,
        base_sha=base_sha,
        origin_sha=origin_sha,
        attempt=guard.token if guard is not None else "",
        rescues=await _rescues(git),
        problem=problem,
    )


async def _commits(git: Git, head_sha: str, base_sha: str) -> int:
    counted = await git("rev-list", "--count", head_sha, f"^{base_sha}")
    return int(counted.text) if head_sha and base_sha and counted.ok else 0


async def _rescues(git: Git) -> tuple[str, ...]:
    listed = await git("for-each-ref", "--format=%(refname)", f"{HEADS}rescue/{git.place.task}")
    return tuple(ref.removeprefix(HEADS) for ref in listed.text.splitlines()) if listed.ok else ()
