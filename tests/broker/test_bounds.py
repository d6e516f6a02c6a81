"""Bounded everywhere: every key has an owner and a bound, and what would go beyond one is refused with a reason."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from msgspec import Raw
from redis.exceptions import ResponseError

from agentcom.broker.embedded import EmbeddedServer
from agentcom.broker.keys import TABLE, Kept, Keys, kind_of
from agentcom.broker.scheduler_store import SchedulerStore
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.client import Client
from agentcom.errors import Refused
from agentcom.model.agent import MAX_AGENTS, Card
from agentcom.model.codec import encode
from agentcom.model.messages import Cancel, Finished, Goodbye, Hello, Refusal, Submit
from agentcom.model.task import Outcome, TaskSpec
from agentcom.settings import Policy
from agentcom.sidecar.runners.python import PythonRunner, Task
from agentcom.sidecar.service import SidecarService
from tests.broker.servers import any_binary
from tests.scheduler.harness import QUICK, Agent, Pool, at_work, eventually, leading, make_id

pytestmark = [pytest.mark.process, pytest.mark.pitfall_6]

_numbers = itertools.count()
WEEK_MS = 7 * 86_400_000


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("bounds"), any_binary()) as server:
        yield server


@pytest.fixture
async def make_pool(shared_server: EmbeddedServer) -> AsyncIterator[Callable[..., Pool]]:
    made: list[Pool] = []

    def make(**policy: Any) -> Pool:
        made.append(Pool(shared_server.url, f"b{next(_numbers)}", msgspec.structs.replace(QUICK, **policy)))
        return made[-1]

    yield make
    for pool in made:
        await pool.connections.close()


# ---------------------------------------------------------------- every key


LENGTHS = {"stream": "xlen", "hash": "hlen", "zset": "zcard"}


async def _length(pool: Pool, key: str, kept: Kept) -> int:
    return int(await getattr(pool.redis, LENGTHS[kept.type])(key))


async def _within_cap(pool: Pool, key: str, kept: Kept) -> bool:
    most = getattr(pool.policy, kept.cap) if kept.cap else MAX_AGENTS
    return await _length(pool, key, kept) <= most * 1.5 + 100  # whole nodes of a stream are trimmed


async def _passes(pool: Pool, key: str) -> bool:
    longest = WEEK_MS if key == pool.names.alerts else max(pool.policy.retention_s, 3_600) * 1000
    return bool(0 < await pool.redis.pttl(key) <= longest)


async def _is_bounded(pool: Pool, key: str, kept: Kept) -> bool:
    name = pool.names.name_of(key).rpartition(":")[2]
    match kept.bound:
        case "empty at rest":
            return not await _length(pool, key, kept)
        case "of an agent":
            return not await _length(pool, key, kept) and bool(await pool.redis.hexists(pool.names.agents, name))
        case "capped":
            return await _within_cap(pool, key, kept)
        case "passes":
            return await _passes(pool, key) and (not kept.cap or await _within_cap(pool, key, kept))
        case "open or passes":
            return await pool.redis.zscore(pool.names.open, name) is not None or await _passes(pool, key)
        case "one":
            return await _length(pool, key, kept) <= 20


async def unbounded(pool: Pool) -> list[str]:
    """Keys in the pool's database that have no owner or no bound."""
    found: list[str] = []
    async for raw in pool.redis.scan_iter(match=pool.names.every):
        key = raw.decode()
        kept, kind = kind_of(pool.names.name_of(key)), (await pool.redis.type(key)).decode()
        if kind != "none" and (kept is None or kept.type != kind or not await _is_bounded(pool, key, kept)):
            found.append(pool.names.name_of(key))
    return sorted(found)


async def work(task: Task) -> str:
    task.log("working\n" * 50)
    if "fail" in task.text:
        raise ValueError("as told")
    return "done"


def sidecar_of(pool: Pool, folder: Path) -> SidecarService:
    card = Card(slots=5, beat_s=pool.policy.beat_s)
    return SidecarService(pool.connections, pool.name, "oak", card, PythonRunner(work), folder, pool.policy)


