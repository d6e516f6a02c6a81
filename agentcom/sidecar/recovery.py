"""What a sidecar does first: it finds out what an earlier start of it left behind, goes on with what it can, and
reports the rest honestly."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from msgspec import Struct

from agentcom.broker.sidecar_store import SidecarStore
from agentcom.model.codec import decode_order, decode_report
from agentcom.model.messages import Assign, Finished
from agentcom.model.task import Outcome
from agentcom.sidecar.effects import Effect
from agentcom.sidecar.journal import Journal, RunNote
from agentcom.sidecar.machine import Machine
from agentcom.sidecar.runners.base import Runner, names_attempt


class Recovered(Struct, frozen=True):
    """What is to be done, and the notes of the attempts that are adopted, by their orders' entries."""

    effects: list[Effect]
    adopted: dict[str, RunNote]


async def recover(
    store: SidecarStore,
    journal: Journal,
    machine: Machine,
    runner: Runner,
    clock: Callable[[], int],
) -> Recovered:
    """Take over everything that an earlier start held, and settle what is over.

    - In the outbox: it ended; the batch is sent again, by whoever called this.
    - Noted as started, and still this sidecar's: it is adopted, whatever became of it.
    - Noted as started, and reclaimed meanwhile: nobody waits for it, so it is ended. If it had completed by itself,
      that is reported, as a late result.
    - Pending in Redis, but neither: an agent in the sidecar's own process may have begun it, and so may a sidecar of
      this name with another folder, so it is lost; a command of this folder was never started, so the order is handed
      back unharmed; unless its files say how it ended, when a fail-over lost what was said of it.
    """
    settling = _settling(journal, machine)
    noted = {note.entry: note for note in journal.runs()}
    claimed = {entry.id: decode_order(entry.body) for entry in await store.take_over()}
    for entry in journal.damaged() & (claimed.keys() - noted.keys()):
        order = claimed[entry]
        if isinstance(order, Assign) and not runner.in_process:
            noted[entry] = RunNote(entry, order, clock())
    adopted = {entry: note for entry, note in noted.items() if entry in claimed and entry not in settling}
    others = [note for entry, note in noted.items() if entry not in adopted]
    effects = await _end_others(others, settling, journal, runner, machine)
    for note in adopted.values():
        effects += machine.adopt(note.entry, note.order, note.since(clock()), clock())
    starts = journal.starts()
    for entry, order in claimed.items():
        if entry in settling or entry in adopted:
            continue
        if not isinstance(order, Assign) or machine.knows(order.token):
            effects += machine.ordered(entry, order, clock())
        elif runner.in_process or order.incarnation not in starts:
            lost = Outcome("lost", "lost", "its sidecar was restarted; it may have begun")
            effects += machine.left_behind(entry, order, lost)
        elif names_attempt(order) and (outcome := await runner.end_orphan(order, None)) is not None:
            effects += machine.left_behind(entry, order, outcome)
        else:
            effects += machine.ordered(entry, order, clock())
    return Recovered(effects, adopted)


def _settling(journal: Journal, machine: Machine) -> set[str]:
    """Entries of orders whose ends are in the outbox; the machine is told of those ends."""
    unsent = journal.unsent()
    for note in unsent:
        for body in note.reports:
            report = decode_report(bytes(body))
            if isinstance(report, Finished):
                machine.remember(report)
    return {entry for note in unsent for entry in note.settled}


async def _end_others(
    notes: list[RunNote], settling: set[str], journal: Journal, runner: Runner, machine: Machine
) -> list[Effect]:
    """End what is not ours any more, and say what had completed; of what is in the outbox, all is said."""
    effects: list[Effect] = []

    async def end(note: RunNote) -> None:
        outcome = await runner.end_orphan(note.order, note.process)
        if outcome is not None and outcome.result == "completed" and note.entry not in settling:
            effects.extend(machine.late(note.order, outcome))
        journal.ended(note.entry)

    async with anyio.create_task_group() as group:
        for note in notes:
            group.start_soon(end, note)
    return effects
