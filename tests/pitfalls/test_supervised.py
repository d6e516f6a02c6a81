"""Mistake 3: the sidecar as a single point of failure. Killed, it is back in seconds; gone, somebody hears of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import agentcom
from agentcom.broker.embedded import EmbeddedServer
from agentcom.model.agent import AgentRecord
from agentcom.supervisor.record import read_children
from tests.alerts.harness import hook, hooked
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.process, pytest.mark.anyio, pytest.mark.pitfall_3]

BACK_WITHIN_S = 10.0
SETTINGS = """\
redis = "{url}"
pool = "{pool}"
data_dir = "{folder}/data"

[policy]
beat_s = {beat_s}
beat_offset_s = 0.1
sweep_s = 0.5
lease_s = 2
agent_down_s = {agent_down_s}
drain_s = 1
grace_s = 1

[alerts]
every_s = 0.5
agent_down_s = {agent_down_s}
command = {command}

[agents.oak]
command = ["sh", "-c", "read text; echo started; $text"]
"""


class Machine:
    """A folder with settings, in which commands run.

    Attributes:
        told: what the hook was told of the alerts.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.pool = f"up-{time.monotonic_ns()}"
        self.told = folder / "told"

    def configure(self, *, beat_s: float, agent_down_s: float) -> None:
        """How often sidecars beat, and how long one is silent before people are told."""
        command = "[" + ", ".join(_quoted(argument) for argument in hook(self.told)) + "]"
        text = SETTINGS.format(**vars(self), command=command, beat_s=beat_s, agent_down_s=agent_down_s)
        (self.folder / "agentcom.toml").write_text(text)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A long-running command, which is ended behind the body."""
        with (self.folder / f"{'-'.join(arguments).strip('-')}.log").open("ab") as log:
            process = subprocess.Popen(self._argv(arguments), cwd=self.folder, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    async def call(self, *arguments: str) -> tuple[int, str]:
        done = await anyio.run_process(self._argv(arguments), cwd=self.folder, check=False)
        return done.returncode, (done.stdout + done.stderr).decode()

    def _argv(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "agentcom", *arguments]

    def problems(self) -> list[tuple[str, str]]:
        """Which rules were told of which subjects by the hook."""
        return [(alert["rule"], alert["subject"]) for alert in self._alerts() if alert["kind"] == "problem"]

    def _alerts(self) -> list[dict[str, Any]]:
        return hooked(self.told)


def _quoted(argument: str) -> str:
    return "'''" + argument + "'''"


async def until(holds: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
    with anyio.fail_after(within_s):
        while not (await found if hasattr(found := holds(), "__await__") else found):
            await anyio.sleep(0.05)


async def oak_of(client: agentcom.Client) -> AgentRecord | None:
    return next((agent for agent in await client.agents() if agent.name == "oak"), None)


async def online(client: agentcom.Client, other_than: str = "") -> bool:
    oak = await oak_of(client)
    return oak is not None and oak.link == "online" and oak.incarnation != other_than


@pytest.fixture
def machine(tmp_path: Path, server: EmbeddedServer) -> Machine:
    return Machine(tmp_path, server.url)


async def test_a_killed_sidecar_is_back_within_10_seconds_and_its_agents_work_goes_on(machine: Machine) -> None:
    machine.configure(beat_s=BACK_WITHIN_S / 2, agent_down_s=1.5 * BACK_WITHIN_S)
    with machine.running("up"):
        async with agentcom.Client(machine.url, machine.pool) as client:
            await until(lambda: online(client))
            before = await oak_of(client)
            assert before is not None
            task = await client.submit("sleep 3")
            await until(lambda: _works(client, task.id))
            os.kill(read_children(machine.folder / "data")["sidecar oak"].pid, signal.SIGKILL)
            await until(lambda: online(client, before.incarnation), BACK_WITHIN_S)
            assert (await task.wait(PATIENCE_S)).result == "completed"
            record = await task.record()
            assert record is not None
            assert record.generation == 1, "what ran went on, and was not begun again"
            assert (await (await client.submit("true")).wait(PATIENCE_S)).result == "completed"
    assert machine.problems() == [], "nobody has to be told of what mends itself"


async def _works(client: agentcom.Client, task: str) -> bool:
    record = await client.record(task)
    return record is not None and record.state == "working"


async def test_of_a_sidecar_that_stays_away_people_are_told_once_and_a_check_for_cron_fails(machine: Machine) -> None:
    machine.configure(beat_s=0.5, agent_down_s=3)
    with machine.running("scheduler"):
        async with agentcom.Client(machine.url, machine.pool) as client:
            with machine.running("sidecar", "--agent", "oak") as sidecar:
                await until(lambda: online(client))
                sidecar.kill()
            await until(lambda: ("agent_down", "agent:oak") in machine.problems())
            code, said = await machine.call("check")
            assert (code, "oak is down" in said) == (3, True), said
            with machine.running("sidecar", "--agent", "oak"):
                await until(lambda: online(client))
                await until(lambda: ("over", "agent_down") in _kinds(machine))
                assert (await machine.call("check"))[0] == 0
    assert machine.problems() == [("agent_down", "agent:oak")]


def _kinds(machine: Machine) -> list[tuple[str, str]]:
    return [(alert["kind"], alert["rule"]) for alert in machine._alerts()]
