"""What a forge is."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from agentcom.model.task import PullRequest

MARKER = "<!-- agentcom task: {task} -->"
"""Stands in the body of every pull request, so that it is found again also where its branch was renamed."""

LOCAL = "local:"
"""How the URL of a pull request begins that is kept in the repository itself; it ends in # and the task's id."""


class Draft(Struct, frozen=True):
    """What a pull request is to say.

    Attributes:
        task: its id.
        branch, base: what goes where.
        head_sha: that was checked, and pushed.
        title, body: for people; the body has the marker.
    """

    task: str
    branch: str
    base: str
    head_sha: str
    title: str
    body: str


class PullDetails(Struct, frozen=True):
    """A task's pull request as the forge has it now, for who decides whether it may be merged.

    Attributes:
        pull_request: where it is, and its state.
        branch, base: what goes where.
        head_sha: where the branch stands now; empty where it is gone.
        others: further pull requests of the same task or branch, by URL; there should be none.
    """

    pull_request: PullRequest
    branch: str
    base: str
    head_sha: str
    others: tuple[str, ...] = ()


class Merged(Struct, frozen=True):
    """It was merged, now or before.

    Attributes:
        sha: of the merge commit; empty where that is not known.
        as_judged: the base was where it had been judged to be, so what is merged is what was judged.
    """

    sha: str
    as_judged: bool = True


class NotMerged(Struct, frozen=True):
    """Something moved since it was judged, or the forge's own rules forbid it; `why` is for people. Nothing changed."""

    why: str


class ForgeTrouble(Exception):
    """The forge is away, refuses, or limits requests: what was to be done is to be tried again.

    Args:
        why: for people, in one line, without secrets.
        retry_after_s: when the forge says so; 0 means unknown.
        hopeless: trying again cannot help before a person has done something, such as for a refused token.
    """

    def __init__(self, why: str, retry_after_s: float = 0.0, *, hopeless: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.retry_after_s = retry_after_s
        self.hopeless = hopeless


class Forge(Protocol):
    """One place for pull requests. Calls may be repeated at will: what is there already is found, never made again."""

    name: str

    async def find(self, task: str, branch: str) -> PullRequest | None:
        """The pull request of a task, in whatever state; by its branch, and by its marker.

        Raises:
            ForgeTrouble: it cannot be told now.
        """
        ...

    async def publish(self, draft: Draft) -> PullRequest:
        """Make the task's pull request, or bring the one that is there up to date; of one that was merged or closed,
        nothing is changed.

        Raises:
            ForgeTrouble: it could not be done now. It may have been done all the same.
        """
        ...

    async def details(self, task: str, branch: str) -> PullDetails | None:
        """What `find` finds, with all that a decision on it needs.

        Raises:
            ForgeTrouble: it cannot be told now.
        """
        ...

    async def merge(self, task: str, judged: PullDetails, base_sha: str, message: str) -> Merged | NotMerged:
        """Merge a task's pull request exactly as it was judged, with the base at `base_sha`. One that is merged already
        stays as it is.

        Raises:
            ForgeTrouble: it could not be done now. It may have been done all the same.
        """
        ...
