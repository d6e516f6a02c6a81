"""One agent's name, two sidecars: the newer one works, the older one stops itself and says why."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from agentcom.broker.connection import Connections
from agentcom.broker.embedded import EmbeddedServer
from agentcom.broker.sidecar_store import SidecarStore
from agentcom.errors import ConfigurationError
from agentcom.model.messages import Beat, Goodbye, Hello
from agentcom.processes import identify
from agentcom.settings import Policy
from agentcom.sidecar.card import card_of
from agentcom.sidecar.journal import Journal, RunNote
from agentcom.sidecar.runners.python import Task
from agentcom.sidecar.service import SidecarService
from tests.broker.servers import ALL_KINDS, FAKE, FakeConnections, running, without_shebangs
from tests.patience import PATIENCE_S
from tests.sidecar.bench import gone, written
from tests.sidecar.harness import POLICY, Desk, assign, command, desk_client, python, until, working

pytestmark = [pytest.mark.process, pytest.mark.pitfall_4]

OLD, NEW = "sc-1700000000000-1-aaaa", "sc-1700000000001-1-aaaa"
BEAT_S = 2.0


@pytest.fixture(params=ALL_KINDS)
async def connections(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connections]:
    if request.param == FAKE:
        without_shebangs(monkeypatch)
        yield FakeConnections()
        return
    with running(tmp_path, request.param) as server:
        connections = Connections(server.url)
        yield connections
        await connections.close()


class Name:
    """Starts of one agent's sidecar, as far as their beats go."""

    def __init__(self, connections: Connections) -> None:
        self.redis = connections.commands
        self._connections = connections
        self._count = 0

    def store(self, incarnation: str) -> SidecarStore:
        return SidecarStore(self._connections, "p", "oak", incarnation, Policy(stale_beats=3))

    def body(self, incarnation: str) -> Beat:
        self._count += 1
        return Beat(agent="oak", incarnation=incarnation, count=self._count, at=1, state="idle")

    async def beat(self, incarnation: str) -> str:
        return await self.store(incarnation).beat(self.body(incarnation), BEAT_S)

    async def leave(self, incarnation: str) -> None:
        await self.store(incarnation).leave(self.body(incarnation), BEAT_S)

    async def last(self) -> bytes:
        return await self.redis.get("ac:{p}:beat:oak") or b""


@pytest.fixture
def name(connections: Connections) -> Name:
    return Name(connections)


async def test_a_beat_takes_the_place_of_an_older_starts(name: Name):
    assert await name.beat(OLD) == ""
    assert await name.beat(NEW) == ""
    assert NEW.encode() in await name.last()
    assert await name.beat(NEW) == ""


async def test_a_fresh_beat_of_a_newer_start_stays_and_says_who_it_is(name: Name):
    await name.beat(NEW)
    assert await name.beat(OLD) == NEW
    assert NEW.encode() in await name.last()


@pytest.mark.parametrize(("age_beats", "stays"), [(2.8, True), (3.2, False)])
async def test_a_beat_that_is_stale_stands_in_nobodys_way(name: Name, age_beats: float, stays: bool):
    await name.beat(NEW)
    ttl_ms = await name.redis.pttl("ac:{p}:beat:oak")
    await name.redis.pexpire("ac:{p}:beat:oak", int(ttl_ms - age_beats * BEAT_S * 1000))
    assert await name.beat(OLD) == (NEW if stays else "")


async def test_who_leaves_takes_its_beat_along_and_nobody_elses(name: Name):
    await name.beat(NEW)
    await name.leave(OLD)
    assert NEW.encode() in await name.last()
    await name.leave(NEW)
    await anyio.sleep(0.02)
    assert await name.last() == b""
    assert await name.beat(OLD) == ""


@pytest.mark.parametrize("garbage", [b"", b"garbage", b'{"incarnation":5}', b"\xff\x00"])
async def test_what_is_no_beat_is_overwritten(name: Name, garbage: bytes):
    await name.redis.set("ac:{p}:beat:oak", garbage, px=60_000)
    assert await name.beat(OLD) == ""


async def test_a_key_of_another_type_is_overwritten(name: Name):
    await name.redis.hset("ac:{p}:beat:oak", "in", "the way")
    assert await name.beat(OLD) == ""
    assert OLD.encode() in await name.last()


# --------------------------------------------------------------------- sidecars


async def for_ever(task: Task) -> None:
    await anyio.sleep_forever()


