"""Agents that cannot be woken, with a real scheduler: the task goes to another agent, and the broken one is marked."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import Connections
from agentcom.broker.embedded import EmbeddedServer
from agentcom.broker.keys import Keys
from agentcom.ids import new_id
from agentcom.model.agent import AgentRecord
from agentcom.model.codec import decode_agent, decode_record, encode
from agentcom.model.messages import Submit
from agentcom.model.task import ReadRecord, TaskSpec
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import AgentSettings, Policy
from agentcom.sidecar.card import card_of
from agentcom.sidecar.runners.command import CommandRunner
from agentcom.sidecar.service import SidecarService
from tests.sidecar.harness import until

pytestmark = [pytest.mark.process, pytest.mark.pitfall_7]

POLICY = Policy(
    accept_s=2.5,
    accept_report_s=0.1,
    beat_s=0.2,
    beat_offset_s=0.0,
    agent_down_s=5.0,
    retry_delays_s=(0.0,),
    retry_jitter=0.0,
    breaker_s=60.0,
    grace_s=0.3,
    drain_s=0.3,
    sweep_s=0.2,
    disk_free_bytes=0,
)

WELL = ("sh", "-c", "echo I am here; exit 0")


class Pool:
    """A real scheduler with two agents: `broken`, which tasks prefer, and `well`."""

    def __init__(self, url: str, name: str, folder: Path) -> None:
        self._url = url
        self._name = name
        self._folder = folder
        self._keys = Keys(name)
        self.connections = Connections(url)

    @asynccontextmanager
    async def running(self, *broken: str) -> AsyncIterator[None]:
        closing = [self.connections]

        def connected() -> Connections:
            closing.append(Connections(self._url, one_reader=True))
            return closing[-1]

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(SchedulerService(connected(), self._name, POLICY).run)
                for agent, command in (("broken", broken), ("well", WELL)):
                    group.start_soon(self._sidecar(connected(), agent, command).run)
                for agent in ("broken", "well"):
                    await until(partial(self.agent, agent))
                yield
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                for connections in closing:
                    await connections.close()

    def _sidecar(self, connections: Connections, agent: str, command: tuple[str, ...]) -> SidecarService:
        folder = self._folder / agent
        runner = CommandRunner(agent, AgentSettings(command=command), folder, os.environ, POLICY)
        attributes: dict[str, Any] = {"first": 2 if agent == "broken" else 0}
        card = card_of(attributes, slots=1, accepts="", context_tokens=0, runner="command", version="test")
        return SidecarService(connections, self._name, agent, card, runner, folder, POLICY)

    async def submit(self) -> str:
        spec = TaskSpec(id=new_id(time.time_ns() // 1_000_000, os.urandom), text="do it", prefer="first >= 1")
        body = encode(Submit(tasks=[Raw(encode(spec))]))
        await self.connections.commands.xadd(self._keys.inbox, {"m": body})
        return spec.id

    async def ended(self, task: str) -> ReadRecord:
        async def over() -> ReadRecord | None:
            body = await self.connections.commands.get(self._keys.task(task))
            record = decode_record(body) if body else None
            return record if record is not None and record.ended_at else None

        found: ReadRecord = await until(over)
        return found

    async def healths(self, name: str) -> list[str]:
        """What its health was found to be, but for when it was well."""
        lines = [
            line for _, said in await ClientStore(self.connections, self._name).journal_tail(1_000) for line in said
        ]
        return [
            line.after for line in lines if (line.agent, line.axis) == (name, "health") and line.after != "available"
        ]

    async def agent(self, name: str) -> AgentRecord | None:
        body: Any = await self.connections.commands.hget(self._keys.agents, name)
        return decode_agent(body) if body else None


@pytest.fixture
def running_pool(server: EmbeddedServer, pool: str, tmp_path: Path) -> Pool:
    return Pool(server.url, pool, tmp_path)


FAILING = {
    "it exits 1": (("sh", "-c", "exit 1"), "exit_code", False),
    "it hangs without a sign of life": (("sleep", "60"), "accept_timeout", True),
    "it starts a child and says nothing": (("sh", "-c", "sleep 60 & wait"), "accept_timeout", True),
    "it is set up wrongly, as it says": (("sh", "-c", "echo no key; exit 78"), "misconfigured", True),
}


@pytest.mark.parametrize(("command", "reason", "degraded"), FAILING.values(), ids=FAILING.keys())
async def test_a_wake_in_vain_is_made_good_by_another_agent(
    running_pool: Pool, command: tuple[str, ...], reason: str, degraded: bool
):
    async with running_pool.running(*command):
        record = await running_pool.ended(await running_pool.submit())
        first, second = record.attempts
        assert (first.agent, second.agent, record.state) == ("broken", "well", "completed")
        assert first.outcome is not None
        assert (first.outcome.result, first.outcome.reason) == ("failed", reason)
        broken = await running_pool.agent("broken")
        assert broken is not None
        assert broken.strikes == 1
        # Its next self-test may have brought it back by now.
        assert await running_pool.healths("broken") == ["degraded"] * degraded

        async def let_go() -> bool:
            agent = await running_pool.agent("broken")
            return agent is not None and not agent.running

        await until(let_go)


async def test_three_tasks_in_a_row_that_it_fails_degrade_an_agent(running_pool: Pool):
    async with running_pool.running("sh", "-c", "exit 1"):
        for _ in range(3):
            record = await running_pool.ended(await running_pool.submit())
            assert [attempt.agent for attempt in record.attempts] == ["broken", "well"]
        broken = await running_pool.agent("broken")
        assert broken is not None
        assert broken.health == "degraded"
        record = await running_pool.ended(await running_pool.submit())
        assert [attempt.agent for attempt in record.attempts] == ["well"]


async def test_an_agent_without_its_program_is_known_to_be_degraded_before_anything_is_given_to_it(running_pool: Pool):
    async with running_pool.running("no-such-program-anywhere"):
        record = await running_pool.ended(await running_pool.submit())
        assert [attempt.agent for attempt in record.attempts] == ["well"]
        broken = await running_pool.agent("broken")
        assert broken is not None
        assert broken.health == "degraded"
        assert broken.health_why.startswith("the agent cannot be woken: there is no program 'no-such-program-anywhere'")


async def test_exit_0_without_a_word_is_taken_for_done(running_pool: Pool):
    """Its end is its sign of life. What it did is for its result, and later for a verification, to say."""
    async with running_pool.running("true"):
        record = await running_pool.ended(await running_pool.submit())
        [attempt] = record.attempts
        assert (attempt.agent, record.state) == ("broken", "completed")
        assert attempt.outcome is not None
        assert (attempt.outcome.exit_code, attempt.outcome.summary) == (0, "")


async def test_an_agent_that_shows_life_once_may_then_be_silent_for_as_long_as_it_likes(running_pool: Pool):
    async with running_pool.running("sh", "-c", "echo starting; sleep 2.5"):
        record = await running_pool.ended(await running_pool.submit())
        [attempt] = record.attempts
        assert (attempt.agent, record.state) == ("broken", "completed")
        assert attempt.accepted_at
