"""Connected is not available: a sidecar whose agent cannot work says so, and hands back what it is given."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import structs

from agentcom.broker.embedded import EmbeddedServer
from agentcom.model.messages import Ask, Beat, Hello
from agentcom.settings import AgentSettings
from agentcom.sidecar import journal as journal_module
from agentcom.sidecar.runners.command import CommandRunner
from agentcom.sidecar.runners.python import Task
from tests.sidecar.harness import POLICY, Sidecar, assign, command, python, until, working

pytestmark = [pytest.mark.process, pytest.mark.pitfall_7]

WATCHFUL = structs.replace(POLICY, self_test_s=0.3, self_test_limit_s=0.5, disk_free_bytes=0)
PATIENT = structs.replace(POLICY, self_test_s=3_600.0, beat_s=30.0, disk_free_bytes=0)


async def at_once(task: Task) -> str:
    return "done"


def with_self_test(folder: Path, script: str) -> CommandRunner:
    """An agent whose self-test is this script."""
    settings = AgentSettings(command=("true",), self_test=("sh", "-c", script))
    return CommandRunner("oak", settings, folder, os.environ, POLICY)


async def beat_with(sidecar: Sidecar, *problems: str) -> Beat:
    """The first beat whose self-test found just what begins like this."""

    async def told() -> Beat | None:
        beat = await sidecar.desk.beat()
        if beat is None or not beat.test.count or len(beat.test.problems) != len(problems):
            return None
        return beat if all(map(str.startswith, beat.test.problems, problems)) else None

    found: Beat = await until(told)
    return found


async def test_the_first_hello_tells_what_the_self_test_found(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        test = (await sidecar.desk.hello()).test
        assert (test.count, test.problems) == (1, ())
        assert test.at > 0


async def test_an_agent_that_cannot_be_woken_says_so_from_the_beginning(server: EmbeddedServer, pool, tmp_path):
    runner = command(tmp_path, "no-such-program")
    async with working(server.url, pool, tmp_path, runner) as sidecar:
        [problem] = (await sidecar.desk.hello()).test.problems
        assert problem.startswith("the agent cannot be woken: there is no program 'no-such-program' in the PATH")
        outcome = (await sidecar.desk.outcome(await sidecar.order())).outcome
        assert (outcome.result, outcome.reason, outcome.detail) == ("handed_back", "unfit", problem)


async def test_a_self_test_that_changes_its_mind_is_told_at_once_and_decides_what_is_taken(
    server: EmbeddedServer, pool, tmp_path
):
    runner = with_self_test(tmp_path / "agent", f"test ! -e {tmp_path}/broken || {{ echo not logged in; exit 1; }}")
    policy = structs.replace(WATCHFUL, beat_s=30.0)
    async with working(server.url, pool, tmp_path / "agent", runner, policy=policy) as sidecar:
        assert (await sidecar.desk.hello()).test.problems == ()
        (tmp_path / "broken").touch()
        beat = await beat_with(sidecar, "the agent cannot be woken: its self-test ended with exit code 1: not logged")
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.reason == "unfit"
        (tmp_path / "broken").unlink()
        assert (await beat_with(sidecar)).test.count > beat.test.count
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"


async def test_a_self_test_that_hangs_is_a_problem_and_holds_nothing_up(server: EmbeddedServer, pool, tmp_path):
    runner = with_self_test(tmp_path, "trap '' TERM; sleep 60")
    async with working(server.url, pool, tmp_path, runner, policy=WATCHFUL) as sidecar:
        assert (await sidecar.desk.hello()).test.problems == ("the agent did not answer within 0.5 s",)
        first = await sidecar.desk.beat()
        assert first is not None

        async def beats_on() -> bool:
            beat = await sidecar.desk.beat()
            return beat is not None and beat.count > first.count + 3

        await until(beats_on)


async def test_a_failed_wake_is_followed_by_a_self_test_at_once(server: EmbeddedServer, pool, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    runner = command(tmp_path / "agent", str(program))
    async with working(server.url, pool, tmp_path / "agent", runner, policy=PATIENT) as sidecar:
        await sidecar.desk.outcome(await sidecar.order())
        program.unlink()
        outcome = (await sidecar.desk.outcome(await sidecar.order())).outcome
        assert (outcome.result, outcome.reason) == ("failed", "wake_failed")
        await beat_with(sidecar, f"the agent cannot be woken: there is no program '{program}'")
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.reason == "unfit"


async def test_orders_that_redis_does_not_let_it_renew_are_a_problem_until_it_does(
    server: EmbeddedServer, pool, tmp_path
):
    async def a_while(task: Task) -> None:
        await anyio.sleep(1.5)

    async with working(server.url, pool, tmp_path, python(a_while)) as sidecar:
        redis, orders = sidecar.desk.redis, sidecar.desk.orders
        await sidecar.order()
        await until(sidecar.desk.pending)
        await redis.rename(orders, f"{orders}-aside")
        await redis.hset(orders, "in", "the way")
        await beat_with(sidecar, "Redis refuses: ")
        await redis.delete(orders)
        await redis.rename(f"{orders}-aside", orders)
        await beat_with(sidecar)


# ------------------------------------------------------------------------- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = sys.platform == "linux" and mount("-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place))
    if not mounted:
        pytest.skip("to mount is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def fill(place: Path) -> Path:
    """Leave no byte free."""
    rubbish = place / "rubbish"
    with rubbish.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 512)
    return rubbish


@pytest.mark.pitfall_3
@pytest.mark.parametrize("trouble", ["full", "read-only"])
async def test_on_a_disk_that_refuses_work_is_handed_back_and_taken_again_when_it_does_not(
    server: EmbeddedServer, pool, disk: Path, trouble: str
):
    """Between two self-tests the disk becomes full: the first order meets that, and a self-test is made at once."""
    folder = disk / "agent"
    folder.mkdir()
    runner = command(folder, "sh", "-c", "echo $$")
    async with working(server.url, pool, folder, runner, policy=PATIENT) as sidecar:
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"
        if trouble == "full":
            rubbish = fill(disk)
        else:
            assert mount("-o", "remount,ro", str(disk))
        for _ in range(3):
            outcome = (await sidecar.desk.outcome(await sidecar.order())).outcome
            assert (outcome.result, outcome.reason) == ("handed_back", "unfit")
            assert ("No space left" if trouble == "full" else "Read-only") in outcome.detail
        beat = await beat_with(sidecar, f"{folder}/", f"{folder}/workspaces")
        assert beat.test.count <= 8, "it does not test itself in a loop"
        if trouble == "full":
            rubbish.unlink()
        else:
            assert mount("-o", "remount,rw", str(disk))
        sidecar.service._tests.suspect()  # as its next self-test would, in five minutes
        await beat_with(sidecar)
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"
        assert (await sidecar.desk.left(), await sidecar.desk.pending()) == (0, [])


@pytest.mark.pitfall_3
async def test_a_disk_that_becomes_full_while_an_agent_works_loses_neither_it_nor_its_outcome(
    server: EmbeddedServer, pool, disk: Path
):
    folder = disk / "agent"
    folder.mkdir()
    runner = command(folder, "sh", "-c", "echo begun; sleep 1; exit 3")
    async with working(server.url, pool, folder, runner, policy=structs.replace(POLICY, disk_free_bytes=0)) as sidecar:
        order = await sidecar.order()
        await until(lambda: sidecar.desk.output(order.task))
        fill(disk)
        outcome = (await sidecar.desk.outcome(order)).outcome
        assert (outcome.result, outcome.exit_code, outcome.detail) == ("failed", 3, "exit code 3: begun")


@pytest.mark.pitfall_3
async def test_a_sidecar_that_starts_on_a_full_disk_says_so_and_takes_no_work(server: EmbeddedServer, pool, disk: Path):
    folder = disk / "agent"
    folder.mkdir()
    fill(disk)
    async with working(server.url, pool, folder, command(folder, "true"), policy=PATIENT) as sidecar:
        assert len((await sidecar.desk.hello()).test.problems) == 2
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.reason == "unfit"


@pytest.mark.pitfall_3
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
async def test_a_note_that_the_disk_refuses_hands_the_order_back_and_starts_nothing(
    server: EmbeddedServer, pool, tmp_path, monkeypatch: pytest.MonkeyPatch, number: int
):
    """The same without a disk of its own: only the journal's writes are refused."""
    runner = command(tmp_path, "touch", str(tmp_path / "started"))
    async with working(server.url, pool, tmp_path, runner, policy=PATIENT) as sidecar:

        def refuse(handle: int, body: bytes) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(journal_module.os, "write", refuse)
        outcome = (await sidecar.desk.outcome(await sidecar.order())).outcome
        monkeypatch.undo()
        assert (outcome.result, outcome.reason) == ("handed_back", "unfit")
        assert os.strerror(number) in outcome.detail
        assert not (tmp_path / "started").exists()

        async def tested_again() -> bool:
            beat = await sidecar.desk.beat()
            return beat is not None and beat.test.count > 1

        sidecar.service._beats.want()
        await until(tested_again)
        assert (await sidecar.desk.outcome(await sidecar.order())).outcome.result == "completed"


