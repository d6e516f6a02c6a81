"""What it costs to look on: a large pool on one screen, and twenty monitors beside one scheduler.

python -m benchmarks.monitor [large] [twenty]
"""

from __future__ import annotations

import os
import pty
import select
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio

from agentcom.broker.connection import Connections
from agentcom.broker.keys import BODY, LINES, ORDERS_GROUP, Keys
from agentcom.client import Client
from agentcom.ids import IdMaker
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.codec import encode
from agentcom.model.messages import Assign, Beat, Line
from agentcom.model.task import Attempt, TaskRecord, TaskSpec
from agentcom.monitor.live.draw import draw
from agentcom.monitor.live.state import VIEWS, State
from agentcom.monitor.live.watcher import Watcher
from agentcom.monitor.look import Now
from agentcom.settings import Settings
from benchmarks.pool import commands_so_far, starts_ms
from benchmarks.processes import cpu_s, pool, server
from benchmarks.report import Row, table

AGENTS, BUSY, TASKS, ENTRIES = 1_000, 700, 100_000, 20_000
REFRESHES = 30
SIZE = (200, 60)
INTERVAL_S = 2.0

MONITORS = 20
ROUNDS = 8
HOPS = 60
PAUSE_S = 0.02


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# --------------------------------------------------------------------- large


async def large() -> None:
    """A screen of a pool with 1,000 agents and 100,000 open tasks, drawn again and again in every view."""
    with server() as redis:
        connections = Connections(redis.url)
        await _write_pool(connections, Keys("default"))
        watcher = Watcher(connections, Settings(), now_ms)
        # The first look also reads the journal of the last hour back.
        started_s = time.process_time()
        picture = await watcher.look()
        draw(State(), picture, None, Now(now_ms(), lambda _: 0), SIZE)
        first_ms = (time.process_time() - started_s) * 1000
        looks, draws, waits = [], [], []
        commands, used_s = await commands_so_far(connections.commands), cpu_s(redis.pid or 0)
        for number in range(REFRESHES):
            state = State(view=VIEWS[number % len(VIEWS)])
            begun_s, started_s = time.process_time(), time.perf_counter()
            picture = await watcher.look()
            looks.append((time.process_time() - begun_s) * 1000)
            waits.append((time.perf_counter() - started_s) * 1000)
            begun_s = time.process_time()
            draw(state, picture, None, Now(now_ms(), lambda _: 0), SIZE)
            draws.append((time.process_time() - begun_s) * 1000)
        commands = await commands_so_far(connections.commands) - commands
        used_s = cpu_s(redis.pid or 0) - used_s
        await connections.close()
    both = [look + drawn for look, drawn in zip(looks, draws, strict=True)]
    rows: list[Row] = [
        {"what": "first refresh, with the last hour read back, CPU ms", "median": first_ms, "most": first_ms},
        {"what": "look, CPU ms", "median": statistics.median(looks), "most": max(looks)},
        {"what": "draw at 200×60, CPU ms", "median": statistics.median(draws), "most": max(draws)},
        {"what": "refresh (both), CPU ms", "median": statistics.median(both), "most": max(both)},
        {"what": "look, ms until it is there", "median": statistics.median(waits), "most": max(waits)},
        {
            "what": f"percent of a core, at {INTERVAL_S:g} s and a draw each second",
            "median": _percent(statistics.median(looks), statistics.median(draws)),
            "most": "",
        },
        {"what": "commands of the server a refresh", "median": commands / REFRESHES, "most": ""},
        {"what": "CPU ms of the server a refresh", "median": used_s * 1000 / REFRESHES, "most": ""},
    ]
    print(table(rows))


def _percent(look_ms: float, draw_ms: float) -> float:
    return (look_ms / INTERVAL_S + draw_ms * (1 + 1 / INTERVAL_S)) / 10


async def _write_pool(connections: Connections, keys: Keys) -> None:
    redis, at = connections.commands, now_ms()
    ids = IdMaker(now_ms, os.urandom)
    names = [f"agent-{number:04}" for number in range(AGENTS)]
    tasks = [ids.make() for _ in range(TASKS)]
    for first in range(0, TASKS, 5_000):
        pipeline = redis.pipeline(transaction=False)
        for seq in range(first, first + 5_000):
            holder = names[seq] if seq < BUSY else ""
            pipeline.set(keys.task(tasks[seq]), encode(_record(tasks[seq], seq, holder, at)))
        pipeline.zadd(keys.open, {tasks[seq]: float(seq) for seq in range(first, first + 5_000)})
        await pipeline.execute()
    pipeline = redis.pipeline(transaction=False)
    pipeline.set(keys.leader, "h1:1:x")
    pipeline.hset(keys.head, mapping={"epoch": 1, "seq": 9, "admitted": TASKS})
    for number, name in enumerate(names):
        task = tasks[number] if number < BUSY else ""
        pipeline.hset(keys.agents, name, encode(_agent(name, number, task, at)))
        beat = Beat(agent=name, incarnation="sc-1", count=9, at=at, state="working" if task else "idle")
        pipeline.set(keys.beat(name), encode(beat), px=890_000)
        if task:
            order = Assign(incarnation="sc-1", task=task, token="1.x", spec=encode({}), attempt=1, timeout_s=60.0)  # type: ignore[arg-type]
            pipeline.xadd(keys.orders(name), {BODY: encode(order)})
            pipeline.xgroup_create(keys.orders(name), ORDERS_GROUP, id="0")
            pipeline.xreadgroup(ORDERS_GROUP, "sc-1", {keys.orders(name): ">"})
            pipeline.xadd(keys.output(task), {b"a": 1, b"at": at, b"t": b"on it\n"})
    for number in range(ENTRIES):
        ended = Line(at, "task", "finished", "working", "completed", tasks[number], 1, names[number % AGENTS])
        pipeline.xadd(keys.journal, {LINES: encode([ended, ended])})
    await pipeline.execute()


