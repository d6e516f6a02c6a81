"""Whether what was started works: a scheduler leads, and the sidecars have been heard."""

from __future__ import annotations

from collections.abc import Collection

import anyio

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import AWAY

POLL_S = 0.1


async def missing_after(store: ClientStore, agents: Collection[str], since_at: int, patience_s: float) -> list[str]:
    """Wait until all these agents were heard of since then, and somebody leads; what is still missing, in words."""
    missing = [f"agent {name}" for name in sorted(agents)]
    with anyio.move_on_after(patience_s):
        while True:
            try:
                missing = await _missing(store, agents, since_at)
            except AWAY as error:
                missing = [f"Redis ({error})"]
            if not missing:
                break
            await anyio.sleep(POLL_S)
    return missing


async def _missing(store: ClientStore, agents: Collection[str], since_at: int) -> list[str]:
    heard = {agent.name for agent in await store.agents() if agent.link == "online" and agent.seen_at >= since_at}
    missing = [f"agent {name}" for name in sorted(agents) if name not in heard]
    return missing if (await store.head()).leader else ["a leading scheduler", *missing]
