"""How the gate has judged so far: a gate that stops everything, or nothing, is of no use. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from agentcom.gate.facts import Decision
from agentcom.wording import count

ENOUGH = 10
"""Fewer verdicts say nothing about the rules."""
TOO_STRICT = 0.8
SHOWN = 3


class Note(Struct, frozen=True, omit_defaults=True):
    """One verdict.

    Attributes:
        at: when, in Unix ms.
        task, head_sha: what was judged.
        decision: what followed.
        against: the rules that were against merging it.
        by: who recommended something, if anybody did.
        merged: it was merged then.
    """

    at: int
    task: str
    head_sha: str
    decision: Decision
    against: tuple[str, ...] = ()
    by: str = ""
    merged: bool = False


class Summary(Struct, frozen=True):
    """What many verdicts add up to; what was judged several times counts once, as it was last.

    Attributes:
        judged, escalated, merged: how many.
        recommended_against: escalated for a recommendation alone, while all rules held.
        against: how often each rule was against it, most often first.
    """

    judged: int
    escalated: int
    merged: int
    recommended_against: int
    against: dict[str, int]

    @property
    def remark(self) -> str:
        """What a person should look at; empty if nothing is conspicuous."""
        if self.judged < ENOUGH:
            return ""
        if self.escalated > TOO_STRICT * self.judged:
            often = ", ".join(list(self.against)[:SHOWN]) or "none"
            return f"over {TOO_STRICT:.0%} went to a person: are the rules too strict? Most often against: {often}"
        return "" if self.escalated else "nothing went to a person: are the rules too loose?"

    @property
    def told(self) -> str:
        """The numbers, in one line."""
        share = f" ({self.escalated / self.judged:.0%})" if self.judged else ""
        numbers = f"{count(self.judged, 'pull request')} judged, {self.escalated:,} of them for a person{share}"
        return f"{numbers}, {self.merged:,} merged"


def summary(notes: Iterable[Note]) -> Summary:
    """What the notes, in their order, add up to."""
    last: dict[tuple[str, str], Note] = {}
    merged = set()
    for note in notes:
        last[note.task, note.head_sha] = note
        if note.merged:
            merged.add(note.task)
    against = Counter(rule for note in last.values() for rule in note.against)
    escalated = [note for note in last.values() if note.decision == "escalate"]
    return Summary(
        judged=len(last),
        escalated=len(escalated),
        merged=len(merged),
        recommended_against=sum(not note.against for note in escalated),
        against=dict(against.most_common()),
    )