def refusal() -> pytest.RaisesExc[ConfigurationError]:
    return pytest.RaisesExc(ConfigurationError, match=r"a newer sidecar of agent 'oak' has taken over \(sc-.*\)")


@pytest.mark.pitfall_3
async def test_of_two_machines_the_newer_works_and_the_older_ends_what_it_ran_and_stops(
    server: EmbeddedServer, pool, tmp_path
):
    runner = command(tmp_path / "a", "sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 3600")

    async def be_superseded() -> None:
        async with working(server.url, pool, tmp_path / "a", runner) as older:
            order = await older.order()
            await written(tmp_path / "pid")
            async with working(server.url, pool, tmp_path / "b", command(tmp_path / "b", "true")) as newer:
                with anyio.fail_after(PATIENCE_S):
                    await older.ended.wait()
                assert gone(int((tmp_path / "pid").read_text()), 0)
                assert len(await until(partial(newer.desk.finished, order.token))) >= 1
                beat = await newer.desk.beat()
                assert beat is not None
                assert (beat.incarnation, newer.ended.is_set()) == (newer.incarnation, False)
                done = await newer.order()
                assert (await newer.desk.outcome(done)).outcome.result == "completed"

    with pytest.RaisesGroup(refusal(), flatten_subgroups=True, allow_unwrapped=True):
        await be_superseded()


def service_at(url: str, pool: str, folder: Path, now: int) -> tuple[SidecarService, Connections]:
    """A sidecar with a clock of its own."""
    connections = Connections(url, one_reader=True)
    card = card_of({}, slots=1, accepts="", context_tokens=0, runner="python", version="test")
    service = SidecarService(connections, pool, "oak", card, python(for_ever), folder, POLICY, clock=lambda: now)
    return service, connections


async def run_for(url: str, pool: str, folder: Path, now: int, seconds: float) -> None:
    """Started with this clock, and killed after so long."""
    service, connections = service_at(url, pool, folder, now)
    try:
        with anyio.move_on_after(seconds):
            await service.run()
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()


async def test_a_sidecar_whose_clock_is_behind_does_not_begin_beside_one_that_works(
    server: EmbeddedServer, pool, tmp_path
):
    async with working(server.url, pool, tmp_path / "a", python(for_ever)) as newer:
        with pytest.raises(ConfigurationError, match="a newer sidecar of agent 'oak' has taken over"):
            await run_for(server.url, pool, tmp_path / "b", 1_600_000_000_000, 5)
        assert [type(one) for one in await newer.desk.reports()] == [Hello], "it did not say hello"
        assert not newer.ended.is_set()


@pytest.fixture
def left() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


async def test_before_it_gives_up_it_ends_what_an_earlier_start_of_it_left_running(
    server: EmbeddedServer, pool, tmp_path, left: subprocess.Popen[bytes]
):
    journal = Journal(tmp_path / "b" / "journal")
    journal.started(RunNote("1-0", assign(OLD), 1, identify(left.pid)))
    async with working(server.url, pool, tmp_path / "a", python(for_ever)):
        with pytest.raises(ConfigurationError, match="newer sidecar"):
            await run_for(server.url, pool, tmp_path / "b", 1, 5)
    assert left.poll() is not None
    assert journal.runs() == []


async def test_on_one_machine_a_clock_that_was_set_back_keeps_no_sidecar_from_starting(
    server: EmbeddedServer, pool, tmp_path
):
    day_ms = 86_400_000
    redis = desk_client(server.url)
    desk = Desk(redis, pool, "oak")
    for number, now in enumerate((day_ms * 20_000, day_ms * 19_999, 5)):
        await run_for(server.url, pool, tmp_path, now, 0.5)
        greeted = [one.incarnation for one in await desk.reports() if isinstance(one, Hello)]
        assert len(set(greeted)) == number + 1
        assert greeted == sorted(greeted)
    await redis.aclose()


async def test_a_sidecar_that_stopped_in_good_order_keeps_no_other_from_starting(
    server: EmbeddedServer, pool, tmp_path
):
    async with working(server.url, pool, tmp_path / "a", python(for_ever)) as first:

        async def no_beat() -> bool:
            return await first.desk.beat() is None

        await first.stop()
        assert any(isinstance(one, Goodbye) for one in await first.desk.reports())
        await until(no_beat)
        await run_for(server.url, pool, tmp_path / "b", 1_600_000_000_000, 0.5)
        assert len({one.incarnation for one in await first.desk.reports() if isinstance(one, Hello)}) == 2
