"""A pull request that may be merged, to be spoiled in one way at a time."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agentcom.forge.base import PullDetails
from agentcom.gate.facts import NO_FILE, Change, PullFacts
from agentcom.model.task import Check, PullRequest

TASK = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"
BRANCH = f"oak/{TASK}"
BASE, HEAD, OTHER = "a" * 40, "b" * 40, "c" * 40

CHECK = Check("make test", "oak", HEAD, True, 0, 1.0)
PULL = PullDetails(PullRequest("https://github.com/acme/shop/pull/3", 3), BRANCH, "main", HEAD)

SAFE = PullFacts(
    state="completed",
    branch=BRANCH,
    pull_request=PULL.pull_request,
    agent="oak",
    verified_base="main",
    verified_sha=HEAD,
    checks=(CHECK,),
    required=("make test",),
    pull=PULL,
    base_sha=BASE,
    branch_sha=HEAD,
    base_contained=True,
    changes=(Change("docs/guide.md", inserted=3, deleted=1),),
)


def safe(**changes: Any) -> PullFacts:
    """Facts by which it may be merged, but for what is given."""
    return replace(SAFE, **changes)


def pull(**changes: Any) -> PullFacts:
    """The same with another pull request on the forge."""
    return replace(SAFE, pull=replace(PULL, **changes))


def touching(path: str, **how: Any) -> PullFacts:
    """The same with one more file that changes."""
    return replace(SAFE, changes=(*SAFE.changes, Change(path, **{"inserted": 1, **how})))


def adding(path: str, **how: Any) -> PullFacts:
    """The same with one more file that is new."""
    return touching(path, mode_before=NO_FILE, **how)
