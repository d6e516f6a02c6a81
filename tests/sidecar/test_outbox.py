"""The outbox: on disk before it is sent, in order, once; and no trouble of Redis or the disk stops it."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from agentcom.sidecar import outbox as outbox_module
from agentcom.sidecar import trouble
from agentcom.sidecar.journal import Journal, RunNote
from agentcom.sidecar.outbox import BATCH_MAX, Outbox
from agentcom.sidecar.trouble import Complaints
from tests.sidecar.harness import assign, until


class Store:
    """Takes batches unless it is in trouble."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], list[bytes]]] = []
        self.trouble: Exception | None = None
        self.hangs = False
        self.tries = 0

    async def finish(self, settled: Sequence[str], reports: Sequence[bytes]) -> None:
        self.tries += 1
        while self.hangs:
            await anyio.sleep(0.01)
        if self.trouble is not None:
            raise self.trouble
        await anyio.lowlevel.checkpoint()
        self.batches.append((list(settled), list(reports)))

    @property
    def reports(self) -> list[bytes]:
        return [report for _, reports in self.batches for report in reports]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "backoff_s", lambda attempt: 0.01)


@asynccontextmanager
async def running(folder: Path, store: Store) -> AsyncIterator[Outbox]:
    outbox = Outbox(store, Journal(folder), Complaints().of("reports"))  # type: ignore[arg-type]
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        yield outbox
        group.cancel_scope.cancel()


async def test_what_is_put_arrives_with_what_it_settles_and_leaves_no_file(tmp_path: Path):
    store = Store()
    Journal(tmp_path).started(RunNote("1-0", assign("sc-1"), 0))
    async with running(tmp_path, store) as outbox:
        outbox.put([b"{}"], ["1-0"])
        assert (outbox.unsent, outbox.settling) == (1, {"1-0"})
        await outbox.empty()
        assert (outbox.unsent, outbox.settling) == (0, set())
    assert store.batches == [(["1-0"], [b"{}"])]
    assert (Journal(tmp_path).unsent(), Journal(tmp_path).runs()) == ([], [])


async def test_what_comes_together_leaves_together_in_its_order(tmp_path: Path):
    store = Store()
    async with running(tmp_path, store) as outbox:
        for number in range(40):
            outbox.put([b"%d" % number], [f"{number}-0"])
        await outbox.empty()
    assert store.reports == [b"%d" % number for number in range(40)]
    assert len(store.batches) == 1


async def test_a_batch_is_bounded_and_never_parts_a_report_from_what_it_settles(tmp_path: Path):
    store = Store()
    async with running(tmp_path, store) as outbox:
        for number in range(2_000):
            outbox.put([b"%d" % number], [f"{number}-0"])
        await outbox.empty()
    assert store.reports == [b"%d" % number for number in range(2_000)]
    for settled, reports in store.batches:
        assert len(settled) + len(reports) <= BATCH_MAX + 2
        assert settled == [f"{report.decode()}-0" for report in reports]


@pytest.mark.pitfall_3
@pytest.mark.parametrize("hangs", [False, True], ids=["refused", "hanging"])
async def test_outcomes_reached_while_redis_is_away_are_all_on_the_disk(tmp_path: Path, hangs: bool):
    store = Store()
    store.hangs, store.trouble = hangs, RedisConnectionError("away")
    journal = Journal(tmp_path)
    for number in range(3):
        journal.started(RunNote(f"{number}-0", assign("sc-1"), 0))
    async with running(tmp_path, store) as outbox:
        for number in range(3):
            outbox.put([b"%d" % number], [f"{number}-0"])
            await anyio.sleep(outbox_module.GATHER_S * 2)
        # This is what is found after a SIGKILL now.
        found = Journal(tmp_path)
        assert [note.settled for note in found.unsent()] == [["0-0"], ["1-0"], ["2-0"]]
        assert found.runs() == []
        assert outbox.unsent == 3
        store.hangs, store.trouble = False, None
        await outbox.empty()
    assert store.reports == [b"0", b"1", b"2"]


async def test_what_was_put_in_the_last_moment_is_on_the_disk_when_the_outbox_is_ended(tmp_path: Path):
    store = Store()
    store.hangs = True
    async with running(tmp_path, store) as outbox:
        outbox.put([b"1"], ["1-0"])
        await anyio.sleep(0.01)
        outbox.put([b"2"], ["2-0"])
    assert [note.settled for note in Journal(tmp_path).unsent()] == [["1-0"], ["2-0"]]


async def test_what_an_earlier_start_left_is_sent_before_what_is_new(tmp_path: Path):
    store = Store()
    Journal(tmp_path).queued(["1-0"], [b"1"])
    [note] = Journal(tmp_path).unsent()
    outbox = Outbox(store, Journal(tmp_path), Complaints().of("reports"))  # type: ignore[arg-type]
    outbox.resume(note)
    outbox.put([b"2"], ["2-0"])
    assert outbox.unsent == 2
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        await outbox.empty()
        group.cancel_scope.cancel()
    assert store.reports == [b"1", b"2"]
    assert Journal(tmp_path).unsent() == []


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
        ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError("BUSY Redis is busy running a script."),
        ConnectionResetError("reset"),
    ],
    ids=lambda error: str(error).split()[0],
)
async def test_trouble_of_any_kind_is_waited_out(tmp_path: Path, error: Exception):
    store = Store()
    store.trouble = error
    async with running(tmp_path, store) as outbox:
        outbox.put([b"1"], ["1-0"])

        async def tried() -> bool:
            return store.tries > 3

        await until(tried)
        store.trouble = None
        await outbox.empty()
    assert store.batches == [(["1-0"], [b"1"])]


@pytest.mark.pitfall_3
async def test_a_full_disk_is_no_reason_to_keep_an_outcome_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store()
    Journal(tmp_path).started(RunNote("1-0", assign("sc-1"), 0))

    def full(self: Journal, settled: list[str], reports: list[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Journal, "queued", full)
    async with running(tmp_path, store) as outbox:
        store.hangs = True
        outbox.put([b"1"], ["1-0"])
        await anyio.sleep(0.02)
        assert [note.entry for note in Journal(tmp_path).runs()] == ["1-0"], "until Redis has its end, it may be lost"
        store.hangs = False
        outbox.put([b"2"], [])
        await outbox.empty()
    assert store.reports == [b"1", b"2"]
    assert Journal(tmp_path).runs() == []


async def test_trouble_that_comes_again_is_said_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = Store()
    with caplog.at_level(logging.INFO, "agentcom.sidecar"):
        async with running(tmp_path, store) as outbox:
            for _ in range(2):
                store.trouble, tried = ResponseError("FULL 9 reports wait unread"), store.tries
                outbox.put([b"{}"], [])
                while store.tries <= tried + 2:
                    await anyio.sleep(0.01)
                store.trouble = None
                await outbox.empty()
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said == ["Redis is in trouble, trying again", "Redis answers again"] * 2
