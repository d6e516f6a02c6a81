"""What the screen's looks read from a real server."""

from __future__ import annotations

import time

import pytest
from redis.asyncio import Redis

from agentcom.broker.connection import Connections
from agentcom.broker.embedded import EmbeddedServer
from agentcom.broker.keys import LINES, Keys
from agentcom.model.codec import encode
from agentcom.model.costs import Costs
from agentcom.model.messages import Line
from agentcom.model.task import Usage
from agentcom.monitor.live.picture import TASK
from agentcom.monitor.live.watcher import BOUNDS, Watcher
from agentcom.settings import Settings
from tests.diagnosis.pools import AT, H, M, agent, attempt, id_of, task

pytestmark = pytest.mark.process


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def watched(server: EmbeddedServer, pool: str) -> tuple[Redis, Keys, Connections, Watcher]:
    connections = Connections(server.url)
    return connections.commands, Keys(pool), connections, Watcher(connections, Settings(pool=pool), now_ms)


async def test_the_page_of_a_task_that_has_ended_has_its_record_what_it_came_after_and_its_output(
    server: EmbeddedServer,
) -> None:
    redis, names, connections, watcher = await watched(server, "page")
    first = task(1, "completed", AT - H, ended_at=AT)
    second = task(2, "failed", AT - H, {"after": (first.spec.id,)}, attempts=(attempt("oak", 1, AT - M),))
    for record in (first, second):
        await redis.set(names.task(record.spec.id), encode(record))
    for number, text in ((1, b"of the first\n"), (2, b"caf\xc3"), (2, b"\xa9 \x1b[31mred\x1b[0m\r"), (2, b"\nend")):
        await redis.xadd(names.output(second.spec.id), {"a": number, "at": 1, "t": text})
    picture = await watcher.look(TASK + second.spec.id)
    await connections.close()
    assert picture.records.keys() == {first.spec.id, second.spec.id}
    assert picture.opened.output == ("café red", "end"), "of the last attempt, safe to print"


async def test_costs_are_read_where_somebody_keeps_count(server: EmbeddedServer) -> None:
    redis, names, connections, watcher = await watched(server, "costs")
    assert (await watcher.look()).costs.total is None
    today = time.strftime("%Y-%m-%d", time.gmtime())
    cost = Costs(4, 3, 12, 100, Usage(1_000, 50), 60.0)
    await redis.hset(names.agents, "oak", encode(agent("oak")))
    await redis.hset(names.costs, mapping={"total": encode(cost), today: encode(cost), f"{today}/oak": encode(cost)})
    picture = await watcher.look()
    await redis.hset(names.costs, "total", encode(Costs(5, 4, 15, 120, Usage(1_500, 60), 70.0)))
    later = await watcher.look()
    await connections.close()
    assert (picture.costs.total, picture.costs.days, picture.costs.today) == (cost, {today: cost}, {"oak": cost})
    assert later.history.within_hour("tokens", later.snapshot.at) == 510


async def test_the_last_hour_is_read_back_from_the_journal_once(quiet_server: EmbeddedServer) -> None:
    redis, names, connections, watcher = await watched(quiet_server, "hour")
    now = now_ms()
    done = Line(now - 20 * M, "task", "finished", "working", "completed", id_of(1), 1, "oak")
    await redis.xadd(names.journal, {LINES: encode([done, done])}, id=f"{now - 20 * M}-0")
    old = Line(now - 3 * H, "task", "finished", "working", "completed", id_of(1), 1, "oak")
    await redis.xadd(names.journal, {LINES: encode([old])}, id=f"{now - 20 * M}-1")
    picture = await watcher.look()
    before = (await redis.info("commandstats"))["cmdstat_xrevrange"]["calls"]
    again = await watcher.look()
    assert (await redis.info("commandstats"))["cmdstat_xrevrange"]["calls"] == before + 2, "journal's end and letters"
    await connections.close()
    assert picture.history.within_hour("completed", now) == 2
    assert again.history.within_hour("completed", now) == 2


async def test_a_look_reads_a_bounded_part_whatever_the_size_of_the_pool_and_writes_nothing(
    quiet_server: EmbeddedServer,
) -> None:
    redis, names, connections, watcher = await watched(quiet_server, "large")
    pipeline = redis.pipeline(transaction=False)
    for number in range(3 * BOUNDS.tasks):
        record = task(number, "queued", AT)
        pipeline.set(names.task(record.spec.id), encode(record))
        pipeline.zadd(names.open, {record.spec.id: number})
    for number in range(3 * BOUNDS.agents):
        pipeline.hset(names.agents, f"a{number}", encode(agent(f"a{number}")))
    await pipeline.execute()
    await watcher.look()
    before = await redis.info("commandstats")
    picture = await watcher.look()
    after = await redis.info("commandstats")
    await connections.close()
    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert len(picture.snapshot.tasks) == BOUNDS.tasks
    assert (picture.snapshot.asked, len(picture.snapshot.agents)) == (BOUNDS.agents, 3 * BOUNDS.agents)
    assert sum(calls.values()) < 4 * BOUNDS.agents
    assert not {"cmdstat_set", "cmdstat_xadd", "cmdstat_hset", "cmdstat_evalsha"} & {n for n, c in calls.items() if c}
