"""All rules together, and what is odd but harmless."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple, replace

from agentcom.fsck import agents, keys, tasks
from agentcom.fsck.facts import NO_END, NO_KEY, Discrepancy, Facts

PASSES_BY_ITSELF = frozenset(
    {"orders_of_nobody", "order_unreadable", "order_of_nobody", "held_by_stranger", "order_missing", "slot_lost"}
)
"""What a pool may go through for a moment: a sidecar that starts, or has not yet read what it was told."""


class Remark(Struct, frozen=True):
    """Something odd that harms nobody, and how often it was found."""

    kind: str
    count: int
    text: str


def discrepancies(facts: Facts) -> list[Discrepancy]:
    """What contradicts what, in the order of the facts; one of a kind about one subject."""
    found = tuple(keys.check(facts))
    if not any(one.kind == "wrong_type" and one.keys and one.keys[0] in keys.VITAL for one in found):
        found = (*tasks.check(facts), *agents.check(facts), *found)
    return [_by_hand(one) for one in {(one.kind, one.subject): one for one in found}.values()]


def _by_hand(one: Discrepancy) -> Discrepancy:
    """A name that is no text cannot be in a request."""
    if one.fix is None or all(_is_text(part) for part in astuple(one.fix)):
        return one
    return replace(one, fix=None, remedy="its name is no text, so only a person can remove it, with redis-cli")


def _is_text(part: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in part)


def still_so(before: list[Discrepancy], again: list[Discrepancy]) -> list[Discrepancy]:
    """What both looks found, as the second one found it."""
    first = {(one.kind, one.subject) for one in before}
    return [one for one in again if (one.kind, one.subject) in first]


def remarks(facts: Facts) -> list[Remark]:
    """What is odd, and harmless: of a whole look."""
    records = facts.tasks
    gone = {task for task, found in records.items() if found.type == NO_KEY}
    bound = {value.rpartition("@")[0] for value in facts.bindings.values()}
    passing = sum(
        not found.readable and found.type != NO_KEY and found.ttl_ms != NO_END and task not in facts.open
        for task, found in records.items()
    )
    counted = (
        Remark(
            "foreign_record",
            sum(found.foreign for found in records.values()),
            "tasks whose specs this version cannot read: they wait for a scheduler that can",
        ),
        Remark(
            "damaged_record_passes", passing, "damaged records that are not open, and have an end of life: they pass"
        ),
        Remark("key_of_nothing", len(bound & gone), "idempotency keys of tasks that are not kept any more"),
        Remark("letter_of_nothing", len(gone.intersection(facts.dead)), "dead letters of tasks that are not kept"),
        Remark("damaged_letter", facts.damaged_letters, "dead letters that cannot be read: newer ones push them out"),
        Remark("output_of_nothing", len(gone.intersection(facts.outputs)), "outputs of tasks that are not kept"),
    )
    return [remark for remark in counted if remark.count]
