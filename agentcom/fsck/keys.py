"""Every other key against the table of keys: its type, its end of life, whose it is; the head against the streams."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.fsck.facts import NO_END, NO_KEY, Discrepancy, Facts, KeyFacts, stream_id
from agentcom.model.commit import DIGITS_MAX, LAST_ID
from agentcom.model.messages import Fix
from agentcom.wording import age

BY_HAND = "only a person can say what it is: RENAME or DEL it with redis-cli"

LEADERS = "a scheduler that runs gives it one: start one"

VITAL = frozenset({"inbox", "reports", "open", "agents", "keys", "costs", "head", "journal"})
"""While one of these is of another type, the scheduler can write nothing, and nothing can be said of what it holds."""

MADE_ANEW = ("inbox", "reports")
"""Streams that the leading scheduler makes anew by itself when their ids are used up."""


def check(facts: Facts) -> Iterator[Discrepancy]:
    """What contradicts the table of keys, the head, or the form of an idempotency key or of costs."""
    for name, found in facts.keys.items():
        yield from _key(name, found)
    for stream, position in (("inbox", facts.inbox_at), ("reports", facts.reports_at)):
        yield from _position(facts, stream, position)
    for name in facts.damaged_head:
        yield Discrepancy(
            kind="damaged_head", subject=f"key:head {name}", text=f"its field {name} cannot be read",
            remedy="the scheduler writes it again", fix=Fix("reposition"), keys=("head",),
        )  # fmt: skip
    yield from _costs(facts)
    for name, value in facts.bindings.items():
        task, at, since = value.rpartition("@")
        if not (task and at and since.isascii() and since.isdigit() and len(since) <= DIGITS_MAX):
            text = f"what is kept of this idempotency key is no task and time: {value[:80]!r}"
            fix = Fix("forget_key", name=name)
            yield Discrepancy(
                kind="damaged_binding", subject=f"binding:{name}", text=text,
                remedy="it is written again if the scheduler still knows it, else forgotten", fix=fix, keys=("keys",),
            )  # fmt: skip


def _costs(facts: Facts) -> Iterator[Discrepancy]:
    for name, is_readable in facts.costs.items():
        if not is_readable:
            yield Discrepancy(
                kind="damaged_costs", subject=f"costs:{name}", text="what is kept there of costs cannot be read",
                remedy="it is written again if the scheduler still knows it, else forgotten",
                fix=Fix("recount", name=name), keys=("costs",),
            )  # fmt: skip


def _key(name: str, found: KeyFacts) -> Iterator[Discrepancy]:
    if found.type == NO_KEY:
        return
    if not found.wanted:
        yield _about(name, "nobody_owns", f"it is a {found.type} that no part of AgentCom knows", BY_HAND)
    elif found.type != found.wanted:
        yield _about(name, "wrong_type", f"it is a {found.type}, not a {found.wanted}", BY_HAND)
    elif found.passes and found.ttl_ms == NO_END:
        # Nobody could mend the leader's but a leader; whoever wants to lead sees to it.
        fix, remedy = (Fix("bound", name=name), "it gets one") if name != "leader" else (None, LEADERS)
        yield _about(name, "no_end", "it has no end of life", remedy, fix)
    elif found.stays and found.ttl_ms != NO_END:
        text = f"it will be gone in {age(found.ttl_ms / 1000)}, with all that it holds"
        yield _about(name, "passes_away", text, "it stays", Fix("keep", name=name))
    elif found.last == LAST_ID:
        text = "it can take no more: somebody gave an entry the last possible id"
        own = "the leading scheduler makes it anew within a minute, or at its start"
        yield _about(name, "used_up", text, own if name in MADE_ANEW else "remove it with redis-cli: DEL")


def _position(facts: Facts, stream: str, position: str) -> Iterator[Discrepancy]:
    found = facts.keys.get(stream)
    if found is not None and found.type == "stream" and stream_id(position) > stream_id(found.last):
        text = f"by it {stream} was read up to {position}, and the last entry there ever was is {found.last}"
        remedy = "the scheduler writes again how far it came"
        yield Discrepancy(
            kind="position_ahead", subject=f"key:head {stream}", text=text, remedy=remedy, fix=Fix("reposition"),
            keys=("head", stream),
        )  # fmt: skip


def _about(name: str, kind: str, text: str, remedy: str, fix: Fix | None = None) -> Discrepancy:
    return Discrepancy(kind=kind, subject=f"key:{name}", text=text, remedy=remedy, fix=fix, keys=(name,))
