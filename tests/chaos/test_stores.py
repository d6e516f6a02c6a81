"""The power cuts of the chaos runs take the end of the file, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.ledger import now_ms
from tests.chaos.stores import OneServer

pytestmark = pytest.mark.process


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OneServer]:
    store = OneServer(tmp_path / "store", "everysec")
    store.start()
    yield store
    store.stop()


def written(store: OneServer, name: str) -> None:
    """Something that is long, and that the store has seen in its file."""
    with store.client() as client:
        client.set(name, "x" * 100_000)
    time.sleep(0.1)
    store.tend()


def names(store: OneServer) -> set[str]:
    with store.client() as client:
        return {name.decode() for name in client.scan_iter("*")}


def test_a_cut_takes_what_was_written_last_and_keeps_what_was_there_before(store: OneServer) -> None:
    written(store, "early")
    time.sleep(1.2)
    store.tend()
    written(store, "late")
    store.cut_power(1.0)
    store.start()
    assert names(store) == {"early"}
    assert len(store.losses) == 1


def test_a_second_cut_right_after_the_first_takes_nothing_that_the_first_had_left(store: OneServer) -> None:
    written(store, "early")
    time.sleep(1.2)
    store.tend()
    written(store, "late")
    store.cut_power(1.0)
    for share in (0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.24, 0.5, 1.0):
        store.start()
        store.cut_power(share)
    store.start()
    assert names(store) == {"early"}


def test_a_kill_may_lose_what_was_not_written_yet_where_the_file_is_flushed_once_a_second(store: OneServer) -> None:
    at = now_ms()
    store.kill()
    assert [loss.has(at) for loss in store.losses] == [True]


def test_a_kill_loses_nothing_where_every_write_is_flushed(tmp_path: Path) -> None:
    store = OneServer(tmp_path / "store", "always")
    store.start()
    store.kill()
    assert store.losses == []


SLOW_DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int slowly(const char *name, int fd) {
    usleep(1500000);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fdatasync(int fd) { return slowly("fdatasync", fd); }
int fsync(int fd) { return slowly("fsync", fd); }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_what_the_judge_excuses_of_a_kill_does_happen_where_the_disk_lags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Redis had acknowledged is gone after SIGKILL, all of it from the time of the loss that is noted."""
    source, library = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(SLOW_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    store = OneServer(tmp_path / "store", "everysec")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    store.start()
    monkeypatch.delenv("LD_PRELOAD")
    acknowledged: dict[str, int] = {}
    with store.client() as client:
        # Until a flush has just begun: what comes now stays in memory alone, as the server says itself.
        while "late" not in acknowledged:
            client.set(f"n{len(acknowledged)}", 1)
            acknowledged[f"n{len(acknowledged)}"] = now_ms()
            if int(client.info("persistence")["aof_buffer_length"]) > 0:
                client.set("late", 1)
                acknowledged["late"] = now_ms()
            time.sleep(0.01)
    store.kill()
    store.start()
    gone = acknowledged.keys() - names(store)
    store.stop()
    assert "late" in gone
    assert all(store.losses[0].has(acknowledged[name], 50) for name in gone)
