"""Takes a snapshot of a pool: two trips to Redis, each bounded, however large the pool is."""

from __future__ import annotations

import time

from agentcom.broker.connection import Connections
from agentcom.broker.monitor_store import MonitorStore, OrderRow
from agentcom.model.agent import AgentRecord
from agentcom.model.lifecycle import ENDED
from agentcom.monitor.snapshot import Order, Snapshot

TASKS_MAX = 500
AGENTS_MAX = 500
ORDERS_MAX = 100
"""Of one agent."""

JOURNAL_ENTRIES = 20


async def look(connections: Connections, pool: str) -> Snapshot:
    """What the pool is like now. Raises what redis-py raises when Redis is away."""
    store = MonitorStore(connections, pool)
    started_s = time.perf_counter()
    seen = await store.overview(TASKS_MAX, JOURNAL_ENTRIES)
    latency_ms = (time.perf_counter() - started_s) * 1000
    agents = _most_telling(seen.agents)
    running = [task for agent in agents for task in agent.running.values()][:TASKS_MAX]
    tasks = list(dict.fromkeys([*running, *seen.open_ids]))
    details = await store.details(tasks, [agent.name for agent in agents], ORDERS_MAX)
    return Snapshot(
        at=time.time_ns() // 1_000_000,
        pool=pool,
        latency_ms=latency_ms,
        leader=seen.head.leader,
        epoch=seen.head.epoch,
        seq=seen.head.seq,
        inbox=seen.head.inbox,
        reports=seen.head.reports,
        open=seen.head.open,
        dead=seen.head.dead,
        agents=agents,
        agents_total=len(seen.agents),
        beats=details.beats,
        tasks=[record for record in details.records.values() if record.state not in ENDED],
        orders=[_order(row) for row in details.orders],
        lines=seen.lines,
    )


def _most_telling(agents: list[AgentRecord]) -> list[AgentRecord]:
    """By name; of very many, those that work, and then those that are not offline."""
    kept = sorted(agents, key=lambda agent: (not agent.running, agent.link == "offline"))[:AGENTS_MAX]
    return sorted(kept, key=lambda agent: agent.name)


def _order(row: OrderRow) -> Order:
    ordered_at = int(row.entry.partition("-")[0])
    return Order(row.agent, row.entry, ordered_at, row.task, row.consumer, row.idle_ms, row.deliveries)
