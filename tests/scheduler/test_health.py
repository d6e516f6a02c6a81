"""What a leader knows of when something happened on another machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentcom.model.agent import AgentRecord
from agentcom.model.codec import decode_agent, decode_order, encode
from agentcom.model.messages import Assign, Beat, Finished, SelfTest
from agentcom.model.task import Outcome
from tests.scheduler.harness import Agent, Pool, at_work, eventually, leading

pytestmark = pytest.mark.process


@pytest.mark.pitfall_7
async def test_a_beat_that_lay_there_when_the_agent_failed_proves_nothing(make_pool: Callable[..., Pool]) -> None:
    """Beats are read every second here, reports at once."""
    pool = make_pool(beat_s=2.0, retry_delays_s=(60.0,))

    async def record() -> AgentRecord:
        return decode_agent(await pool.redis.hget(pool.names.agents, "oak"))

    async def beat_is_heard() -> bool:
        return (await record()).tests == 1

    async with at_work() as group, leading(pool, group):
        agent = Agent(pool, "oak")
        await agent.hello()
        await pool.submit(1)
        [entry] = await agent._store.read(1, 10_000)
        order = decode_order(entry.body)
        assert isinstance(order, Assign)
        said = {"agent": "oak", "incarnation": agent.incarnation}
        healthy = SelfTest(count=1, at=1)
        await agent._store.beat(Beat(**said, count=1, at=1, state="idle", test=healthy), 2.0)
        failed = Outcome("failed", "wake_failed")
        report = Finished(**said, task=order.task, token=order.token, outcome=failed)
        await agent._store.finish([entry.id], [encode(report)])
        await eventually(beat_is_heard)
        assert (await record()).health == "degraded"
