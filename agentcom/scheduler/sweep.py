"""Takes orders back from agents that went silent: first what they never read, then, by XCLAIM with a minimum idle time,
what they did. Only what was really got becomes an event. Bounded per round; the cursor goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentcom.broker.connection import TROUBLE
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.broker.streams import Entry
from agentcom.model.agent import MAX_SLOTS
from agentcom.model.codec import decode_order
from agentcom.model.messages import Assign
from agentcom.scheduler.events import Emptied, Reclaimed
from agentcom.settings import Policy

ORDERS_PER_LOOK = 200
"""Orders of one agent, and as many that it never read."""

ORDERS_PER_ROUND = 1_000
AGENTS_PER_LOOK = 100


class Sweep:
    """Remembers how far it came in each silent agent's stream.

    Args:
        store: where the streams are.
        policy: says for how long an agent may be silent.
        on_trouble: called with what Redis answers instead of a stream, such as that one is damaged: what it does not
            raise is no reason to leave the other agents' work with them.
    """

    def __init__(self, store: SchedulerStore, policy: Policy, on_trouble: Callable[[Exception], None]) -> None:
        self._store = store
        self._on_trouble = on_trouble
        self._idle_ms = int(policy.beat_s * policy.stale_beats * 1000)
        self._cursors: dict[str, str] = {}
        self._empty: set[str] = set()
        self._turn = 0

    async def look(self, silent: Sequence[str]) -> list[Reclaimed | Emptied]:
        """Look into the streams of these agents, in turn, until `AGENTS_PER_LOOK` or enough orders were looked at."""
        still_silent = self._cursors.keys() & set(silent)
        self._cursors = {agent: self._cursors[agent] for agent in still_silent}
        self._empty &= still_silent
        start = self._turn % len(silent) if silent else 0
        found: list[Reclaimed | Emptied] = []
        for agent in (*silent[start:], *silent[:start])[:AGENTS_PER_LOOK]:
            try:
                found += await self._look_into(agent)
            except TROUBLE as error:
                self._on_trouble(error)
            self._turn = start = start + 1
            if len(found) >= ORDERS_PER_ROUND:
                break
        return found

    async def left_over(self, agents: Sequence[str]) -> list[Reclaimed]:
        """What an earlier leader claimed, and ended before it could commit: also of agents that are back by now."""
        claimed = await self._store.already_claimed(agents, MAX_SLOTS)
        return [Reclaimed(agent, entry.id, _token_of(entry)) for agent in claimed for entry in claimed[agent]]

    async def _look_into(self, agent: str) -> list[Reclaimed | Emptied]:
        undelivered = await self._store.take_undelivered(agent, ORDERS_PER_LOOK)
        cursor = self._cursors.get(agent, "-")
        stuck, self._cursors[agent] = await self._store.claim_stuck(agent, self._idle_ms, cursor, ORDERS_PER_LOOK)
        entries = {entry.id: entry for entry in (*undelivered, *stuck)}
        if entries:
            return [Reclaimed(agent, entry.id, _token_of(entry)) for entry in entries.values()]
        if cursor != "-" or await self._store.holds_orders(agent):
            self._empty.discard(agent)
            return []
        if agent in self._empty:
            return [Emptied(agent)]
        # Its last report may have settled the order just now, and not been read yet: the next look decides.
        self._empty.add(agent)
        return []


def _token_of(entry: Entry) -> str:
    order = decode_order(entry.body)
    return order.token if isinstance(order, Assign) else ""
