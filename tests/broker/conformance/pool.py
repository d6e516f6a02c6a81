"""A pool in a few words: what these tests write and look at, over and over again."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from agentcom.broker.commit import Fence
from agentcom.broker.connection import Connections
from agentcom.broker.keys import Keys
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.codec import encode
from agentcom.model.commit import Commit, OrderOut
from agentcom.model.lifecycle import TaskState
from agentcom.model.messages import Assign
from agentcom.model.task import CarriedRecord, TaskRecord, TaskSpec
from agentcom.settings import Policy


class Pool:
    def __init__(self, connections: Connections, store: SchedulerStore, policy: Policy, names: Keys) -> None:
        self.redis: Any = connections.commands
        self.connections = connections
        self.store = store
        self.policy = policy
        self.names = names

    async def lead(self, owner: str = "leader") -> Fence:
        fence = await self.store.lead(owner)
        assert fence is not None
        fence.seq = (await self.store.head()).seq
        return fence

    async def commit(self, fence: Fence, **parts: Any) -> str:
        """Commit, and go on from there."""
        reply = await self.store.commit(self.store.encode(Commit(**parts), fence))
        fence.seq += reply in ("done", "repeated")
        return reply

    async def everything(self) -> dict[str, Any]:
        """All keys but the leader's lease, with what they hold: to see that nothing was written."""
        found: dict[str, Any] = {}
        for key in sorted([key.decode() async for key in self.redis.scan_iter()]):
            if key != self.names.leader:
                found[key] = await self._value(key)
        return found

    async def _value(self, key: str) -> Any:
        kind = (await self.redis.type(key)).decode()
        match kind:
            case "string":
                return await self.redis.get(key)
            case "hash":
                return await self.redis.hgetall(key)
            case "zset":
                return await self.redis.zrange(key, 0, -1, withscores=True)
            case "stream":
                return await self.redis.xrange(key)
        raise AssertionError(kind)

    def sidecar(self, incarnation: str = "sc-1", agent: str = "oak") -> SidecarStore:
        return SidecarStore(self.connections, "p", agent, incarnation, self.policy)

    async def order(self, count: int = 1, agent: str = "oak") -> list[str]:
        """Orders in an agent's stream."""
        body = assign_body()
        return [(await self.redis.xadd(self.names.orders(agent), {"m": body})).decode() for _ in range(count)]

    async def pending(self, agent: str = "oak") -> dict[str, str]:
        """Whose each pending order is."""
        rows = await self.redis.xpending_range(self.names.orders(agent), "sidecar", "-", "+", 10_000)
        return {row["message_id"].decode(): row["consumer"].decode() for row in rows}


def assign_body(task: str = "t1", token: str = "1.n", incarnation: str = "sc-1") -> bytes:
    spec = Raw(encode(TaskSpec(id=task, text="do it")))
    return encode(Assign(incarnation=incarnation, task=task, token=token, spec=spec, attempt=1, timeout_s=60.0))


def record(task: str, state: TaskState = "queued", seq: int = 1) -> CarriedRecord:
    spec = Raw(encode(TaskSpec(id=task, text="do it")))
    return TaskRecord(spec=spec, seq=seq, state=state, submitted_at=1, changed_at=1)


def agent(name: str = "oak") -> AgentRecord:
    return AgentRecord(name=name, incarnation="sc-1", card=Card())


def order_out(name: str = "oak") -> OrderOut:
    return OrderOut(name, assign_body())
