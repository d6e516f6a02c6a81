"""A sidecar that is asked to stop: what is new goes back, what runs may end, and goodbye is said."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from msgspec import structs

from agentcom.broker.embedded import EmbeddedServer
from agentcom.errors import ConfigurationError
from agentcom.model.codec import encode
from agentcom.model.messages import Goodbye, Hello
from agentcom.sidecar.runners.python import Task
from tests.sidecar.bench import written
from tests.sidecar.harness import POLICY, assign, command, python, results, stop, until, working

pytestmark = pytest.mark.process


async def at_once(task: Task) -> str:
    return "done"


async def for_ever(task: Task) -> None:
    await anyio.sleep_forever()


@pytest.mark.pitfall_3
async def test_an_idle_sidecar_says_goodbye_and_ends(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        await sidecar.stop(within_s=4.5)  # before it would give up saying goodbye
        assert [type(one) for one in await sidecar.desk.reports()] == [Hello, Goodbye]


async def test_a_stopping_sidecar_hands_back_what_is_new_and_lets_end_what_runs(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sh", "-c", "sleep 0.7; echo whole")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        running = await sidecar.order()
        await until(sidecar.desk.pending)
        sidecar.service.stop()
        await anyio.sleep(0.1)
        late = await sidecar.order()
        await sidecar.stop()
        assert (await sidecar.desk.outcome(late)).outcome.result == "handed_back"
        assert (await sidecar.desk.outcome(running)).outcome.result == "completed"
        assert any(isinstance(one, Goodbye) for one in await sidecar.desk.reports())
        assert await sidecar.desk.output(running.task) == b"whole\n"
        assert (await sidecar.desk.left(), await sidecar.desk.pending()) == (0, [])


async def test_what_does_not_end_in_time_is_handed_back_and_does_not_fail(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "sleep", "60")
    policy = structs.replace(POLICY, drain_s=0.3)
    async with working(server.url, pool, tmp_path, runner, policy=policy) as sidecar:
        order = await sidecar.order()
        await until(sidecar.desk.pending)
        await sidecar.stop(within_s=30)
        assert (await sidecar.desk.outcome(order)).outcome.result == "handed_back"
        assert any(isinstance(one, Goodbye) for one in await sidecar.desk.reports())


async def test_without_any_patience_all_is_still_said(server: EmbeddedServer, pool, tmp_path):
    policy = structs.replace(POLICY, drain_s=0.0)
    async with working(server.url, pool, tmp_path, python(for_ever), policy=policy) as sidecar:
        order = await sidecar.order()
        await until(sidecar.desk.pending)
        await sidecar.stop(within_s=30)
        assert results(await sidecar.desk.reports()) == ["handed_back"]
        assert any(isinstance(one, Goodbye) for one in await sidecar.desk.reports())
        assert (await sidecar.desk.outcome(order)).token == order.token


async def test_orders_that_come_with_the_stop_are_handed_back(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        orders = [assign(sidecar.incarnation) for _ in range(30)]
        pipeline = sidecar.desk.redis.pipeline(transaction=True)
        for order in orders:
            pipeline.xadd(sidecar.desk.orders, {"m": encode(order)})
        await pipeline.execute()
        await sidecar.stop()
        for order in orders:
            assert (await sidecar.desk.outcome(order)).outcome.result in ("handed_back", "completed")
        assert await sidecar.desk.left() == 0
        assert any(isinstance(one, Goodbye) for one in await sidecar.desk.reports())


def ending_with(tmp_path: Path, at_the_end: str) -> tuple[str, str, str]:
    """An agent that works until it is asked to end, and what it does then."""
    loop = "while :; do sleep 0.05; done"
    return "sh", "-c", f"end() {{ {at_the_end}; exit 0; }}; trap end TERM; echo $$ > {tmp_path}/pid; {loop}"


WHOLE = """echo '{"summary": "all of it"}' > $AGENTCOM_RESULT_FILE"""
ENDS = {
    "handed back, with a result": ("stop", WHOLE, "completed", "all of it"),
    "handed back, without one": ("stop", ":", "handed_back", ""),
    "out of time, with a result": ("timeout", WHOLE, "completed", "all of it"),
    "out of time, without one": ("timeout", ":", "failed", ""),
    "canceled": ("cancel", WHOLE, "canceled", "all of it"),
}


@pytest.mark.parametrize(("why", "at_the_end", "result", "summary"), ENDS.values(), ids=ENDS.keys())
async def test_what_an_agent_completes_while_it_is_being_ended_counts(
    server: EmbeddedServer, pool, tmp_path, why, at_the_end, result, summary
):
    policy = structs.replace(POLICY, drain_s=0.1, grace_s=5.0)
    runner = command(tmp_path, *ending_with(tmp_path, at_the_end), policy=policy)
    async with working(server.url, pool, tmp_path, runner, policy=policy) as sidecar:
        order = await sidecar.order(timeout_s=1.5 if why == "timeout" else 60.0)
        await written(tmp_path / "pid")
        if why == "stop":
            await sidecar.stop()
        elif why == "cancel":
            await sidecar.desk.order(stop(order))
        outcome = (await sidecar.desk.outcome(order)).outcome
        assert (outcome.result, outcome.summary) == (result, summary)


@pytest.mark.pitfall_3
async def test_a_watchdog_sees_that_it_lives_while_it_ends_for_a_newer_one(server: EmbeddedServer, pool, tmp_path):
    pulses: list[float] = []
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    runner = command(tmp_path, "sh", "-c", script, policy=structs.replace(POLICY, grace_s=4.0))

    async def be_superseded() -> None:
        async with working(
            server.url, pool, tmp_path, runner, pulse=lambda: pulses.append(anyio.current_time())
        ) as sidecar:
            await sidecar.order()
            await written(tmp_path / "pid")
            await sidecar.desk.order(assign("sc-9999999999999-1-ffff"))
            with anyio.fail_after(20):
                await sidecar.ended.wait()

    with pytest.raises(ConfigurationError, match="newer sidecar"):
        await be_superseded()
    assert anyio.current_time() - pulses[-1] < 3
    assert all(later - earlier < 3 for earlier, later in pairwise(pulses))
