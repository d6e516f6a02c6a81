"""Asks the forge and git for what a judgement is made of."""

from __future__ import annotations

from agentcom.errors import AgentComError
from agentcom.forge.base import Forge, PullDetails
from agentcom.forge.origin import Origin
from agentcom.gate.changes import DIFF, changes_of
from agentcom.gate.facts import Change, PullFacts
from agentcom.ids import short
from agentcom.model.task import ReadRecord
from agentcom.settings.repository import CHECKS_FILE, checks_in


class NothingToJudge(AgentComError):
    """The task has no pull request."""


async def pull_of(record: ReadRecord, forge: Forge) -> PullDetails:
    """The task's pull request, as the forge has it now.

    Raises:
        NothingToJudge: there is none.
        ForgeTrouble: the forge cannot tell now.
    """
    found = await forge.details(record.spec.id, record.branch)
    if found is None:
        raise NothingToJudge(f"the forge has no pull request of {short(record.spec.id)}", f"It is {record.state}")
    return found


async def gathered(record: ReadRecord, pull: PullDetails, origin: Origin) -> PullFacts:
    """All that is known of a task's pull request now.

    Raises:
        ForgeTrouble: `origin` cannot tell now.
    """
    outcome = record.outcome
    evidence = outcome.evidence if outcome is not None else None
    base_sha, branch_sha = await origin.heads(pull.base, pull.branch)
    there = bool(base_sha and branch_sha)
    return PullFacts(
        state=record.state,
        branch=record.branch,
        pull_request=record.pull_request,
        agent=record.attempts[-1].agent if record.attempts else "",
        verified_base=evidence.base if evidence is not None else "",
        verified_sha=evidence.head_sha if evidence is not None else "",
        checks=outcome.checks if outcome is not None else (),
        required=await _required(record, origin, base_sha),
        pull=pull,
        base_sha=base_sha,
        branch_sha=branch_sha,
        base_contained=there and await origin.contains(branch_sha, base_sha),
        changes=await _changes(origin, base_sha, branch_sha) if there else (),
    )


async def _changes(origin: Origin, base_sha: str, branch_sha: str) -> tuple[Change, ...]:
    """What the branch changes since it left its base."""
    left = await origin.git.run("merge-base", base_sha, branch_sha)
    start = left.text if left.code == 0 else base_sha
    return changes_of((await origin.git.checked(*DIFF, start, branch_sha)).out)


async def _required(record: ReadRecord, origin: Origin, base_sha: str) -> tuple[str, ...] | None:
    """Checks that are required: by the task, and by the repository at its base, where no branch can change them."""
    if not base_sha:
        return None
    name = f"{base_sha}:{CHECKS_FILE}"
    # That git cannot tell is no absence: it would leave out what the repository requires.
    if not await origin.git.read("ls-tree", "--full-tree", base_sha, "--", CHECKS_FILE):
        return record.spec.checks
    of_repository = checks_in((await origin.git.read("cat-file", "blob", name)).encode())
    return None if isinstance(of_repository, str) else (*record.spec.checks, *of_repository)
