"""What follows what in an attempt, without I/O: the agent's claim, the look at its work, the checks.

"Completed" is what somebody other than the agent has checked. What falls short goes back to the agent, in the same
session and worktree, `policy.max_returns` times; then the attempt has failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from agentcom.git.place import Finished, GitProblem, Started
from agentcom.model.task import NO_USAGE, Check, Outcome, PullRequest
from agentcom.sidecar.runners.base import DETAIL_MAX, bounded
from agentcom.sidecar.runners.progress import Progress
from agentcom.sidecar.runners.turnend import TurnEnd

FAILED_TAIL_MAX, PASSED_TAIL_MAX = 1_500, 200

SENT_BACK: dict[str, str] = {
    "uncommitted": "Your work is not all committed. Commit what belongs to it on the current branch, remove the rest.",
    "no_change": "You committed nothing. Do the task and commit it; or, if nothing has to be changed, say why.",
    "stale_base": "The base branch has moved on and conflicts with your work. Merge it, solve the conflicts, commit.",
}
"""Shortcomings that the agent itself can mend, and what it is told."""


class Done(Struct, frozen=True):
    """The attempt has its outcome."""

    outcome: Outcome


class Next(Struct, frozen=True):
    """The attempt goes on."""

    progress: Progress


class Rules(Struct, frozen=True):
    """What an attempt is judged by.

    Attributes:
        max_returns: how often work may be sent back to the agent.
        repository: there is one, so that commits are the evidence.
    """

    max_returns: int
    repository: bool


def after_turn(progress: Progress, end: TurnEnd, rules: Rules) -> Next | Done:
    """The agent's turn is over."""
    turn, claimed = end.turn, end.outcome
    before = progress.session
    goes_on = turn.session in ("", before)
    progress = replace(
        progress,
        claimed=claimed,
        no_change=end.no_change,
        spent=progress.spent + end.usage,
        session=turn.session or progress.session,
        session_usage=end.usage + (progress.session_usage if goes_on else NO_USAGE),
        context_used=max(progress.context_used, turn.context_used),
        context_size=turn.context_size or progress.context_size,
        model=turn.model or progress.model,
        program=end.program or progress.program,
    )
    if claimed.reason == "session_lost" and before:
        # A new one knows nothing: it is told everything, in the same workspace.
        return Next(replace(progress, turn=progress.turn + 1, session="", session_usage=NO_USAGE))
    if claimed.result != "completed":
        return Done(told(progress, claimed))
    if not (rules.repository or progress.commands):
        # That it did without the tool that it was denied is its own word alone.
        denied = claimed.reason == "permission_denied"
        return Done(told(progress, replace(claimed, result="failed") if denied else claimed))
    return Next(replace(progress, stage="checks"))


def after_look(progress: Progress, found: Finished | GitProblem, rules: Rules) -> Next | Done:
    """Git was looked at, when the agent said that it is done."""
    if isinstance(found, GitProblem):
        return _short(progress, found, rules)
    progress = replace(progress, evidence=found.evidence, origin_sha=found.origin_sha)
    if found.problem is not None:
        return _short(progress, found.problem, rules)
    if not found.evidence.commits and not progress.no_change:
        claimed = progress.claimed
        if claimed is not None and claimed.reason == "permission_denied":
            return Done(told(progress, replace(claimed, result="failed")))
        return _short(progress, GitProblem("no_change", "it says that it is done, and committed nothing"), rules)
    return Next(progress)


def after_checks(progress: Progress, checks: Sequence[Check], rules: Rules) -> Next | Done:
    """The checks were run on exactly the commit of the evidence."""
    progress = replace(progress, checks=tuple(checks))
    failed = tuple(check for check in checks if not check.passed)
    if not failed:
        return Next(replace(progress, stage="publish"))
    problem = GitProblem("verification_failed", f"failed checks: {', '.join(check.command for check in failed)}")
    return _short(progress, problem, rules, failed)


def at_start(progress: Progress, started: Started, commands: tuple[str, ...]) -> Progress:
    """Git is ready, and it is known what the work has to pass. What git could not bring together, the agent is told."""
    problem = f"{SENT_BACK['stale_base']} (merge origin/{started.base}: {', '.join(started.conflicts)})"
    return replace(progress, started=started, commands=commands, problem=problem if started.conflicts else "")


def resumed_at_checks(progress: Progress, earlier: Progress) -> Progress:
    """Where an attempt begins whose work an earlier one has done: at its checks, and with nothing used so far."""
    return replace(
        progress,
        stage="checks",
        claimed=earlier.claimed,
        no_change=earlier.no_change,
        session=earlier.session,
        session_usage=earlier.session_usage,
        model=earlier.model,
        program=earlier.program,
    )


def completed(progress: Progress, pull_request: PullRequest | None) -> Outcome:
    """All is done, and seen to be done by somebody other than the agent."""
    claimed = progress.claimed or Outcome("completed")
    return told(progress, replace(claimed, result="completed", reason="", pull_request=pull_request))


def told(progress: Progress, outcome: Outcome) -> Outcome:
    """An outcome with all that is known of the attempt."""
    usage = progress.spent
    return replace(
        outcome,
        usage=usage if usage.tokens or usage.cost_usd else outcome.usage,
        session=progress.session,
        session_usage=progress.session_usage,
        context_used=progress.context_used,
        context_size=progress.context_size,
        model=progress.model,
        program=progress.program,
        envelope_tokens=progress.envelope_tokens,
        evidence=outcome.evidence or progress.evidence,
        checks=tuple(_brief(check) for check in outcome.checks or progress.checks),
    )


def _brief(check: Check) -> Check:
    """What is kept of a check: a report has to carry all of them, and what they printed is in the task's output."""
    limit = FAILED_TAIL_MAX if not check.passed else PASSED_TAIL_MAX
    return replace(check, tail=check.tail[-limit:])


def _short(progress: Progress, problem: GitProblem, rules: Rules, failed: tuple[Check, ...] = ()) -> Next | Done:
    """The work falls short: back to the agent, if it can mend that and has not had it back too often."""
    said = SENT_BACK.get(problem.reason, "")
    if not (said or failed) or progress.returned >= rules.max_returns:
        summary = progress.claimed.summary if progress.claimed is not None else ""
        outcome = Outcome("failed", problem.reason, bounded(problem.detail, DETAIL_MAX), summary=summary)
        return Done(told(progress, outcome))
    return Next(
        replace(
            progress,
            stage="agent",
            turn=progress.turn + 1,
            returned=progress.returned + 1,
            problem=f"{said} ({problem.detail})" if said else "",
            failed=failed,
        )
    )
