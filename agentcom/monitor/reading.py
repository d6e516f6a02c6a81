"""Takes a snapshot of a pool: two trips to Redis, each bounded, however large the pool is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from msgspec import Struct

from agentcom.broker.connection import Connections
from agentcom.broker.monitor_store import MonitorStore, OrderRow, Overview
from agentcom.broker.watching import Extras, Wanted
from agentcom.diagnosis.snapshot import Order, Snapshot, server_of
from agentcom.model.lifecycle import ENDED
from agentcom.monitor.pool_view import LETTERS_MAX, most_telling, still_dead

TIME = re.compile(r"[0-9]{1,15}")


class Bounds(Struct, frozen=True):
    """How much of a pool one look reads, however large it is.

    Attributes:
        tasks: open tasks, the oldest ones; those that run come first.
        agents: of more agents, only those that have most to tell are asked for beat and orders.
        orders: of one agent.
        entries: of the journal's end.
    """

    tasks: int = 500
    agents: int = 500
    orders: int = 100
    entries: int = 20


BOUNDS = Bounds()


async def look(connections: Connections, pool: str, bounds: Bounds = BOUNDS) -> Snapshot:
    """What the pool is like now. Raises what redis-py raises when Redis is away."""
    snapshot, _ = await look_closely(connections, pool, bounds, lambda _: Wanted())
    return snapshot


async def look_closely(
    connections: Connections, pool: str, bounds: Bounds, wanted: Callable[[Overview], Wanted]
) -> tuple[Snapshot, Extras]:
    """What the pool is like now, and what else is wanted once the pool is known. Raises as `look` does."""
    store = MonitorStore(connections, pool)
    started_at = _wall_ms()
    seen = await store.overview(bounds.tasks, bounds.entries, LETTERS_MAX)
    asked = most_telling(seen.agents, bounds.agents)
    running = [task for agent in asked for task in agent.running.values()][: bounds.tasks]
    dead = [letter.task for letter in seen.letters]
    tasks = list(dict.fromkeys([*running, *seen.open_ids, *dead]))
    names = [agent.name for agent in asked]
    details = await store.details(tasks, running, names, bounds.orders, wanted(seen))
    snapshot = Snapshot(
        at=started_at + int(seen.took_ms / 2),
        pool=pool,
        latency_ms=seen.took_ms,
        leader=seen.head.leader,
        epoch=seen.head.epoch,
        seq=seen.head.seq,
        inbox=seen.head.inbox,
        reports=seen.head.reports,
        open=seen.head.open,
        dead=seen.head.dead,
        agents=seen.agents,
        beats=details.beats,
        beat_left_ms=details.beat_left_ms,
        tasks=[record for record in details.records.values() if record.state not in ENDED],
        orders=[_order(row) for row in details.orders],
        lines=seen.lines,
        server=server_of(seen.server),
        server_at=seen.server_at,
        signs=_signs(seen),
        inbox_since_at=details.inbox_since_at,
        reports_since_at=details.reports_since_at,
        letters=still_dead(seen.letters, details.records),
        letters_from_at=seen.letters[-1].at if len(seen.letters) == LETTERS_MAX else 0,
        printed_at=details.printed_at,
        admitted=seen.head.admitted,
        asked=len(asked),
    )
    return snapshot, details.extras


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _signs(seen: Overview) -> dict[str, int]:
    return {name: int(at) if TIME.fullmatch(at) else 0 for name, at in seen.head.signs.items()}


def _order(row: OrderRow) -> Order:
    ordered_at = int(row.entry.partition("-")[0])
    return Order(row.agent, row.entry, ordered_at, row.task, row.consumer, row.idle_ms, row.deliveries, row.reclaimed)
