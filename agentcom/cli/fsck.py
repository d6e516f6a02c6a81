"""`agentcom fsck`: whether what a pool's keys say of each other is so, and mending what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import anyio
import typer
from msgspec import Struct
from rich.text import Text

from agentcom.broker.fsck_store import FsckStore
from agentcom.cli.context import EXIT_OK, context_of, end, run
from agentcom.cli.screen import show, show_json, warn, width
from agentcom.cli.tasks import Json
from agentcom.client import Client
from agentcom.errors import AgentComError
from agentcom.fsck.facts import Discrepancy
from agentcom.fsck.rules import PASSES_BY_ITSELF, Remark, discrepancies, remarks, still_so
from agentcom.model.messages import MAX_FIXES_PER_REPAIR, Fix, Repair
from agentcom.monitor.table import cut, said
from agentcom.wording import count

EXIT_FOUND = 3

LOOKED_AT_AGAIN = 10_000
"""Of more than so many discrepancies, the rest is not told before these are mended."""

PATIENCE_S = 15.0
"""After so long, what a pool goes through when a sidecar starts or is told something has passed."""

ROUNDS = 20
"""Mending one thing can bring another to light: a task that is taken up again may wait for one that is gone."""

SHOWN = 200


class Look(Struct, frozen=True):
    """What a look at the pool found."""

    found: list[Discrepancy]
    remarks: list[Remark]
    more: bool

    @property
    def fixes(self) -> list[Fix]:
        """What a repair can do."""
        return [one.fix for one in self.found if one.fix is not None]


class Mended(Struct, frozen=True):
    """What a repair was for, what of it is gone now, what the scheduler refused, and how it looks now."""

    mended: list[Discrepancy]
    refused: list[str]
    now: Look


class NotTaken(AgentComError):
    """No scheduler took the repair into account."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    epilog = "Exit codes: 0 nothing is left · 1 Redis or the scheduler is away · 3 something is left."
    app.command("fsck", rich_help_panel="Look", epilog=epilog)(fsck)


def fsck(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Have the leading scheduler mend what it can.")] = False,
    json: Json = False,
) -> None:
    """Check a pool's records, streams, pending lists, indexes, agents and keys against each other.

    The pool goes on meanwhile. What is found counts only if a second look, at what it is about and as it is at one
    moment, still shows it; what a pool goes through for a moment is given 15 seconds before that. It reads every key
    of the pool once, so it is nothing for every minute.

    \b
    Examples:
      agentcom fsck
      agentcom fsck --repair
      agentcom fsck --json | jq -r '.found[].kind' | sort | uniq -c
    """
    context = context_of(ctx)

    async def whole() -> tuple[Look, Mended | None]:
        async with context.client() as client:
            store = FsckStore(client.connections, client.pool, context.settings.policy)
            before = await inspect(store)
            if not repair or not before.fixes:
                return before, None
            return before, await mend(client, store, before)

    before, done = run(whole)
    left = done.now if done is not None else before
    mended = done.mended if done is not None else []
    if json:
        show_json(_document(context.settings.pool, left, mended, done.refused if done is not None else []))
    else:
        show(_lines(left, mended, repair=repair))
        for refusal in (done.refused if done is not None and left.found else [])[:SHOWN]:
            warn(f"agentcom: the scheduler did not {refusal}")
    end(EXIT_FOUND if left.found else EXIT_OK)


# ------------------------------------------------------------------ looking


async def inspect(store: FsckStore, patience_s: float = PATIENCE_S) -> Look:
    """Look at all of the pool, and again at what seems wrong.

    Raises what redis-py raises when Redis is away.
    """
    facts = await store.everything()
    first = discrepancies(facts)
    listed = first[:LOOKED_AT_AGAIN]
    found = still_so(listed, discrepancies(await store.again(listed))) if listed else []
    if any(one.kind in PASSES_BY_ITSELF for one in found):
        await anyio.sleep(patience_s)
        found = still_so(found, discrepancies(await store.again(found)))
    return Look(found, remarks(facts), more=len(first) > len(listed))


# ------------------------------------------------------------------ mending


