"""What is known of a pull request when it is judged, and what the judgement says. Pure data."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from agentcom.forge.base import PullDetails
from agentcom.model.lifecycle import TaskState
from agentcom.model.task import Check, PullRequest

Decision = Literal["merge", "escalate"]

NO_FILE = "000000"
PLAIN_FILE = "100644"


class Change(Struct, frozen=True):
    """What happens to one file; a renamed one is one that is deleted and one that is added.

    Attributes:
        path: of the file.
        mode_before, mode_after: as git writes modes; `NO_FILE` where there is none.
        inserted, deleted: lines.
        binary: git counts no lines in it.
    """

    path: str
    mode_before: str = PLAIN_FILE
    mode_after: str = PLAIN_FILE
    inserted: int = 0
    deleted: int = 0
    binary: bool = False

    @property
    def is_new(self) -> bool:
        """It was not there before."""
        return self.mode_before == NO_FILE

    @property
    def is_gone(self) -> bool:
        """It is not there any more."""
        return self.mode_after == NO_FILE


class PullFacts(Struct, frozen=True, kw_only=True):
    """All that a judgement is made of.

    Attributes:
        state: of the task, by its record.
        branch, pull_request: of the task, by its record.
        agent: that made the attempt which completed it.
        verified_base, verified_sha: the base that the work was checked for, and the commit that was checked.
        checks: what was checked, by the accepted outcome.
        required: what has to be checked, by the task and by the repository as it is at the base; None: that cannot be
            read.
        pull: as the forge has it now.
        base_sha, branch_sha: where the base and the branch stand on `origin` now; empty where there is none.
        base_contained: all of the base is in the branch.
        changes: from the base to the branch.
    """

    state: TaskState
    branch: str
    pull_request: PullRequest | None
    agent: str
    verified_base: str
    verified_sha: str
    checks: tuple[Check, ...]
    required: tuple[str, ...] | None
    pull: PullDetails
    base_sha: str
    branch_sha: str
    base_contained: bool
    changes: tuple[Change, ...]


class Recommendation(Struct, frozen=True, forbid_unknown_fields=True):
    """What a reviewer that is no rule thinks, such as an LLM.

    Attributes:
        by: who it is.
        merge: whether it would merge.
        why: for people.
    """

    by: str
    merge: bool
    why: str = ""


class Ruling(Struct, frozen=True):
    """What one rule says, and why, for people."""

    rule: str
    holds: bool
    why: str


class Verdict(Struct, frozen=True):
    """Whether a person has to decide, with the ruling of every rule, and the recommendation, if there was one."""

    decision: Decision
    rulings: tuple[Ruling, ...]
    recommendation: Recommendation | None = None

    @property
    def against(self) -> tuple[Ruling, ...]:
        """The rulings against merging it."""
        return tuple(ruling for ruling in self.rulings if not ruling.holds)
