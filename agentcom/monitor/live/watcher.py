"""Looks at a pool again and again, for the screen: two trips to Redis a look, each bounded however large the pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agentcom.broker.connection import Connections
from agentcom.broker.monitor_store import MonitorStore, Overview
from agentcom.broker.watching import Extras, Wanted
from agentcom.diagnosis import Snapshot, diagnose
from agentcom.model.task import ReadRecord
from agentcom.monitor.live.costs import Known, costs_of, fields
from agentcom.monitor.live.history import HOUR_MS, History, Totals
from agentcom.monitor.live.picture import TASK, Opened, Picture
from agentcom.monitor.pool_view import most_telling
from agentcom.monitor.readable import Readable
from agentcom.monitor.reading import Bounds, look_closely
from agentcom.settings import Settings

BOUNDS = Bounds(tasks=300, agents=200, orders=20, entries=100)
RECALLED = 2_000
"""Entries of the journal that are read back once, for the last hour."""

OUTPUT_LINES = 200
OTHERS_MAX = 100


class Watcher:
    """Remembers the last hour.

    Args:
        connections: to Redis.
        settings: which pool, and what is expected of it.
        clock: Unix time in ms.
    """

    def __init__(self, connections: Connections, settings: Settings, clock: Callable[[], int]) -> None:
        self._connections = connections
        self._settings = settings
        self._clock = clock
        self._store = MonitorStore(connections, settings.pool)
        self._history = History()

    async def look(self, opened: str = "") -> Picture:
        """What the pool is like now; `opened` is the subject whose page is open. Raises what redis-py raises when Redis
        is away."""
        task = opened.removeprefix(TASK) if opened.startswith(TASK) else ""

        def wanted(seen: Overview) -> Wanted:
            now = seen.server_at or self._clock()
            asked = (agent.name for agent in most_telling(seen.agents, BOUNDS.agents))
            return Wanted((task,) if task else (), task, costs=fields(now, asked))

        settings = self._settings
        snapshot, extras = await look_closely(self._connections, settings.pool, BOUNDS, wanted)
        costs = costs_of(extras.costs)
        await self._remember(snapshot, costs)
        down_s = settings.alerts.agent_down_s
        findings = diagnose(snapshot, settings.policy, self._clock(), agent_down_s=down_s)
        opened_now = Opened(await self._with_others(extras), tuple(_lines(extras)))
        return Picture(snapshot, findings, settings.policy, self._history, costs, opened_now)

    async def _with_others(self, extras: Extras) -> dict[str, ReadRecord]:
        """The record of the open page, and of what its task comes after."""
        after = [other for record in extras.records.values() for other in record.spec.after[:OTHERS_MAX]]
        return extras.records | (await self._store.records(after) if after else {})

    async def _remember(self, snapshot: Snapshot, costs: Known) -> None:
        now = _totals(snapshot, costs)
        if self._history.is_behind(now.at):
            lines, whole = await self._store.lines_since(now.at - HOUR_MS, RECALLED)
            self._history.recall(now, lines, whole=whole)
        self._history.add(now)


def _totals(snapshot: Snapshot, costs: Known) -> Totals:
    running = sum(len(agent.running) for agent in snapshot.agents)
    return Totals(
        snapshot.at,
        max(0, snapshot.open - running),
        sum(agent.completed for agent in snapshot.agents),
        sum(agent.failed for agent in snapshot.agents),
        costs.total.usage.tokens if costs.total is not None else None,
    )


def _lines(extras: Extras) -> Iterable[str]:
    """What the last attempt printed, line by line, safe to print."""
    last = extras.output[-1][0] if extras.output else 0
    readable = Readable()
    printed = "".join(readable.feed(body) for attempt, body in extras.output if attempt == last)
    return (printed + readable.flush()).expandtabs(4).splitlines()[-OUTPUT_LINES:]
