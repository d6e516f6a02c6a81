"""Where a task's branch begins, or goes on. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Relation = Literal["same", "ahead", "behind", "apart"]
"""Where this machine's branch is, seen from that of `origin`."""


class Known(Struct, frozen=True):
    """What there is of a task's work.

    Attributes:
        base_sha: of the base branch on `origin`.
        origin_sha, local_sha: of the task's branch, on `origin` and here; empty where there is none.
        relation: of the two, where there are both.
        local_is_base: all that the branch has here is in the base, too.
        other, other_sha: a branch on `origin` that ends in the task's id, and where it stands.
    """

    base_sha: str
    origin_sha: str = ""
    local_sha: str = ""
    relation: Relation = "same"
    local_is_base: bool = False
    other: str = ""
    other_sha: str = ""


class Beginning(Struct, frozen=True):
    """Where the branch is to stand.

    Attributes:
        head_sha: there.
        resumed: it had been begun before.
        rescued: this machine's commits, that have to give way; empty if none have to.
        detail: for people.
    """

    head_sha: str
    resumed: bool
    rescued: str = ""
    detail: str = ""


def beginning(known: Known, branch: str) -> Beginning:
    """What the branch goes on from.

    What `origin` has is what all machines know of, so it wins over what only this one has. Work that only this one
    has goes on where it can, and is rescued where it cannot.
    """
    if known.origin_sha:
        return _from_origin(known, branch)
    if known.local_sha and not known.local_is_base:
        return Beginning(
            known.local_sha, resumed=True, detail=f"{branch} goes on from commits that only this clone has"
        )
    if known.other_sha:
        return Beginning(known.other_sha, resumed=True, detail=f"{branch} goes on from {known.other}, found on origin")
    return Beginning(known.base_sha, resumed=False)


def _from_origin(known: Known, branch: str) -> Beginning:
    if not known.local_sha or known.relation in ("same", "behind"):
        return Beginning(known.origin_sha, resumed=True)
    if known.relation == "ahead":
        return Beginning(known.local_sha, resumed=True, detail=f"{branch} has commits that origin does not have yet")
    detail = f"{branch} had gone another way here than on origin, which is followed"
    return Beginning(known.origin_sha, resumed=True, rescued=known.local_sha, detail=detail)