# ------------------------------------------------------------------------- asked


@pytest.mark.pitfall_4
async def test_asked_how_an_attempt_ended_it_says_so_again(server: EmbeddedServer, pool, tmp_path):
    async with working(server.url, pool, tmp_path, python(at_once)) as sidecar:
        order = await sidecar.order()
        said = await sidecar.desk.outcome(order)
        await sidecar.desk.order(Ask(incarnation=sidecar.incarnation, task=order.task, token=order.token))

        async def said_again() -> bool:
            return await sidecar.desk.finished(order.token) == [said, said]

        await until(said_again)
        unknown = assign(sidecar.incarnation)
        await sidecar.desk.order(Ask(incarnation=sidecar.incarnation, task=unknown.task, token=unknown.token))
        assert (await sidecar.desk.outcome(unknown)).outcome.result == "lost"
        assert await sidecar.desk.left() == 0


@pytest.mark.pitfall_4
async def test_a_restarted_sidecar_still_knows_what_it_could_not_say_before(
    own_server: EmbeddedServer, pool, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agentcom.sidecar.service.GOODBYE_S", 0.2)
    runner = command(tmp_path, "sleep", "0.5")
    async with working(own_server.url, pool, tmp_path, runner) as sidecar:
        order = await sidecar.order()
        await until(sidecar.desk.pending)
        own_server.kill()
        await sidecar.stop()
    own_server.start()
    async with working(own_server.url, pool, tmp_path, runner) as sidecar:
        said: Any = await sidecar.desk.outcome(order)
        await sidecar.desk.order(Ask(incarnation=sidecar.incarnation, task=order.task, token=order.token))

        async def said_again() -> bool:
            return await sidecar.desk.finished(order.token) == [said, said]

        await until(said_again)
        assert any(isinstance(one, Hello) for one in await sidecar.desk.reports())