async def live_a_life(pool: Pool) -> None:
    """Something of everything: completed, failed until dead, canceled, retried, refused, garbage, dependants, keys."""
    good = [TaskSpec(id=make_id(), text="do it", key=f"k{n}") for n in range(5)]
    bad = TaskSpec(id=make_id(), text="fail", max_attempts=2)
    later = TaskSpec(id=make_id(), text="afterwards", after=(good[0].id,))
    nobody = TaskSpec(id=make_id(), text="for nobody", agent="nobody")
    refused = TaskSpec(id=make_id(), text="x", after=(make_id(),))
    await pool.request([*good, bad, later, nobody, refused])
    for stream in (pool.names.inbox, pool.names.reports):
        await pool.redis.xadd(stream, {"m": "garbage"})
    await eventually(lambda: pool.all_completed([spec.id for spec in (*good, later)]))
    await eventually(lambda: pool.redis.xlen(pool.names.dead))
    async with Client(pool.url, pool.name) as client:
        assert await client.cancel(nobody.id)
        assert await client.retry(nobody.id)
        assert await client.cancel(nobody.id)
    await eventually(lambda: _at_rest(pool), 20)


async def _at_rest(pool: Pool) -> bool:
    streams = (pool.names.inbox, pool.names.reports, pool.names.orders("oak"))
    lengths = [await pool.redis.xlen(stream) for stream in streams]
    return not any(lengths) and not await pool.redis.zcard(pool.names.open)


async def test_a_pool_that_has_lived_has_no_key_without_owner_and_bound(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = make_pool(output_entries=20, journal_entries=50, dead_entries=10)
    async with at_work() as group, leading(pool, group):
        group.start_soon(sidecar_of(pool, tmp_path).run)
        await live_a_life(pool)
        # That nothing is open any more leaves no index; whether somebody is told of an incident is a matter of luck.
        every_kind = {kept.name.partition(":")[0] for kept in TABLE} - {"open", "alerts"}
        await eventually(lambda: _has(pool, every_kind))
        await eventually(lambda: _all_bounded(pool))


async def _all_bounded(pool: Pool) -> bool:
    return await unbounded(pool) == []


async def test_when_everything_is_past_its_retention_only_the_pool_itself_is_left(
    make_pool: Callable[..., Pool], tmp_path: Path
) -> None:
    pool = make_pool(retention_s=1.0)
    async with at_work() as group, leading(pool, group):
        sidecar = sidecar_of(pool, tmp_path)
        async with at_work() as life:
            life.start_soon(sidecar.run)
            await live_a_life(pool)
            sidecar.stop()
            await eventually(lambda: pool.said("goodbye"))
            # These are kept for longer than this test lasts, but not for ever: see above.
            passing = [key async for key in pool.redis.scan_iter(match=pool.names.every) if b":refused:" in key]
            await pool.redis.delete(pool.names.beat("oak"), *passing)
        await eventually(
            lambda: _has(pool, {"inbox", "reports", "journal", "dead", "keys", "costs", "head", "leader"}), 20
        )


async def _has(pool: Pool, kinds: set[str]) -> bool:
    names = {pool.names.name_of(key.decode()) async for key in pool.redis.scan_iter(match=pool.names.every)}
    return kinds == {name.partition(":")[0] for name in names} - {"alerts"}


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("unheard-of", lambda redis, key: redis.set(key, "x", ex=10)),
        ("taskless:t1", lambda redis, key: redis.set(key, "x", ex=10)),
        ("journal", lambda redis, key: redis.set(key, "x", ex=10)),
        ("inbox", lambda redis, key: redis.xadd(key, {"m": "x"})),
        ("task:t1", lambda redis, key: redis.set(key, "x")),
        ("output:t1", lambda redis, key: redis.xadd(key, {"t": "x"})),
        ("beat:oak", lambda redis, key: redis.set(key, "x", ex=10**9)),
        ("orders:nobody", lambda redis, key: redis.xgroup_create(key, "sidecar", "0", mkstream=True)),
        ("dead", lambda redis, key: _fill(redis, key, 200)),
        ("head", lambda redis, key: redis.hset(key, mapping={str(n): n for n in range(30)})),
    ],
)
async def test_the_test_of_keys_can_fail(
    make_pool: Callable[..., Pool], key: str, make: Callable[[Any, str], Awaitable[Any]]
) -> None:
    pool = make_pool(dead_entries=10)
    await make(pool.redis, pool.names.named(key))
    assert await unbounded(pool) == [key]