def _record(task: str, seq: int, holder: str, at: int) -> TaskRecord[TaskSpec]:
    spec = TaskSpec(id=task, text="do nothing\n" * 20, title=f"task {seq}", requires=f"s{seq % 50}", expect_s=60.0)
    attempts = (Attempt(1, "1.x", holder, "sc-1", at - 30_000, at - 29_000),) if holder else ()
    return TaskRecord(
        spec=spec,
        seq=seq,
        state="working" if holder else "queued",
        submitted_at=at - 60_000,
        changed_at=at - 30_000,
        ready_at=at - 60_000,
        generation=len(attempts),
        attempts=attempts,
    )


def _agent(name: str, number: int, task: str, at: int) -> AgentRecord:
    card = Card(
        attributes={f"s{number % 50}": 2, "python": 3, "os": "linux", "machine": "x86_64"}, host=f"host-{number % 40}"
    )
    return AgentRecord(
        name=name,
        incarnation="sc-1",
        card=card,
        since_at=at - 3_600_000,
        seen_at=at,
        running={"1.x": task} if task else {},
        completed=number,
        failed=number % 7,
    )


# -------------------------------------------------------------------- twenty


async def twenty() -> None:
    """From before a submission until the agent's function began: while twenty monitors look on, and while they are
    stopped, in turns within one run."""
    alone: list[float] = []
    watched: list[float] = []
    with server() as redis, pool(redis), _monitors(redis.url) as pids:
        async with Client(redis.url) as client:
            await (await client.submit("tell", requires="python")).wait()
            for _ in range(ROUNDS):
                _tell(pids, signal.SIGSTOP)
                alone += await starts_ms(client, HOPS, PAUSE_S)
                _tell(pids, signal.SIGCONT)
                # What they missed they look at first, all at once.
                await anyio.sleep(2 * INTERVAL_S)
                watched += await starts_ms(client, HOPS, PAUSE_S)
    found = [_quantiles("no monitor", alone), _quantiles(f"{MONITORS} monitors", watched)]
    ratio = {name: found[1][name] / found[0][name] for name in ("p50", "p90", "mean")}  # type: ignore[operator]
    print(table([*found, {"submit → function starts, ms": "ratio", **ratio}]))


def _quantiles(what: str, times: list[float]) -> dict[str, object]:
    cuts = statistics.quantiles(times, n=10)
    return {"submit → function starts, ms": what, "p50": cuts[4], "p90": cuts[8], "mean": statistics.mean(times)}


def _tell(pids: list[int], what: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, what)


@contextmanager
def _monitors(url: str) -> Iterator[list[int]]:
    """So many of them, each on a terminal of its own that somebody reads."""
    started, ours = [], []
    for _ in range(MONITORS):
        master, slave = pty.openpty()
        environ = os.environ | {"AGENTCOM_REDIS": url, "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "30"}
        command = [sys.executable, "-m", "agentcom", "monitor"]
        started.append(subprocess.Popen(command, env=environ, stdin=slave, stdout=slave, stderr=slave))
        os.close(slave)
        ours.append(master)
    over = threading.Event()
    reader = threading.Thread(target=_read_all, args=(ours, over))
    reader.start()
    try:
        time.sleep(40)  # until all of them have started, with two cores
        yield [process.pid for process in started]
    finally:
        _tell([process.pid for process in started], signal.SIGCONT)
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)
        over.set()
        reader.join()
        for master in ours:
            os.close(master)


def _read_all(masters: list[int], over: threading.Event) -> None:
    while not over.is_set():
        for master in select.select(masters, [], [], 0.2)[0]:
            try:
                os.read(master, 65_536)
            except OSError:  # its other side is closed
                over.wait(0.05)


PARTS: dict[str, Callable[[], Awaitable[None]]] = {"large": large, "twenty": twenty}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        print(f"\n{name}\n", flush=True)
        anyio.run(PARTS[name])


if __name__ == "__main__":
    main()
