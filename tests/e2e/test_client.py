"""The Python API for those who have work done, against a real server, scheduler and agent."""

from __future__ import annotations

import os
import time

import anyio
import pytest

import agentcom
from agentcom.errors import Refused
from agentcom.ids import new_id
from agentcom.model.lifecycle import ENDED
from agentcom.model.messages import MAX_TASKS_PER_SUBMIT, Line
from tests.e2e.harness import a_pool
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.process, pytest.mark.anyio]


def an_id() -> str:
    return new_id(time.time_ns() // 1_000_000, os.urandom)


async def working(client: agentcom.Client, task: str) -> None:
    """Wait until its agent is at work on a task."""
    with anyio.fail_after(PATIENCE_S):
        while (record := await client.record(task)) is None or record.state != "working":
            await anyio.sleep(0.01)


async def let_go(client: agentcom.Client, task: str) -> None:
    """Wait until no agent has anything to do with a task."""
    with anyio.fail_after(PATIENCE_S):
        while any(task in agent.running.values() for agent in await client.agents()):
            await anyio.sleep(0.01)


async def test_more_tasks_than_fit_in_a_request_complete_in_the_order_of_their_dependencies(url: str) -> None:
    done: list[str] = []
    ids = [an_id() for _ in range(250)]
    after = {id_: tuple(ids[max(0, place - MAX_TASKS_PER_SUBMIT) : place : 33]) for place, id_ in enumerate(ids)}
    assert ids[89] in after[ids[123]], "some wait for tasks of an earlier request"

    async def work(task: agentcom.Task) -> None:
        done.append(task.id)

    async with a_pool(url, work, slots=20), agentcom.Client() as client:
        handles = await client.submit_many({"id": id_, "text": "work", "after": after[id_]} for id_ in ids)
        assert [handle.id for handle in handles] == ids
        assert all(handle.admitted and not handle.existing for handle in handles)
        with anyio.fail_after(PATIENCE_S):
            outcomes = [await handle.wait() for handle in handles]
    assert {outcome.result for outcome in outcomes} == {"completed"}
    assert sorted(done) == sorted(ids)
    turn = {id_: place for place, id_ in enumerate(done)}
    assert all(turn[earlier] < turn[id_] for id_ in ids for earlier in after[id_])


async def test_what_is_refused_is_named_and_the_tasks_around_it_are_done(url: str) -> None:
    first, bad, last = an_id(), an_id(), an_id()
    specs = [
        {"id": first, "text": "a"},
        {"id": bad, "text": "b", "requires": "python >="},
        {"id": last, "text": "c"},
    ]
    async with a_pool(url), agentcom.Client() as client:
        with pytest.raises(Refused) as caught:
            await client.submit_many(specs)
        assert str(caught.value).startswith(f"{bad}: requires: ")
        assert first not in str(caught.value)
        assert last not in str(caught.value)
        for task in (first, last):
            assert (await client.wait(task, PATIENCE_S)).result == "completed"


async def test_the_lines_of_a_task_are_watched_until_it_completed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_pool(url), agentcom.Client() as client, anyio.create_task_group() as group:
        watched, other = an_id(), an_id()
        lines: list[Line] = []
        watching, journal_end = anyio.Event(), client.store.journal_end

        async def end_of_journal() -> str:
            found = await journal_end()
            watching.set()
            return found

        async def watch() -> None:
            async for line in client.watch([watched]):
                lines.append(line)
                if line.after in ENDED:
                    break

        monkeypatch.setattr(client.store, "journal_end", end_of_journal)
        with anyio.fail_after(PATIENCE_S):
            group.start_soon(watch)
            await watching.wait()
            await (await client.submit("other", id=other)).wait()
            await client.submit("watched", id=watched)
            while not lines or lines[-1].after != "completed":
                await anyio.sleep(0.01)
    assert {line.task for line in lines} == {watched}
    assert [line.after for line in lines] == ["queued", "assigned", "completed"]
    assert lines[-1].agent == "elm"


async def test_a_running_task_is_canceled_and_sent_back_and_neither_once_it_completed(url: str) -> None:
    async def work(task: agentcom.Task) -> str:
        if task.attempt == 1:
            await anyio.sleep_forever()
        return f"attempt {task.attempt}"

    async with a_pool(url, work), agentcom.Client() as client:
        task = await client.submit("go on for ever")
        with pytest.raises(Refused, match="only a failed or canceled task"):
            await task.retry()
        await working(client, task.id)
        assert await task.cancel("not needed")
        outcome = await task.wait(PATIENCE_S)
        assert (outcome.result, outcome.detail) == ("canceled", "not needed")
        await let_go(client, task.id)
        assert await task.retry()
        outcome = await task.wait(PATIENCE_S)
        assert (outcome.result, outcome.summary) == ("completed", "attempt 2")
        with pytest.raises(Refused, match="only a failed or canceled task"):
            await task.retry()
        with pytest.raises(Refused, match="has ended already: completed"):
            await task.cancel()


async def test_waiting_gives_up_in_time_and_the_task_goes_on(url: str) -> None:
    may_end = anyio.Event()

    async def work(task: agentcom.Task) -> None:
        await may_end.wait()

    async with a_pool(url, work), agentcom.Client() as client:
        task = await client.submit("wait for me")
        with pytest.raises(TimeoutError):
            await task.wait(timeout_s=0.2)
        may_end.set()
        assert (await task.wait(PATIENCE_S)).result == "completed"
