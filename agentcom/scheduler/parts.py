"""What attempts leave to those that follow: a pull request, a question, and of a part whose agent ran out of context
what it said of the work."""

from __future__ import annotations

from msgspec.structs import replace

from agentcom.model.reasons import class_of
from agentcom.model.task import CarriedRecord, Outcome

SUMMARY_MAX = 4_000
"""So much of what one part says is told to the next."""


QUESTION_MAX = 4_000


def is_full(outcome: Outcome | None) -> bool:
    """Whether an attempt ended as its agent ran out of context, so that the next one is another part of the work."""
    return outcome is not None and class_of(outcome.reason) == "split"


def leave(record: CarriedRecord, outcome: Outcome) -> bool:
    """Keep what this end of the current attempt leaves to the next. Returns whether it brought the work on: by what git
    says, and where there is no repository, by what it says itself. One that did not is a round in a livelock."""
    keep_pull_request(record, outcome)
    if outcome.asks:
        record.question, record.answer = (outcome.question or outcome.detail)[:QUESTION_MAX], ""
    if not is_full(outcome):
        return False
    summary = outcome.summary[:SUMMARY_MAX]
    got_on = summary not in ("", record.parts_summary)
    if outcome.evidence is not None:
        got_on = outcome.evidence.head_sha != _head_before(record, outcome.evidence.base_sha)
    record.parts_summary = summary or record.parts_summary
    return got_on


def keep_pull_request(record: CarriedRecord, outcome: Outcome) -> None:
    """A task has one pull request, whichever of its attempts tells of it, and when."""
    record.pull_request = outcome.pull_request or record.pull_request


def said_of_parts(outcome: Outcome, parts: int) -> Outcome:
    """The last end of a task that had too many parts, with a detail that says so."""
    if not is_full(outcome):
        return outcome
    told = f"its agents ran out of context in each of {parts} parts"
    return replace(outcome, detail=f"{told}; {outcome.detail}" if outcome.detail else told)


def grant(record: CarriedRecord) -> None:
    """A person sends it on or back: what follows has all its attempts and parts before it again."""
    if record.attempts and is_full(record.attempts[-1].outcome):
        record.part += 1
    record.granted = record.counted
    record.granted_parts = record.continued


def _head_before(record: CarriedRecord, base_sha: str) -> str:
    """Where the branch stood when the last attempt began, as far as earlier ones have told."""
    for attempt in reversed(record.attempts[:-1]):
        if attempt.outcome is not None and attempt.outcome.evidence is not None:
            return attempt.outcome.evidence.head_sha
    return base_sha
