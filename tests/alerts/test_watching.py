"""Real `agentcom scheduler` processes that watch a pool: what people hear of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from agentcom.alerts import service
from agentcom.alerts.message import Alert
from agentcom.alerts.receivers import Receiver
from agentcom.alerts.service import Watch, watch_pool
from agentcom.broker.connection import Connections
from agentcom.broker.embedded import EmbeddedServer
from agentcom.diagnosis.finding import Finding
from agentcom.model.codec import encode
from agentcom.model.messages import Assign, Finished
from agentcom.model.task import Outcome
from agentcom.settings import AlertSettings, Policy, Settings
from tests.alerts.harness import Inbox, hook, hooked, kinds, until
from tests.broker.servers import any_binary
from tests.patience import PATIENCE_S
from tests.scheduler.harness import Agent, Pool, eventually

pytestmark = pytest.mark.process

POLICY = Policy(
    lease_s=30.0,  # so that one who stands by asks seldom whether somebody leads
    beat_s=0.3,
    beat_offset_s=0.1,
    stale_beats=3,
    agent_down_s=1.0,
    sweep_s=0.2,
    retry_delays_s=(0.0,),
    max_attempts=1,
)
EVERY_S = 0.6

ASKS_EVERY_S = 15
"""One who stands by asks so often: far longer than anybody needs to see that nobody leads, on a busy machine, too.

It does not see when the lease ends: it might look just after that, and then there was nothing to tell of.
"""

ASKS_SELDOM = f"""
import agentcom.scheduler.service as service
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.cli.main import main

async def vacant_in_s(self):
    return {ASKS_EVERY_S}

