"""Looks at what an agent did, when it is done: evidence, and whether it kept the rules."""

from __future__ import annotations

from msgspec import Struct

from agentcom.git.adopting import Gathered, gathered, made_in
from agentcom.git.answering import answering
from agentcom.git.clone import locked, opened, ready, sound
from agentcom.git.parsing import HEADS, Changes, changes
from agentcom.git.place import Finished, GitProblem, Place, Started
from agentcom.git.remote import Seen, fetched
from agentcom.git.rescue import Saved, leftovers, save_commit, save_files, send
from agentcom.git.running import FETCH_FAILED, PUSH_REFUSED, UNCOMMITTED, Git, Trouble, problem
from agentcom.git.worktree import Tree, attached, holders
from agentcom.model.task import Evidence


@answering
async def finish(place: Place, started: Started, *, save: bool = True) -> Finished | GitProblem:
    """What git says of the work. The worktree's files, index and HEAD stay as they are, so that the agent can be sent
    on in it; to ask again changes nothing.

    Commits that the agent made on another branch, and that go on from the task's, are taken over. What is not
    committed goes to a rescue branch, and so do commits that go on from elsewhere; either is `uncommitted`. That the
    agent pushed to the base itself is `push_refused`, and so is an attempt whose task has gone to another worktree.

    Args:
        place: where.
        started: what `start` answered.
        save: what is not committed goes to a rescue branch; else it is only named, for an agent that is sent on.
    """
    git = await opened(place)
    return await sound(git, lambda: _finish(git, started, save))


class Loose(Struct, frozen=True):
    """What was not committed.

    Attributes:
        words: for people; empty if all was.
        saved: where it is now.
    """

    words: str = ""
    saved: Saved = Saved()


async def _finish(git: Git, started: Started, save: bool) -> Finished:
    seen = await _seen(git)
    branch_ref = HEADS + git.place.branch
    async with locked(git.clone, git.place.repository.timeout_s):
        await ready(git, "sha256" if len(started.base_sha) == 64 else "sha1")
        known = await _known(git, started)
        tree = await attached(git, known)
        found = await gathered(git, tree, started.base_sha)
        if not found.head_sha:
            await git.must("update-ref", branch_ref, known)
        head_sha = found.head_sha or known
        loose = await _loose(git, tree, head_sha, save)
        lost = await _lost(git, started, seen)
        taken_by = next((str(files) for _, files in holders(git, tree.gitdir)), "")
    if seen is not None:
        for branch in sorted({loose.saved.branch, found.astray, lost} - {""}):
            await send(git, branch)
    if taken_by:
        kept = ", ".join(filter(None, (found.astray, loose.saved.branch))) or "nothing, as there was nothing"
        raise Trouble(PUSH_REFUSED, f"the task went to {taken_by}, and is not this attempt's; kept of it: {kept}")
    origin_sha = seen.origin_sha if seen is not None else started.origin_sha
    meddled = await _is_on_base(git, tree, started, seen)
    return Finished(
        evidence=await _evidence(
            git,
            head_sha,
            started,
            base_sha=started.base_sha if seen is None or meddled else seen.base_sha,
            pushed=head_sha == origin_sha,
            rescue=loose.saved.branch or found.astray or lost,
        ),
        problem=_problem(found, loose, lost, started.base if meddled else ""),
        origin_sha=origin_sha,
        detail="; ".join(note for note in (tree.repaired, found.detail, loose.saved.left_out) if note),
    )


async def _seen(git: Git) -> Seen | None:
    """What `origin` has now. That it cannot be reached is no reason to leave the work unlooked at."""
    try:
        return await fetched(git)
    except Trouble as trouble:
        if trouble.problem.reason != FETCH_FAILED:
            raise
        return None


async def _known(git: Git, started: Started) -> str:
    """Where the branch stood at the start, as far as the clone still knows it."""
    for sha in (started.head_sha, started.origin_sha, started.base_sha):
        if sha and await git.commit_of(sha):
            return sha
    raise Trouble(
        FETCH_FAILED, f"the clone has lost the task's work, and {started.base}, and origin is away", local=True
    )


async def _loose(git: Git, tree: Tree, head_sha: str, save: bool) -> Loose:
    left = await leftovers(git, tree)
    words = [left.words] if left is not None else []
    words += [f"{tree.under_way} is under way"] if tree.under_way else []
    if left is None or not save:
        return Loose("; ".join(words))
    parent = await git.commit_of("HEAD", gitdir=tree.gitdir) or head_sha
    return Loose("; ".join(words), await save_files(git, tree, left, parent))


async def _is_on_base(git: Git, tree: Tree, started: Started, seen: Seen | None) -> bool:
    """Whether the base has, as its own, commits that were made in this worktree since the start. What came there
    through a review has a merge in between, or is another commit."""
    if seen is None or seen.base_sha == started.base_sha:
        return False
    made = set(made_in(tree))
    ran = await git("rev-list", "--first-parent", seen.base_sha, f"^{started.base_sha}", f"^{started.head_sha}")
    return not made.isdisjoint(ran.text.split())


async def _lost(git: Git, started: Started, seen: Seen | None) -> str:
    """A rescue branch with what `origin` had of the task's branch at the start, if it was forced away there since."""
    if not started.origin_sha or seen is None or not seen.origin_sha:
        return ""
    if await git.contains(seen.origin_sha, started.origin_sha) or not await git.commit_of(started.origin_sha):
        return ""
    return (await save_commit(git, started.origin_sha)).branch


def _problem(found: Gathered, loose: Loose, lost: str, meddled: str) -> GitProblem | None:
    if meddled:
        return problem(PUSH_REFUSED, f"commits of this attempt were pushed to {meddled} itself, past any review")
    if lost:
        return problem(PUSH_REFUSED, f"commits on origin's task branch were forced away: kept on {lost}; merge it")
    if loose.words:
        saved = f"; saved on {loose.saved.branch}" if loose.saved.branch else ""
        return problem(UNCOMMITTED, f"{loose.words}{saved}")
    if found.astray:
        return problem(UNCOMMITTED, found.detail)
    return None


async def _evidence(git: Git, head_sha: str, started: Started, *, base_sha: str, pushed: bool, rescue: str) -> Evidence:
    if not await git.contains(head_sha, base_sha):
        base_sha = started.base_sha
    counted = await git("rev-list", "--count", f"{base_sha}..{head_sha}")
    # Against where the two parted, so that what the base got meanwhile does not count as taken away.
    options = ["--shortstat", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none"]
    compared = await git("diff", *options, f"{base_sha}...{head_sha}", "--")
    sum_ = changes(compared.text) if compared.ok else Changes()
    return Evidence(
        branch=git.place.branch,
        base=started.base,
        base_sha=base_sha,
        head_sha=head_sha,
        commits=int(counted.text) if counted.ok else 0,
        files=sum_.files,
        insertions=sum_.insertions,
        deletions=sum_.deletions,
        pushed=pushed,
        rescue=rescue,
    )
