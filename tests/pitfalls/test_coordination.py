"""Mistake 2: coordination costs more than the work. Counted and timed on a real run."""

from __future__ import annotations

import time
from collections import Counter

import anyio
import pytest

import agentcom
from agentcom.broker.embedded import EmbeddedServer
from agentcom.settings import Policy
from tests.patience import PATIENCE_S
from tests.pitfalls.harness import at_work

pytestmark = [pytest.mark.process, pytest.mark.anyio, pytest.mark.pitfall_2]

MESSAGES_MOST = 5
"""Of one task, its submission included, whatever it is, as long as it does not fail."""

OVERHEAD_MOST = 0.2
"""What may be added to the time of the work itself."""

WORK_S = 3.0
BUSY = Policy(beat_s=0.2, beat_offset_s=0.0, sweep_s=0.2, lease_s=1.0, accept_report_s=0.25)
"""Beats, sweeps and renewals as often as no pool has them: none of them is a message."""


async def do(task: agentcom.Task) -> str:
    _, _, seconds = task.text.partition(" ")
    await anyio.sleep(float(seconds or 0))
    return "done"


@pytest.mark.parametrize(("seconds", "reports"), [(0, 1), (3, 2)], ids=["a short task", "a task that takes a while"])
async def test_a_task_takes_three_messages_or_four_and_the_time_that_it_takes_adds_none(
    server: EmbeddedServer, seconds: int, reports: int
) -> None:
    async with at_work(server.url, do, policy=BUSY) as (client, counted):
        before = await counted.messages()
        outcome = await (await client.submit(f"for {seconds}")).wait(PATIENCE_S)
        assert outcome.result == "completed"
        spent = await counted.messages() - before
    assert spent == Counter(inbox=1, orders=1, reports=reports)
    assert spent.total() <= MESSAGES_MOST


async def test_many_tasks_that_run_side_by_side_take_no_more_messages_each(server: EmbeddedServer) -> None:
    tasks = 60
    async with at_work(server.url, do, slots=20, policy=BUSY) as (client, counted):
        before = await counted.messages()
        handles = await client.submit_many([{"text": f"for {0.5 * (number % 2)}"} for number in range(tasks)])
        for handle in handles:
            assert (await handle.wait(PATIENCE_S)).result == "completed"
        spent = await counted.messages() - before
    assert spent["orders"] == tasks
    assert spent["inbox"] == 1, "submitted together, they are one request"
    assert tasks <= spent["reports"] <= 2 * tasks
    assert spent.total() / tasks <= MESSAGES_MOST


async def test_coordination_adds_less_than_a_fifth_to_a_task_of_a_few_seconds(server: EmbeddedServer) -> None:
    """In time that passes, and in processor time of the scheduler, the sidecar and the submitter together."""
    worked: list[float] = []

    async def timed(task: agentcom.Task) -> None:
        started = time.perf_counter()
        await do(task)
        worked.append(time.perf_counter() - started)

    async with at_work(server.url, timed) as (client, _):
        started, used = time.perf_counter(), time.process_time()
        outcome = await (await client.submit(f"for {WORK_S:g}")).wait(PATIENCE_S)
        whole, cpu = time.perf_counter() - started, time.process_time() - used
    assert outcome.result == "completed"
    assert (whole - worked[0]) / worked[0] < OVERHEAD_MOST, f"{whole:.3f} s for {worked[0]:.3f} s of work"
    assert cpu / worked[0] < OVERHEAD_MOST, f"{cpu:.3f} s of processor time for {worked[0]:.3f} s of work"


async def test_the_agent_is_given_its_task_and_nothing_of_the_protocol(server: EmbeddedServer) -> None:
    """What costs tokens is what the agent reads: the words of the submitter, not those of the pool."""
    seen: list[agentcom.Task] = []

    async def look(task: agentcom.Task) -> None:
        seen.append(task)

    text = "rename the flag\n\nin cli.py, and in the docs"
    async with at_work(server.url, look) as (client, _):
        await (await client.submit(text, context=("cli.py",))).wait(PATIENCE_S)
    assert (seen[0].text, seen[0].context) == (text, ("cli.py",))