service.BLOCK_MAX_S, service.STANDBY_TRIES_PER_LEASE = {ASKS_EVERY_S}, 1
SchedulerStore.vacant_in_s = vacant_in_s
main()
"""


class Machine:
    """Where schedulers run, with their settings in a file."""

    def __init__(self, folder: Path, url: str, pool: str, alerts: dict[str, object]) -> None:
        self.folder = folder
        self.config = folder / "agentcom.toml"
        policy = {name: getattr(POLICY, name) for name in ("lease_s", "beat_s", "beat_offset_s", "stale_beats")}
        policy |= {"agent_down_s": POLICY.agent_down_s, "sweep_s": 0.2, "retry_delays_s": [0], "max_attempts": 1}
        alerts = {"every_s": EVERY_S, "agent_down_s": 2.0, "timeout_s": 15} | alerts
        lines = [f'redis = "{url}"', f'pool = "{pool}"', f'data_dir = "{folder}"', "[policy]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in policy.items()]
        lines += ["[alerts]", *(f"{name} = {json.dumps(value)}" for name, value in alerts.items())]
        self.config.write_text("\n".join(lines))
        self.started = 0

    @contextmanager
    def scheduler(self, *, asks_seldom: bool = False) -> Iterator[subprocess.Popen[bytes]]:
        """A scheduler that runs until it is left, which must be without a complaint."""
        self.started += 1
        with (self.folder / f"scheduler-{self.started}.log").open("wb") as log:
            program = ["-c", ASKS_SELDOM] if asks_seldom else ["-m", "agentcom"]
            argv = [sys.executable, *program, "--config", str(self.config), "scheduler"]
            environ = {name: value for name, value in os.environ.items() if not name.startswith("AGENTCOM_")}
            process = subprocess.Popen(argv, stdout=log, stderr=log, env=environ)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(PATIENCE_S)

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("scheduler-*.log")))


@asynccontextmanager
async def a_pool(url: str, name: str) -> AsyncIterator[Pool]:
    pool = Pool(url, name, POLICY)
    try:
        yield pool
    finally:
        await pool.connections.close()


async def led_by(pool: Pool, other_than: bytes = b"") -> bytes:
    """Who leads, once somebody else does."""
    await eventually(lambda: _leads(pool, other_than))
    leader: bytes = await pool.redis.get(pool.names.leader)
    return leader


async def _leads(pool: Pool, other_than: bytes) -> bool:
    return (await pool.redis.get(pool.names.leader) or other_than) != other_than


def stop_together(*schedulers: subprocess.Popen[bytes]) -> None:
    """So that none sees another go and tells, rightly, that nobody leads."""
    for scheduler in schedulers:
        scheduler.terminate()
    for scheduler in schedulers:
        scheduler.wait(PATIENCE_S)


async def asks_to_lead(pool: Pool, scheduler: subprocess.Popen[bytes]) -> None:
    """Return when this scheduler has just asked whether it can lead: it asks again after `ASKS_EVERY_S`."""
    with anyio.fail_after(PATIENCE_S):
        async with pool.connections.blocking.monitor() as monitor:
            async for seen in monitor.listen():
                if f":{scheduler.pid}:" in seen["command"]:
                    return


async def fail_all(agent: Agent, pool: Pool, seen: set[str]) -> None:
    """Report every task that this agent was given as failed."""
    for entry, order in zip(list(agent.entries), list(agent.got), strict=False):
        if order.task not in seen:
            seen.add(order.task)
            await _fail(agent, entry, order)


async def _fail(agent: Agent, entry: str, order: Assign) -> None:
    report = Finished(
        agent=agent.name,
        incarnation=agent.incarnation,
        task=order.task,
        token=order.token,
        outcome=Outcome("failed", "exit_code", "exit code 1"),
    )
    await agent._store.finish([entry], [encode(report)])


async def test_two_schedulers_tell_each_incident_once_and_its_end_once(
    server: EmbeddedServer, pool: str, receiver: Inbox, tmp_path: Path
) -> None:
    """An agent that is down, a task that is dead, and nobody who leads; with a restart of both in between."""
    told = tmp_path / "told"
    machine = Machine(tmp_path, server.url, pool, {"urls": [receiver.url], "command": hook(told)})

    def heard(kind: str, rule: str) -> Callable[[], int]:
        return lambda: kinds(told)[kind, rule]

    async with a_pool(server.url, pool) as there, anyio.create_task_group() as group:
        agent = Agent(there, "oak", works=False)
        with machine.scheduler() as one, machine.scheduler() as other:
            leader = await led_by(there)
            group.start_soon(agent.run)
            (task,) = await there.submit()
            await until(lambda: agent.got)
            await fail_all(agent, there, set())
            await until(heard("problem", "dead"))
            agent.beats = False
            await until(heard("problem", "agent_down"))
            await until(lambda: len(receiver.got) == 2)
            stop_together(one, other)
        before = kinds(told)
        with machine.scheduler() as first:
            leader = await led_by(there, leader)
            await anyio.sleep(3)
            assert kinds(told) == before, "what was told before the restart is not told again"
            agent.beats = True
            await until(heard("over", "agent_down"))
            with machine.scheduler(asks_seldom=True) as second:
                await asks_to_lead(there, second)
                first.terminate()
                await until(heard("problem", "leaderless"))
                await led_by(there, leader)
                await until(heard("over", "leaderless"))
                await until(lambda: len(receiver.got) == 5)
                assert second.poll() is None
        group.cancel_scope.cancel()
    expected = {
        ("problem", "dead"): 1,
        ("problem", "agent_down"): 1,
        ("over", "agent_down"): 1,
        ("problem", "leaderless"): 1,
        ("over", "leaderless"): 1,
    }
    assert kinds(told) == expected
    assert sorted(receiver.titles()) == sorted(alert["title"] for alert in hooked(told))
    assert {alert["subject"] for alert in hooked(told)} == {f"task:{task}", "agent:oak", "pool"}
    assert "Traceback" not in machine.log()


async def test_a_hanging_receiver_does_not_hold_up_the_scheduler(
    server: EmbeddedServer, pool: str, receiver: Inbox, tmp_path: Path
) -> None:
    receiver.mode = "hangs"
    machine = Machine(tmp_path, server.url, pool, {"urls": [receiver.url], "timeout_s": 60})
    async with a_pool(server.url, pool) as there, anyio.create_task_group() as group:
        silent, works = Agent(there, "oak"), Agent(there, "elm")
        await silent.hello()
        group.start_soon(works.run)
        with machine.scheduler() as process:
            await until(lambda: receiver.asked)
            began = time.monotonic()
            for _ in range(10):
                tasks = await there.submit(5, agent="elm")
                await eventually(lambda tasks=tasks: there.all_completed(tasks))
            took_s = time.monotonic() - began
            assert took_s < 30, "each of ten rounds takes a few ms; the receiver hangs for a minute"
            assert receiver.asked == 1
            began = time.monotonic()
            process.terminate()
            process.wait(PATIENCE_S)
            assert time.monotonic() - began < 15, "nor does it hold up the end of the scheduler"
        group.cancel_scope.cancel()


async def test_a_redis_that_is_away_is_told_and_that_it_is_back(tmp_path: Path, pool: str) -> None:
    told = tmp_path / "told"
    with EmbeddedServer(tmp_path / "redis", any_binary(), appendfsync="always") as redis:
        machine = Machine(tmp_path, redis.url, pool, {"command": hook(told)})
        with machine.scheduler():
            async with a_pool(redis.url, pool) as there:
                await led_by(there)
            redis.kill()
            await until(lambda: kinds(told)["problem", "unreachable"], 60)
            (alert,) = hooked(told)
            assert "cannot reach Redis" in alert["title"]
            await anyio.sleep(2)
            redis.start()
            await until(lambda: kinds(told)["over", "unreachable"], 60)
        assert kinds(told) == {("problem", "unreachable"): 1, ("over", "unreachable"): 1}
        assert "Traceback" not in machine.log()


async def test_a_scheduler_that_finds_no_redis_at_its_start_tells_that_too(tmp_path: Path, pool: str) -> None:
    told = tmp_path / "told"
    machine = Machine(tmp_path, f"unix://{tmp_path}/nobody.sock", pool, {"command": hook(told)})
    with machine.scheduler():
        await until(lambda: kinds(told)["problem", "unreachable"], 60)


async def test_what_keeps_redis_from_being_written_is_told_without_writing(
    tmp_path: Path, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a full disk: what is told cannot be written down, and yet is told, without waiting as for a Redis that
    is away."""
    heard: list[tuple[str, str]] = []

    async def spy(receiver: Receiver, alert: Alert, timeout_s: float) -> str:
        heard.append((alert.kind, alert.rule))
        return ""

    found = [Finding(rule="aof_failing", severity="critical", subject="redis", text="the disk is full")]
    monkeypatch.setattr(service, "diagnose", lambda *_, **__: found)
    settings = Settings(pool=pool, alerts=AlertSettings(urls=("json://h",), every_s=0.2))
    with EmbeddedServer(tmp_path / "redis", any_binary()) as redis:
        connections = Connections(redis.url)
        await connections.commands.config_set("min-replicas-to-write", 1)
        async with anyio.create_task_group() as group:
            group.start_soon(Watch(connections, settings, deliver=spy).run)
            await until(lambda: heard)
            await anyio.sleep(1)
            assert heard == [("problem", "aof_failing")]
            group.cancel_scope.cancel()
        await connections.close()


async def test_an_url_that_apprise_does_not_understand_stops_a_scheduler_at_its_start(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "redis://127.0.0.1:1", "p", {"urls": ["nonsense://secret"]})
    with machine.scheduler() as process:
        assert process.wait(60) == 78
    assert machine.log().strip() == (
        "agentcom: alerts.urls: expected Apprise URLs, but Apprise does not understand number 1. "
        "See https://github.com/caronc/apprise/wiki"
    )


async def test_a_failure_of_the_watch_itself_is_logged_and_it_begins_again(
    server: EmbeddedServer, pool: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    def fails(*_: object, **__: object) -> list[Finding]:
        nonlocal looks
        looks += 1
        raise RuntimeError("a rule is broken")

    monkeypatch.setattr(service, "diagnose", fails)
    monkeypatch.setattr(service, "RESTART_S", 0.2)
    settings = Settings(pool=pool, alerts=AlertSettings(urls=("json://h",), every_s=0.2))
    async with anyio.create_task_group() as group:
        group.start_soon(watch_pool, server.url, settings)
        await until(lambda: looks >= 3)
        group.cancel_scope.cancel()
    assert "watching the pool failed" in caplog.text
    assert "a rule is broken" in caplog.text