async def _fill(redis: Any, key: str, count: int) -> None:
    for _ in range(count):
        await redis.xadd(key, {"m": "x"})


# -------------------------------------------------- no scheduler reads the inbox


async def _publish(pool: Pool) -> None:
    """A leader was there once, and said how much may wait."""
    store = SchedulerStore(pool.connections, pool.name, pool.policy)
    assert await store.lead("once")
    await store.resign("once")


def _submission(count: int = 1) -> Submit:
    return Submit(tasks=[Raw(encode(TaskSpec(id=make_id(), text="x"))) for _ in range(count)])


async def test_submissions_are_refused_whole_while_too_many_requests_wait(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(max_inbox=10)
    await _publish(pool)
    async with Client(pool.url, pool.name) as client:
        answers = await client.submit_each([{"text": str(n)} for n in range(1_001)], confirm_s=0)
        assert len(answers) == 1_001
        assert await pool.redis.exists(pool.names.inbox) == 0, "nothing of it was sent"
        reasons = {answer.reason for answer in answers if isinstance(answer, Refusal)}
        assert reasons == {
            "the inbox is full: 0 requests wait there unread, of at most 10, so these 11 requests do not fit. "
            "See with `agentcom monitor` whether a scheduler runs and takes work on, then send again"
        }
        assert not any(isinstance(one, Refusal) for one in await client.submit_each([{"text": "x"}] * 900, confirm_s=0))
        await client.submit("the last one", confirm_s=0)
        with pytest.raises(Refused, match="10 requests wait there unread, of at most 10, so this request does not fit"):
            await client.submit("one too many", confirm_s=0)
        assert await pool.redis.xlen(pool.names.inbox) == 10


async def test_a_submission_of_several_trips_is_refused_before_its_first(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(max_inbox=60)
    await _publish(pool)
    async with Client(pool.url, pool.name) as client:
        answers = await client.submit_each([{"text": str(n)} for n in range(6_100)], confirm_s=0)
        assert all(isinstance(answer, Refusal) for answer in answers)
        assert await pool.redis.exists(pool.names.inbox) == 0
        answers = await client.submit_each([{"text": str(n)} for n in range(6_000)], confirm_s=0)
        assert not any(isinstance(answer, Refusal) for answer in answers)
        assert await pool.redis.xlen(pool.names.inbox) == 60


async def test_what_was_begun_is_brought_to_an_end_within_the_reserve_and_answered_where_it_is_not(
    make_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(max_inbox=100)
    await _publish(pool)
    async with Client(pool.url, pool.name) as client:
        send = client.store.request

        async def send_between(*arguments: Any, **options: Any) -> list[str]:
            entries = await send(*arguments, **options)
            while await pool.redis.xlen(pool.names.inbox) < 160:
                await pool.redis.xadd(pool.names.inbox, {"m": "somebody else's"})
            return entries

        monkeypatch.setattr(client.store, "request", send_between)
        answers = await client.submit_each([{"text": str(n)} for n in range(10_000)], confirm_s=0)
        refused = [isinstance(answer, Refusal) for answer in answers]
        assert refused == [False] * 5_000 + [True] * 5_000, "the order of the answers is that of the tasks"
        assert await pool.redis.xlen(pool.names.inbox) == 160


async def test_to_cancel_passes_until_the_reserve_is_used_up_too(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(max_inbox=10)
    await _publish(pool)
    await pool.client.request([_submission() for _ in range(10)])
    with pytest.raises(Refused):
        await pool.client.request([_submission()])
    for _ in range(100):
        await pool.client.request([Cancel(task=make_id())])
    with pytest.raises(Refused, match="110 requests wait there unread, of at most 110"):
        await pool.client.request([Cancel(task=make_id())])
    async with Client(pool.url, pool.name) as client:
        with pytest.raises(Refused, match="the inbox is full"):
            await client.cancel(make_id())


async def test_many_submitters_at_once_do_not_go_beyond_the_bound(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(max_inbox=25)
    await _publish(pool)
    taken: list[str] = []

    async def submit() -> None:
        with suppress(Refused):
            taken.extend(await pool.client.request([_submission(), _submission()]))

    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(submit)
    assert len(taken) == await pool.redis.xlen(pool.names.inbox) == 24


async def test_the_bound_holds_where_no_scheduler_ever_ran(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    fill = "for _ = 1, 99999 do redis.call('XADD', KEYS[1], '*', 'm', 'x') end"
    await pool.redis.eval(fill, 1, pool.names.inbox)
    await pool.client.request([_submission()])
    with pytest.raises(Refused, match="100,000 requests wait there unread, of at most 100,000"):
        await pool.client.request([_submission()])


async def test_when_the_scheduler_is_back_all_that_was_taken_is_done_and_more_is_taken(
    make_pool: Callable[..., Pool],
) -> None:
    pool = make_pool(max_inbox=10)
    await _publish(pool)
    tasks = [make_id() for _ in range(10)]
    await pool.request([TaskSpec(id=task, text="x") for task in tasks])
    with pytest.raises(Refused):
        await pool.submit()
    async with at_work() as group, leading(pool, group):
        group.start_soon(Agent(pool, "oak").run)
        await eventually(lambda: pool.all_completed(tasks))
        more = await pool.submit()
        await eventually(lambda: pool.all_completed(more))


# ----------------------------------------------------------- a flood of reports


async def test_sidecars_that_come_and_go_leave_a_bounded_number_of_reports(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(max_inbox=50)
    refused = 0
    for turn in range(300):
        incarnation = f"sc-{turn:013d}"
        store = SidecarStore(pool.connections, pool.name, "oak", incarnation, pool.policy)
        for report in (
            Hello(agent="oak", incarnation=incarnation, card=Card()),
            Goodbye(agent="oak", incarnation=incarnation),
        ):
            try:
                await store.finish([], [encode(report)])
            except ResponseError:
                refused += 1
    assert refused == 550
    assert await pool.redis.xlen(pool.names.reports) == 50
    with pytest.raises(ResponseError, match="FULL 50 reports wait unread, and no more may: no scheduler reads them"):
        await store.finish([], [encode(report)])


async def test_what_settles_an_order_is_always_taken(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(max_inbox=5)
    async with at_work() as group:
        agent = Agent(pool, "oak", works=False)
        async with leading(pool, group) as leader:
            group.start_soon(agent.run)
            (task,) = await pool.submit()
            await eventually(lambda: _got(agent))
            await leader.stop()
        for _ in range(5):
            await pool.redis.xadd(pool.names.reports, {"m": "garbage"})
        await agent.finish(agent.entries[0], agent.got[0])
        assert await pool.redis.xlen(pool.names.reports) == 6
        async with leading(pool, group):
            await eventually(lambda: pool.all_completed([task]))


async def _got(agent: Agent) -> bool:
    return bool(agent.got)


async def test_a_flood_of_reports_under_a_leader_leaves_nothing_behind_and_work_goes_on(
    make_pool: Callable[..., Pool],
) -> None:
    pool = make_pool(journal_entries=200, lease_s=30.0)
    async with at_work() as group, leading(pool, group) as leader:
        group.start_soon(Agent(pool, "oak").run)
        first = await pool.submit(3, agent="oak")
        await eventually(lambda: pool.all_completed(first))
        before = await _used_memory(pool)
        for turn in range(60):
            await _flood(pool, turn)
        tasks = await pool.submit(3, agent="oak")
        await eventually(lambda: pool.all_completed(tasks), 60)
        await eventually(lambda: _drained(pool), 60)
        assert await pool.redis.xlen(pool.names.journal) <= 200 * 1.5 + 100
        assert await pool.redis.hlen(pool.names.agents) <= 12
        assert await _used_memory(pool) - before < 20_000_000
        assert leader.terms == 1


async def _flood(pool: Pool, turn: int) -> None:
    """Hellos, goodbyes, ends of nothing and garbage, 400 at once."""
    pipeline = pool.redis.pipeline(transaction=False)
    for number in range(100):
        name, incarnation = f"moth{number % 10}", f"sc-{turn:06d}{number:06d}"
        outcome = Outcome("completed", summary="x" * 4_000)
        for message in (
            Hello(agent=name, incarnation=incarnation, card=Card()),
            Goodbye(agent=name, incarnation=incarnation),
            Finished(agent=name, incarnation=incarnation, task=make_id(), token="1.x", outcome=outcome),
        ):
            pipeline.xadd(pool.names.reports, {"m": encode(message)})
        pipeline.xadd(pool.names.reports, {"m": "garbage" * 100})
    await pipeline.execute()


async def _used_memory(pool: Pool) -> int:
    return int((await pool.redis.info("memory"))["used_memory"])


async def _drained(pool: Pool) -> bool:
    return not await pool.redis.xlen(pool.names.reports)


# ----------------------------------------------------------- who never reads on


async def test_an_onlooker_that_never_reads_on_holds_nothing(make_pool: Callable[..., Pool]) -> None:
    """A frozen `agentcom journal -f`: the server keeps no answer for it beyond the one that it had asked for."""
    pool = make_pool(journal_entries=100)
    environ = os.environ | {"AGENTCOM_REDIS": pool.url, "AGENTCOM_POOL": pool.name}
    argv = [sys.executable, "-m", "agentcom", "journal", "-f"]
    async with at_work() as group, leading(pool, group):
        group.start_soon(Agent(pool, "oak").run)
        onlooker = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE)  # noqa: ASYNC220
        try:
            await eventually(lambda: _reads_journal(pool), 30)
            onlooker.send_signal(signal.SIGSTOP)
            before = await _used_memory(pool)
            for _ in range(5):
                tasks = await pool.submit(200)
                await eventually(lambda: pool.all_completed(tasks), 60)  # noqa: B023
            assert await pool.redis.xlen(pool.names.journal) <= 100 * 1.5 + 100
            assert await pool.redis.xinfo_groups(pool.names.journal) == []
            clients = await pool.redis.client_list()
            assert sum(int(client["omem"]) for client in clients) < 5_000_000
            assert await _used_memory(pool) - before < 20_000_000
        finally:
            onlooker.kill()
            onlooker.communicate()


async def _reads_journal(pool: Pool) -> bool:
    """Besides the scheduler, which reads, too."""
    return sum(client["cmd"] == "xread" for client in await pool.redis.client_list()) >= 2


# ------------------------------------------------------------------- the table


def test_every_name_that_the_code_makes_is_in_the_table() -> None:
    names = Keys("p")
    made = [value for value in vars(names).values() if value.startswith("ac:") and not value.endswith(":")]
    made += [names.task(make_id()), names.orders("oak.b-1"), names.beat("oak"), names.output(make_id())]
    made.append(names.refused("1700000000000-0"))
    kinds = [kind_of(names.name_of(name)) for name in made]
    assert None not in kinds
    assert {kept.name for kept in kinds if kept} == {kept.name for kept in TABLE}


def test_every_cap_is_a_setting() -> None:
    assert {kept.cap for kept in TABLE if kept.cap} <= set(msgspec.structs.asdict(Policy()))
