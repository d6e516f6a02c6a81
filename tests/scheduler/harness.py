"""A pool on a real server in a few words: schedulers, agents that do as they are told, submitters, and a judge."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream
from msgspec import Raw

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import Connections
from agentcom.broker.keys import Keys
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.broker.streams import Entry
from agentcom.ids import IdMaker
from agentcom.model.agent import Card
from agentcom.model.codec import decode_order, encode
from agentcom.model.lifecycle import ENDED, allowed
from agentcom.model.messages import Accepted, Assign, Beat, Finished, Hello, Line, Refusal, Submit
from agentcom.model.task import Outcome, TaskSpec
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import Policy
from tests.patience import PATIENCE_S

QUICK = Policy(
    lease_s=6.0, beat_s=0.5, beat_offset_s=0.1, stale_beats=3, agent_down_s=2.0, sweep_s=0.1, retry_delays_s=(0.0,)
)

make_id = IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom).make


class Pool:
    """One pool. Each test has its own on a server that they share."""

    def __init__(self, url: str, name: str, policy: Policy = QUICK) -> None:
        self.url = url
        self.name = name
        self.policy = policy
        self.names = Keys(name)
        self.connections = Connections(url)
        self.redis: Any = self.connections.commands
        self.client = ClientStore(self.connections, name)

    # ---------------------------------------------------------- submitting

    async def submit(self, count: int = 1, **spec: Any) -> list[str]:
        """Submit tasks, one request each; their ids."""
        ids = [make_id() for _ in range(count)]
        await self.request([TaskSpec(id=id_, text="do it", **spec) for id_ in ids])
        return ids

    async def request(self, specs: Sequence[TaskSpec]) -> list[str]:
        return await self.client.request([Submit(tasks=[Raw(encode(spec))]) for spec in specs])

    async def state_of(self, task: str) -> str:
        record = (await self.client.records([task])).get(task)
        return record.state if record else ""

    async def states(self, tasks: Sequence[str]) -> Counter[str]:
        return Counter(record.state for record in (await self.client.records(tasks)).values())

    async def refusal(self, entry: str) -> Refusal:
        """Why an entry was refused, once it was."""
        await eventually(lambda: self.client.refusals(entry))
        refusals = await self.client.refusals(entry)
        assert refusals is not None
        assert len(refusals) == 1
        return refusals[0]

    async def all_completed(self, tasks: Sequence[str]) -> bool:
        return await self.states(tasks) == Counter(completed=len(tasks))

    # ------------------------------------------------------------- judging

    async def lines(self) -> list[Line]:
        """The whole journal."""
        return [line for _, lines in await self.client.journal_tail(1_000_000) for line in lines]

    async def said(self, trigger: str) -> list[str]:
        return [line.detail for line in await self.lines() if line.trigger == trigger]

    async def judge(self, tasks: Sequence[str]) -> None:
        """Every task ended exactly once, by steps that the lifecycle has, and was never with two agents at a time."""
        ended: Counter[str] = Counter()
        state = dict.fromkeys(tasks, "submitted")
        generation = dict.fromkeys(tasks, 0)
        for line in await self.lines():
            if line.what != "task" or line.task not in state:
                continue
            assert line.before == state[line.task], line
            assert allowed(line.before, line.after), line  # type: ignore[arg-type]
            if line.after == "assigned":
                assert line.generation == generation[line.task] + 1, line
                generation[line.task] = line.generation
            state[line.task] = line.after
            ended[line.task] += line.after in ENDED
        assert ended == Counter(tasks), "each ended exactly once"
        assert await self.redis.zcard(self.names.open) == 0


class Agent:
    """An agent that completes what it is given, as long as it is alive."""

    def __init__(self, pool: Pool, name: str, slots: int = 10, *, works: bool = True) -> None:
        self.name = name
        self.incarnation = f"sc-{time.time_ns():020d}"
        self.slots = slots
        self.works = works
        self.got: list[Assign] = []
        self.entries: list[str] = []
        self.running: dict[str, str] = {}
        self.beats = True
        self._store = SidecarStore(pool.connections, pool.name, name, self.incarnation, pool.policy)
        self._pool = pool

    async def hello(self) -> None:
        await self._store.open()
        card = Card(slots=self.slots, beat_s=self._pool.policy.beat_s)
        await self._store.finish([], [encode(Hello(agent=self.name, incarnation=self.incarnation, card=card))])

    async def run(self) -> None:
        await patiently(self.hello)
        # It reads on while it works: its beats name whatever it was given.
        work, given = anyio.create_memory_object_stream[tuple[str, Assign]](math.inf)
        async with anyio.create_task_group() as group, work, given:
            group.start_soon(self._beat)
            group.start_soon(self._work, given)
            while True:
                read = await patiently(lambda: self._store.read(self.slots, 50))
                for entry in read or await patiently(self._undelivered):
                    order = decode_order(entry.body)
                    self.entries.append(entry.id)
                    if isinstance(order, Assign):
                        self.got.append(order)
                        self.running[order.token] = order.task
                        work.send_nowait((entry.id, order))

    async def _work(self, orders: MemoryObjectReceiveStream[tuple[str, Assign]]) -> None:
        async for entry, order in orders:
            if self.works:
                await self.finish(entry, order)

    async def _undelivered(self) -> list[Entry]:
        """Orders of whose delivery the reply was lost."""
        pending = await self._store.pending()
        return await self._store.entries([entry for entry in pending if entry not in self.entries])

    async def finish(self, entry: str, order: Assign) -> None:
        outcome = Outcome("completed")
        report = Finished(
            agent=self.name, incarnation=self.incarnation, task=order.task, token=order.token, outcome=outcome
        )
        await patiently(lambda: self._store.finish([entry], [encode(report)]))
        self.running.pop(order.token, None)

    async def accept(self, order: Assign) -> None:
        report = Accepted(agent=self.name, incarnation=self.incarnation, task=order.task, token=order.token)
        await self._store.finish([], [encode(report)])

    async def _beat(self) -> None:
        count = 0
        while True:
            if self.beats:
                count += 1
                beat = Beat(
                    agent=self.name,
                    incarnation=self.incarnation,
                    count=count,
                    at=1,
                    state="working" if self.running else "idle",
                    running=dict(self.running),
                )
                await patiently(lambda: self._store.beat(beat, self._pool.policy.beat_s))  # noqa: B023
                await patiently(lambda: self._store.renew(self.entries))
            await anyio.sleep(self._pool.policy.beat_s)


class Scheduler:
    """A scheduler in this process, with connections of its own."""

    def __init__(self, pool: Pool) -> None:
        self.connections = Connections(pool.url)
        self.service = SchedulerService(self.connections, pool.name, pool.policy)
        self.store: Any = self.service._store
        self.terms = 0
        self.leads = anyio.Event()
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()

    async def run(self) -> None:
        try:
            with self._scope:
                await self.service.run(self._led)
        finally:
            with anyio.CancelScope(shield=True):
                await self.connections.close()
            self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()

    def _led(self) -> None:
        self.terms += 1
        self.leads.set()


@asynccontextmanager
async def at_work() -> AsyncIterator[TaskGroup]:
    """A task group that ends with its body."""
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


@asynccontextmanager
async def leading(pool: Pool, group: TaskGroup) -> AsyncIterator[Scheduler]:
    """A scheduler that leads."""
    scheduler = await start(pool, group)
    with anyio.fail_after(PATIENCE_S):
        await scheduler.leads.wait()
    yield scheduler


async def start(pool: Pool, group: TaskGroup) -> Scheduler:
    scheduler = Scheduler(pool)
    group.start_soon(scheduler.run)
    return scheduler


async def eventually(holds: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    with anyio.fail_after(within_s):
        while not await holds():
            await anyio.sleep(0.02)


async def patiently(action: Callable[[], Any]) -> Any:
    """What a test's own agents and submitters do when the server is away: ask again."""
    while True:
        try:
            return await action()
        except Exception:
            await anyio.sleep(0.05)
