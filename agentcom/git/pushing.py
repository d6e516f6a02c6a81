"""Whether work may be published, and publishing it: only forward, and only over what was seen to be there."""

from __future__ import annotations

from agentcom.git.answering import answering
from agentcom.git.clone import OURS, PUSHED, locked, opened, origin_of, ready
from agentcom.git.guarding import rules
from agentcom.git.hook import history_refusal
from agentcom.git.merging import merge
from agentcom.git.parsing import HEADS, is_sha, refusals
from agentcom.git.place import GitProblem, Place, Started
from agentcom.git.remote import fetched, look, show_agents
from agentcom.git.running import PUSH_REFUSED, STALE_BASE, Git, Ran, Trouble, problem

TRIES = 2
"""A connection may break; a refusal is not asked for twice."""


@answering
async def publishable(place: Place, started: Started) -> GitProblem | None:
    """The hook's rules again, where no agent can skip them, against what `origin` has now; None if the branch may be
    pushed and reviewed.

    A base that has moved on is `stale_base` only if it conflicts with the work.
    """
    git = await opened(place)
    seen = await fetched(git)
    head_sha = await git.commit_of(HEADS + place.branch)
    if not head_sha:
        raise Trouble(PUSH_REFUSED, f"there is no branch {place.branch} here")
    guard = rules(place, started)
    needed = (seen.origin_sha, started.origin_sha, started.base_sha)
    lost = {sha for sha in needed if sha and not await git.contains(head_sha, sha)}
    # An agent that forced its way past the hook changed what origin has: what it had at the start counts, too.
    for was in (seen.origin_sha, started.origin_sha):
        if why := history_refusal(guard, head_sha, was, lambda _, sha: sha not in lost):
            return problem(PUSH_REFUSED if was in lost else STALE_BASE, why)
    merged = await merge(git, head_sha, seen.base_sha)
    if merged.conflicts:
        told = f"{seen.base} has moved on, and conflicts with {place.branch} in {', '.join(merged.conflicts)}"
        return problem(STALE_BASE, f"{told}: merge origin/{seen.base}")
    return None


@answering
async def push(place: Place, head_sha: str, expected: str) -> GitProblem | None:
    """Bring the task's branch on `origin` forward to a commit; None if it is there. To repeat it changes nothing.

    An attempt that was given up cannot overwrite what a newer one pushed: it would have to contain that.

    Args:
        place: where.
        head_sha: the commit.
        expected: where the branch on `origin` has to be now, as `Finished` says; empty: it must not be there.
    """
    git = await opened(place)
    if not is_sha(head_sha) or not await git.commit_of(head_sha):
        raise Trouble(PUSH_REFUSED, f"{head_sha!r} is no commit of this clone")
    ran: Ran | None = None
    for _ in range(TRIES):
        # Before each try and after the last: what was pushed may have arrived although its reply did not.
        if await _is_there(git, head_sha, expected):
            return None
        ran = await _push(git, head_sha, expected)
        if refusals(ran.text):
            break
    if await _is_there(git, head_sha, expected):
        return None
    why = (refusals(ran.text) or ran.why) if ran is not None else ""
    words = f"{why}: {ran.why}" if ran is not None and ran.why not in why else why
    return problem(PUSH_REFUSED, f"{place.repository.url} does not take {place.branch}: {words}")


async def _push(git: Git, head_sha: str, expected: str) -> Ran:
    ref = HEADS + git.place.branch
    # The lease makes it a comparison and a change in one; that it only goes forward was seen to before.
    options = ["--porcelain", "--no-verify", f"--force-with-lease={ref}:{expected}"]
    return await git("push", *options, "--", origin_of(git), f"{head_sha}:{ref}")


async def _is_there(git: Git, head_sha: str, expected: str) -> bool:
    """Whether `origin` has it already.

    Raises:
        Trouble: `origin` is away, or has something else than what was expected, or would lose something.
    """
    branch = git.place.branch
    seen = await look(git)
    if seen.origin_sha == head_sha:
        async with locked(git.clone, git.place.repository.timeout_s):
            await ready(git, "sha256" if len(head_sha) == 64 else "sha1")
            await git("update-ref", f"{OURS}{branch}", head_sha)
            if not await git.contains(OURS + seen.base, head_sha):
                await git("update-ref", PUSHED + branch, head_sha)
            await show_agents(git, {branch: head_sha})
        return True
    if seen.origin_sha != expected:
        there = seen.origin_sha or "not there"
        raise Trouble(
            PUSH_REFUSED, f"{branch} on origin is {there}, not {expected or 'missing'}: another attempt pushed"
        )
    if expected and not await git.contains(head_sha, expected):
        raise Trouble(PUSH_REFUSED, f"{branch} would lose {expected}, which origin has")
    return False
