"""Merges what was judged, exactly as it was judged."""

from __future__ import annotations

from agentcom.forge.base import Forge, Merged, NotMerged
from agentcom.forge.neutral import neutral
from agentcom.gate.facts import PullFacts, Verdict
from agentcom.model.task import ReadRecord
from agentcom.wording import one_line

SUBJECT_WIDTH = 72


async def merged(record: ReadRecord, forge: Forge, facts: PullFacts, verdict: Verdict) -> Merged | NotMerged:
    """Merge a task's pull request, whose verdict says so.

    Raises:
        ForgeTrouble: it could not be done now. It may have been done all the same, and is found at the repetition.
    """
    assert verdict.decision == "merge", "only rules let work through"
    return await forge.merge(record.spec.id, facts.pull, facts.base_sha, message_of(record, verdict))


def message_of(record: ReadRecord, verdict: Verdict) -> str:
    """What the merge commit says. Texts of others are data, here as everywhere."""
    lines = [neutral(one_line(f"Merge {record.spec.heading}", SUBJECT_WIDTH)), "", f"Task: {record.spec.id}"]
    lines += [f"- {ruling.rule}: {neutral(ruling.why)}" for ruling in verdict.rulings]
    if verdict.recommendation is not None:
        lines.append(f"- recommended, by {neutral(one_line(verdict.recommendation.by, SUBJECT_WIDTH))}")
    return "\n".join(lines) + "\n"
