"""What a sidecar does first: it finds out what an earlier start of it left behind, and reports that honestly."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from agentcom.broker.sidecar_store import SidecarStore
from agentcom.model.codec import decode_order
from agentcom.model.messages import Assign
from agentcom.model.task import Outcome
from agentcom.sidecar.journal import Journal
from agentcom.sidecar.machine import Effect, Machine
from agentcom.sidecar.runners.base import Runner


async def recover(
    store: SidecarStore,
    journal: Journal,
    machine: Machine,
    runner: Runner,
    clock: Callable[[], int],
) -> list[Effect]:
    """Effects that settle everything an earlier start held.

    - In the outbox: it ended; the batch is sent again, by whoever called this.
    - Noted as started: its process is ended if it still runs, and the attempt is reported lost.
    - Pending in Redis, but neither: an agent in the sidecar's own process may have begun it, and so may a sidecar of
      this name with another folder, so it is lost too; a command of this folder was never started, so the order is
      handed back unharmed.
    """
    settling = {entry for note in journal.unsent() for entry in note.settled}
    effects: list[Effect] = []
    runs = journal.runs()
    async with anyio.create_task_group() as group:
        for note in runs:
            group.start_soon(runner.end_orphan, note.order, note.process)
    for note in runs:
        if note.entry in settling:
            journal.ended(note.entry)
        else:
            lost = Outcome("lost", "lost", "its sidecar was restarted while it ran")
            effects += machine.left_behind(note.entry, note.order, lost)
    starts = journal.starts()
    over = settling | {note.entry for note in runs}
    for entry in await store.take_over():
        if entry.id in over:
            continue
        order = decode_order(entry.body)
        if isinstance(order, Assign) and (runner.in_process or order.incarnation not in starts):
            lost = Outcome("lost", "lost", "its sidecar was restarted; it may have begun")
            effects += machine.left_behind(entry.id, order, lost)
        else:
            effects += machine.ordered(entry.id, order, clock())
    return effects
