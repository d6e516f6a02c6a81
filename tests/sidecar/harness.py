"""What the tests of the sidecar share: orders as the scheduler writes them, and a scheduler by hand."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from msgspec import Raw
from redis.asyncio import Redis

from agentcom.broker.connection import Connections
from agentcom.broker.keys import ORDERS_GROUP, SWEEPER, Keys
from agentcom.broker.streams import text
from agentcom.ids import new_id, nonce
from agentcom.model.codec import decode_beat, decode_report, encode
from agentcom.model.messages import Accepted, AnyReport, Ask, Assign, Beat, Finished, Hello, Stop
from agentcom.model.task import TaskSpec
from agentcom.settings import AgentSettings, Policy
from agentcom.sidecar.card import card_of
from agentcom.sidecar.runners.base import Runner
from agentcom.sidecar.runners.command import CommandRunner
from agentcom.sidecar.runners.python import Handler, PythonRunner
from agentcom.sidecar.service import SidecarService
from tests.patience import PATIENCE_S

POLICY = Policy(beat_s=0.3, beat_offset_s=0.0, accept_report_s=0.25, grace_s=0.5, drain_s=1.0, output_bytes=65_536)
"""Quick enough for tests, and else like the real one."""


def assign(incarnation: str, text: str = "do it", *, timeout_s: float = 60.0, **others: Any) -> Assign:
    """An order to work on a new task."""
    spec = TaskSpec(id=new_id(int(time.time() * 1000), os.urandom), text=text)
    token = f"1.{nonce(os.urandom)}"
    fields = {"task": spec.id, "token": token, "spec": Raw(encode(spec)), "attempt": 1} | others
    return Assign(incarnation=incarnation, timeout_s=timeout_s, **fields)


def stop(order: Assign, why: str = "canceled by its submitter") -> Stop:
    """An order to end what was assigned by another."""
    return Stop(incarnation=order.incarnation, task=order.task, token=order.token, why=why)


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = PATIENCE_S) -> Any:
    """Wait until this is true, and return what it is."""
    with anyio.move_on_after(within_s):
        while True:
            found = await condition()
            if found:
                return found
            await anyio.sleep(0.01)
    raise AssertionError(f"not within {within_s} s: {await condition()!r}")


def python(handler: Handler) -> PythonRunner:
    return PythonRunner(handler)


def command(folder: Path, *argv: str, policy: Policy = POLICY) -> CommandRunner:
    return CommandRunner("oak", AgentSettings(command=argv), folder, os.environ, policy)


def service_of(
    connections: Connections,
    pool: str,
    folder: Path,
    runner: Runner,
    *,
    slots: int = 2,
    policy: Policy = POLICY,
    pulse: Callable[[], None] = lambda: None,
) -> SidecarService:
    kind = "python" if runner.in_process else "command"
    card = card_of({}, slots=slots, accepts="", context_tokens=0, runner=kind, version="test")
    return SidecarService(connections, pool, "oak", card, runner, folder, policy, pulse=pulse)


class Sidecar:
    """A sidecar that works in this process, and the desk of its scheduler."""

    def __init__(self, service: SidecarService, desk: Desk) -> None:
        self.service = service
        self.desk = desk
        self.incarnation = ""
        self.ended = anyio.Event()
        self.error: Exception | None = None

    async def run(self) -> None:
        try:
            await self.service.run()
        except Exception as error:
            self.error = error
        finally:
            self.ended.set()

    async def order(self, text: str = "do it", **others: Any) -> Assign:
        """Order a new task; its entry is the sidecar's only one if it is the first."""
        order = assign(self.incarnation, text, **others)
        await self.desk.order(order)
        return order

    async def stop(self, within_s: float = PATIENCE_S) -> None:
        """Let it come to an end in good order."""
        self.service.stop()
        with anyio.fail_after(within_s):
            await self.ended.wait()


@asynccontextmanager
async def working(
    url: str,
    pool: str,
    folder: Path,
    runner: Runner,
    *,
    slots: int = 2,
    policy: Policy = POLICY,
    greets: bool = True,
    pulse: Callable[[], None] = lambda: None,
) -> AsyncIterator[Sidecar]:
    """A sidecar at work in this process; left hard, as by a second SIGTERM."""
    connections, at_desk = Connections(url, one_reader=True), desk_client(url)
    try:
        desk = Desk(at_desk, pool, "oak")
        greeted = len([one for one in await desk.reports() if isinstance(one, Hello)]) if greets else 0
        service = service_of(connections, pool, folder, runner, slots=slots, policy=policy, pulse=pulse)
        sidecar = Sidecar(service, desk)
        async with anyio.create_task_group() as group:
            group.start_soon(sidecar.run)
            if greets:
                sidecar.incarnation = (await desk.hello(greeted + 1)).incarnation
            yield sidecar
            group.cancel_scope.cancel()
        if sidecar.error is not None:
            raise sidecar.error
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()
            await at_desk.aclose()


def desk_client(url: str) -> Redis:
    """A client of the tests' own, which connects again by itself."""
    return Redis.from_url(url, protocol=2)


class Desk:
    """The scheduler's end of one agent, by hand."""

    def __init__(self, redis: Redis, pool: str, agent: str) -> None:
        self.redis = redis
        self.keys = Keys(pool)
        self.agent = agent
        self.orders = self.keys.orders(agent)

    async def order(self, message: Assign | Stop | Ask | bytes) -> str:
        body = message if isinstance(message, bytes) else encode(message)
        return text(await self.redis.xadd(self.orders, {"m": body}))

    async def reports(self) -> list[AnyReport]:
        entries: Any = await self.redis.xrange(self.keys.reports)
        found = [decode_report(fields[b"m"]) for _, fields in entries]
        assert not any(isinstance(report, str) for report in found), found
        return found

    async def finished(self, token: str) -> list[Finished]:
        return [one for one in await self.reports() if isinstance(one, Finished) and one.token == token]

    async def accepted(self, token: str) -> list[Accepted]:
        return [one for one in await self.reports() if isinstance(one, Accepted) and one.token == token]

    async def outcome(self, order: Assign | Stop | Ask, within_s: float = PATIENCE_S) -> Finished:
        """The one report of how this ended, as soon as there is one."""
        found = await until(lambda: self.finished(order.token), within_s)
        assert len(found) == 1, found
        return found[0]

    async def hello(self, number: int = 1) -> Hello:
        """The hello of the sidecar's latest start, once there were so many of different starts."""

        async def hellos() -> list[Hello]:
            said = [one for one in await self.reports() if isinstance(one, Hello)]
            return said if len({one.incarnation for one in said}) >= number else []

        return (await until(hellos))[-1]

    async def beat(self) -> Beat | None:
        body = await self.redis.get(self.keys.beat(self.agent))
        beat = decode_beat(body) if body else None
        assert not isinstance(beat, str), beat
        return beat

    async def pending(self) -> list[dict[str, Any]]:
        return list(await self.redis.xpending_range(self.orders, ORDERS_GROUP, "-", "+", 100))

    async def left(self) -> int:
        return int(await self.redis.xlen(self.orders))

    async def claim_away(self, entry: str) -> None:
        """As the scheduler's sweep does."""
        await self.redis.xclaim(self.orders, ORDERS_GROUP, SWEEPER, 0, [entry])

    async def output(self, task: str) -> bytes:
        entries: Any = await self.redis.xrange(self.keys.output(task))
        return b"".join(fields[b"t"] for _, fields in entries)


def results(found: Sequence[AnyReport]) -> list[str]:
    """The results of the ends among these reports, in their order."""
    return [one.outcome.result for one in found if isinstance(one, Finished)]
