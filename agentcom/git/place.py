"""What is known of the git side of one task, and what its steps answer."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from agentcom.model.task import Evidence


class Repository(Struct, frozen=True):
    """What an agent works on.

    Attributes:
        url: of `origin`; a URL or a path.
        base: the branch that work goes into; empty: what `origin` has as its HEAD.
        clone: the bare clone on this machine, which all worktrees share.
        environ: all of the environment that git runs in but what is set against prompts.
        timeout_s: limit of one call of git.
    """

    url: str
    base: str
    clone: Path
    environ: dict[str, str]
    timeout_s: float = 120.0


class Place(Struct, frozen=True):
    """Where one task's work is.

    Attributes:
        repository: that it is on.
        task: its id.
        branch: of the task, on `origin` and here; the same for all attempts and agents.
        worktree: the folder that the agent works in.
        guard: a file outside of the worktree that says which attempt may push from it; see `agentcom.git.hook`.
        author: the name that commits of the sidecar itself carry.
    """

    repository: Repository
    task: str
    branch: str
    worktree: Path
    guard: Path
    author: str


class GitProblem(Struct, frozen=True):
    """Why a step could not be made: a reason of `agentcom.model.reasons`, and what happened, for people."""

    reason: str
    detail: str


class Started(Struct, frozen=True):
    """A worktree is ready.

    Attributes:
        base: name of the base branch.
        base_sha: of the base branch on `origin`, as `ls-remote` tells and as was fetched: they are the same.
        head_sha: where the branch stands, and the worktree with it.
        resumed: the branch had been begun before, here or on `origin`.
        origin_sha: where the branch stood on `origin`; empty where it was not there.
        conflicts: files of which base and branch cannot be brought together by git: the agent has to, else the work
            is refused as `stale_base`. Empty where the branch has `base_sha`, as it does but then.
        detail: what is worth knowing, for people: what was taken over, what was rescued; empty if nothing is.
    """

    base: str
    base_sha: str
    head_sha: str
    resumed: bool
    origin_sha: str = ""
    conflicts: tuple[str, ...] = ()
    detail: str = ""


class Finished(Struct, frozen=True):
    """What was found when the agent was done: evidence, and what is wrong with the work by the rules, if anything.

    Attributes:
        evidence: what git says. `commits` may be 0 although no rule is broken.
        problem: the gravest; None where all rules hold.
        origin_sha: where the branch stood on `origin` then, for `push`; empty where it was not there.
        detail: what was put right without harm, for people; empty if nothing was.
    """

    evidence: Evidence
    problem: GitProblem | None = None
    origin_sha: str = ""
    detail: str = ""
