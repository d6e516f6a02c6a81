"""A pool in the middle of its work, that can be damaged anywhere: one agent that does only what it is told."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import anyio
from msgspec import Raw

from agentcom.broker.fsck_store import FsckStore
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.cli.fsck import Look, Mended, inspect, mend
from agentcom.client import Client
from agentcom.model.agent import Card
from agentcom.model.codec import decode_order, encode
from agentcom.model.lifecycle import ENDED
from agentcom.model.messages import Assign, Beat, Finished, Hello
from agentcom.model.task import Outcome, TaskSpec
from agentcom.settings import Policy
from tests.patience import PATIENCE_S
from tests.scheduler.harness import Pool, eventually, make_id

PATIENT = Policy(lease_s=1.0, retry_delays_s=(0.0,), sweep_s=0.1)
"""Nobody is thought dead while a test lasts, and a new leader need not be waited for."""

LOOK_AGAIN_S = 0.2


class Scene:
    """A pool with a task in each state.

    Attributes:
        tasks: `done`, `first` and `second` at the agent and delivered, `third` at the agent and not delivered, `queued`
            and `other` waiting, `blocked` waiting for `queued`.
        entries: of the orders of these, by name.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.redis = pool.redis
        self.names = pool.names
        self.tasks: dict[str, str] = {}
        self.entries: dict[str, str] = {}
        self.beats = 0
        self.incarnation = f"sc-{time.time_ns():020d}"
        self.sidecar = SidecarStore(pool.connections, pool.name, "oak", self.incarnation, pool.policy)
        self.store = FsckStore(pool.connections, pool.name, pool.policy)

    # ---------------------------------------------------------------- setting

    async def set(self) -> None:
        """With a leader that works: everything that the tests damage."""
        await self._hello()
        await self._submit("done")
        await eventually(lambda: self._has_orders(1))
        await self._work_off_once()
        await eventually(lambda: self._is("done", "completed"))
        await self._submit("first", "second", "third")
        await eventually(lambda: self._has_orders(3))
        for entry in await self.sidecar.read(2, 0):
            order = decode_order(entry.body)
            assert isinstance(order, Assign)
            self.entries[self._name(order.task)] = entry.id
        await self._submit("queued", "other", key="bound")
        await self._submit("blocked", after=(self.tasks["queued"],))
        await eventually(lambda: self._is("blocked", "blocked"))
        await eventually(self._at_rest)

    async def _hello(self) -> None:
        await self.sidecar.open()
        card = Card(slots=3, beat_s=30.0)
        await self.sidecar.finish([], [encode(Hello(agent="oak", incarnation=self.incarnation, card=card))])

    async def _submit(self, *names: str, key: str = "", **spec: Any) -> None:
        for name in names:
            self.tasks[name] = make_id()
            spec["key"] = f"{key}-{name}" if key else ""
            await self.pool.request([TaskSpec(id=self.tasks[name], text=name, **spec)])

    def _name(self, task: str) -> str:
        return next(name for name, id_ in self.tasks.items() if id_ == task)

    async def _has_orders(self, count: int) -> bool:
        return bool(await self.redis.xlen(self.names.orders("oak")) == count)

    async def _is(self, name: str, state: str) -> bool:
        return await self.pool.state_of(self.tasks[name]) == state

    async def _at_rest(self) -> bool:
        return not await self.redis.xlen(self.names.inbox) and not await self.redis.xlen(self.names.reports)

    # --------------------------------------------------------------- damaging

    def key(self, name: str) -> str:
        """The key of a task's record."""
        return self.names.task(self.tasks[name])

    async def rewrite(self, name: str, **changes: Any) -> None:
        """Change what a record says."""
        record = json.loads(await self.redis.get(self.key(name)))
        await self.redis.set(self.key(name), json.dumps(record | changes), keepttl=True)

    async def rewrite_agent(self, **changes: Any) -> None:
        """Change what the agent's record says."""
        record = json.loads(await self.redis.hget(self.names.agents, "oak"))
        await self.redis.hset(self.names.agents, "oak", json.dumps(record | changes))

    async def running(self) -> dict[str, str]:
        """What the agent's record lists."""
        found: dict[str, str] = json.loads(await self.redis.hget(self.names.agents, "oak")).get("running", {})
        return found

    async def order(self, agent: str = "oak", token: str = "7.strange", id_: str = "*") -> None:
        """An order that no scheduler wrote."""
        task = make_id()
        spec = Raw(encode(TaskSpec(id=task, text="x")))
        order = Assign(incarnation=self.incarnation, task=task, token=token, spec=spec, attempt=1, timeout_s=60.0)
        await self.redis.xadd(self.names.orders(agent), {"m": encode(order)}, id=id_)

    # ---------------------------------------------------------------- looking

    async def look(self) -> Look:
        return await inspect(self.store, LOOK_AGAIN_S)

    async def kinds(self) -> set[str]:
        return {one.kind for one in (await self.look()).found}

    async def repair(self, before: Look) -> Mended:
        async with Client(self.pool.url, self.pool.name) as client:
            return await mend(client, self.store, before, LOOK_AGAIN_S)

    # ---------------------------------------------------------------- working

    async def work_off(self) -> None:
        """The agent does whatever it has and gets, until nothing is open."""
        with anyio.fail_after(PATIENCE_S):
            while await self.redis.zcard(self.names.open) or not await self._at_rest():
                await self.sidecar.open()
                await self._work_off_once()
                await self._beat()
                await anyio.sleep(0.02)

    async def _beat(self) -> None:
        """Between two looks at its orders it has nothing: what was taken from it does not run."""
        self.beats += 1
        beat = Beat(agent="oak", incarnation=self.incarnation, count=self.beats, at=self.beats, state="idle")
        await self.sidecar.beat(beat, 30.0)

    async def _work_off_once(self) -> None:
        await self.sidecar.read(10, 0)
        for entry in await self.sidecar.entries(await self.sidecar.pending()):
            order = decode_order(entry.body)
            reports = [] if isinstance(order, str) else [self._report(order.task, order.token, order)]
            await self.sidecar.finish([entry.id], reports)

    def _report(self, task: str, token: str, order: object) -> bytes:
        result = Outcome("completed") if isinstance(order, Assign) else Outcome("lost", "lost")
        return encode(Finished(agent="oak", incarnation=self.incarnation, task=task, token=token, outcome=result))

    async def states(self) -> Counter[str]:
        """How everything ended, of which there is a record."""
        records = await self.pool.client.records(list(self.tasks.values()))
        records = {task: record for task, record in records.items() if record.spec.id == task}
        assert all(record.state in ENDED for record in records.values())
        return Counter(record.state for record in records.values())