async def mend(client: Client, store: FsckStore, before: Look, patience_s: float = PATIENCE_S) -> Mended:
    """Have the scheduler mend what was found, and what comes to light by that.

    Raises:
        NotTaken: no scheduler took it into account in time.
        Refused: the inbox is full.
    """
    mended: dict[tuple[str, str], Discrepancy] = {}
    refused: list[str] = []
    look = before
    for _ in range(ROUNDS):
        tried = {(one.kind, one.subject): one for one in look.found if one.fix is not None}
        if not tried or tried.keys() <= mended.keys():
            break
        mended |= tried
        refused = await _ask(client, look.fixes)
        look = await inspect(store, patience_s)
    left = {(one.kind, one.subject) for one in look.found}
    return Mended([one for key, one in mended.items() if key not in left], refused, look)


async def _ask(client: Client, fixes: Sequence[Fix]) -> list[str]:
    """Send fixes, and wait until they were taken into account; what was refused, with why."""
    parts = [fixes[first : first + MAX_FIXES_PER_REPAIR] for first in range(0, len(fixes), MAX_FIXES_PER_REPAIR)]
    if not (await client.store.head()).leader:
        raise NotTaken("no scheduler leads, so nothing was mended", "Start one with `agentcom scheduler`, then repeat")
    refused: list[str] = []
    for part in parts:
        taken, reasons = await client.ask_whole(Repair(fixes=list(part)))
        if not taken:
            remedy = "See with `agentcom check` what keeps it; what is asked for waits in the inbox"
            raise NotTaken("the scheduler has not taken the repair into account", remedy)
        refused += reasons
    return refused


# ------------------------------------------------------------------ showing


def _lines(left: Look, mended: Sequence[Discrepancy], *, repair: bool) -> list[Text]:
    cells = width()
    told = [cut(_line("mended", one), cells) for one in mended[:SHOWN]]
    told += [line for one in left.found[:SHOWN] for line in _explained(one, repair=repair)]
    hidden = max(0, len(left.found) - SHOWN) + max(0, len(mended) - SHOWN)
    if hidden:
        told.append(said(f"and {hidden:,} more; --json tells all"))
    told += [said(f"{remark.count:,} {remark.text}", "dim") for remark in left.remarks]
    told.append(said(_sum(left, mended, repair=repair)))
    return told


def _line(what: str, one: Discrepancy) -> Text:
    return Text.assemble(said(what, "green"), "  ", said(one.subject, "bold"), said(f"  {one.text}"))


def _explained(one: Discrepancy, *, repair: bool) -> list[Text]:
    who = "" if one.fix is None else "a repair: " if not repair else "not mended: "
    return [
        Text.assemble(said(one.kind, "red"), "  ", said(one.subject, "bold"), said(f"  {one.text}")),
        said(f"    {who}{one.remedy}", "dim"),
    ]


def _sum(left: Look, mended: Sequence[Discrepancy], *, repair: bool) -> str:
    done = f"{count(len(mended), 'discrepancy', 'discrepancies')} mended, " if mended else ""
    if not left.found:
        return f"{done}nothing is left" if mended else "nothing contradicts anything"
    kinds = Counter(one.kind for one in left.found)
    listed = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    more = "at least " if left.more else ""
    advice = "; `agentcom fsck --repair` mends what it can" if not repair and left.fixes else ""
    found = f"{more}{count(len(left.found), 'discrepancy', 'discrepancies')}"
    return f"{done}{found}{' left' if repair else ''}: {listed}{advice}"


def _document(pool: str, left: Look, mended: Sequence[Discrepancy], refused: Sequence[str]) -> dict[str, Any]:
    return {
        "pool": pool,
        "found": [_discrepancy(one) for one in left.found],
        "more": left.more,
        "mended": [_discrepancy(one) for one in mended],
        "refused": list(refused),
        "harmless": [{"kind": one.kind, "count": one.count, "text": one.text} for one in left.remarks],
    }


def _discrepancy(one: Discrepancy) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "subject": one.subject.encode("utf-8", "replace").decode(),
        "text": one.text.encode("utf-8", "replace").decode(),
        "remedy": one.remedy,
        "repairable": one.fix is not None,
    }
