"""What a person does when something went wrong. Each command, called a second time, changes nothing and says so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from redis import Redis

import agentcom as api
from agentcom.broker.keys import Keys
from agentcom.errors import Refused
from tests.cli.harness import Said, Terminal, eventually
from tests.cli.pool_at_work import POOL
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.process

NAMES = Keys(POOL)
STILL_S = 1.2
"""Longer than two beats: whatever the last call set off has become visible."""

PASSING = {NAMES.head, NAMES.leader}
"""Which commit was the last, and who leads: they change although nothing happens."""

HEARD = {"seen_at", "tests", "tested_at"}
"""What an agent's record keeps of its last self-test: one every `self_test_s`, whatever a person calls."""


class Kept:
    """All that the pool keeps: records, agents, orders, the journal, dead letters, what waits in the inbox."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for raw in self._redis.scan_iter(match=NAMES.every, count=1_000):
            key = raw.decode()
            if key in PASSING or key.startswith((NAMES.beat(""), NAMES.refused(""))):
                continue
            found[key] = self._agents(key) if key == NAMES.agents else self._read(key)
        return found

    def at_rest(self) -> dict[str, Any]:
        """The same, once it has stayed as it is for a while."""
        deadline = time.monotonic() + PATIENCE_S
        before = self.look()
        while True:
            time.sleep(STILL_S)
            after = self.look()
            if after == before:
                return after
            assert time.monotonic() < deadline, changes(before, after)
            before = after

    def _agents(self, key: str) -> dict[bytes, dict[str, Any]]:
        records = {name: json.loads(raw) for name, raw in self._redis.hgetall(key).items()}
        return {name: {fact: agent[fact] for fact in agent.keys() - HEARD} for name, agent in records.items()}

    def _read(self, key: str) -> Any:
        match self._redis.type(key):
            case b"string":
                return self._redis.get(key)
            case b"hash":
                return self._redis.hgetall(key)
            case b"zset":
                return self._redis.zrange(key, 0, -1, withscores=True)
            case b"stream":
                return self._redis.xrange(key)
            case kind:
                return kind


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.fixture
def kept(url: str) -> Iterator[Kept]:
    with Redis.from_url(url) as redis:
        yield Kept(redis)


@pytest.fixture
def twice(agentcom: Terminal, kept: Kept) -> Callable[..., tuple[Said, Said]]:
    """Calls a command, waits until all that follows from it has happened, and calls it again: that changes nothing."""

    def call(*arguments: str) -> tuple[Said, Said]:
        first = agentcom(*arguments)
        before = kept.at_rest()
        assert NAMES.journal in before
        second = agentcom(*arguments)
        after = kept.at_rest()
        assert changes(before, after) == {}
        return first, second

    return call


Twice = Callable[..., tuple[Said, Said]]


@pytest.fixture(autouse=True)
def as_it_was(agentcom: Terminal) -> Iterator[None]:
    """Whatever a test left, the agents are in service again and have nothing to do."""
    yield
    tasks = [task["id"] for task in agentcom("tasks", "--limit", "0", "--json").document["tasks"]]
    if tasks:
        assert agentcom("cancel", *tasks).code == 0
    assert agentcom("agent", "resume", "oak", "birch").code == 0
    assert agentcom("agent", "reset", "oak", "birch").code == 0
    eventually(
        lambda: agentcom("agents", "--json"),
        lambda said: all(not agent["running"] and agent["health"] == "available" for agent in said.document["agents"]),
    )


def submitted(agentcom: Terminal, *arguments: str) -> str:
    short: str = agentcom("submit", *arguments, "--json").document["tasks"][0]["short"]
    return short


def state_of(agentcom: Terminal, task: str) -> str:
    return str(agentcom("show", task, "--json").document["task"]["state"])


def until(agentcom: Terminal, task: str, state: str) -> dict[str, Any]:
    """The task's document, once it is in a state."""
    said = eventually(
        lambda: agentcom("show", task, "--json"), lambda said: bool(said.document["task"]["state"] == state)
    )
    document: dict[str, Any] = said.document["task"]
    return document


def agent_of(agentcom: Terminal, name: str) -> dict[str, Any]:
    agents = agentcom("agents", "--json").document["agents"]
    return next(agent for agent in agents if agent["name"] == name)


# ------------------------------------------------------------------- agents


@pytest.mark.pitfall_7
def test_a_cordoned_agent_gets_no_work_until_it_is_resumed(agentcom: Terminal, twice: Twice) -> None:
    first, second = twice("agent", "cordon", "birch")
    assert (first.code, first.out) == (0, "birch cordoned\n")
    assert (second.code, second.out) == (0, "birch was cordoned already\n")
    task = submitted(agentcom, "x", "--agent", "birch")
    assert "cordoned" in agentcom("explain", task).out
    assert state_of(agentcom, task) == "queued"
    first, second = twice("agent", "resume", "birch")
    assert (first.code, first.out) == (0, "birch is back in service\n")
    assert (second.code, second.out) == (0, "birch was in service already\n")
    until(agentcom, task, "completed")


def test_several_agents_are_asked_for_at_once_and_each_is_told_of(agentcom: Terminal) -> None:
    assert agentcom("agent", "cordon", "oak", "birch", "oak").out == "oak cordoned\nbirch cordoned\n"
    assert agent_of(agentcom, "oak")["cordoned"]


@pytest.mark.pitfall_4
def test_a_draining_agent_keeps_what_it_has_and_is_waited_for(agentcom: Terminal, twice: Twice) -> None:
    task = submitted(agentcom, "sleep", "--agent", "oak")
    until(agentcom, task, "working")
    first, second = twice("agent", "drain", "oak")
    assert (first.code, first.out) == (0, "oak drains; it still has 1 task\n")
    assert (second.code, second.out) == (0, "oak was draining already; it still has 1 task\n")
    assert state_of(agentcom, task) == "working"
    said = agentcom("agent", "drain", "oak", "--wait", "--timeout", "0.2")
    assert said.code == 1
    assert said.err == "agentcom: not empty in time: oak; no new work goes there all the same\n"
    agentcom("cancel", task)
    said = agentcom("agent", "drain", "oak", "--wait")
    assert (said.code, said.out.splitlines()[-1]) == (0, "oak is empty")
    assert "drained" in agentcom("journal", "--agent", "oak").out
    assert submitted(agentcom, "x", "--agent", "oak")
    first, second = twice("agent", "drain", "oak", "--wait")
    assert second.out == "oak was draining already\noak is empty\n"


def test_who_waits_for_an_agent_that_is_put_back_into_service_is_told_so(agentcom: Terminal, url: str) -> None:
    until(agentcom, submitted(agentcom, "sleep", "--agent", "oak"), "working")
    seen: list[Said] = []

    async def whole() -> None:
        async with anyio.create_task_group() as group, api.Client(url, POOL) as client:

            async def wait() -> None:
                seen.append(await anyio.to_thread.run_sync(lambda: _drained_apart(url)))

            group.start_soon(wait)
            with anyio.fail_after(PATIENCE_S):
                while not (await client.agents())[1].draining:
                    await anyio.sleep(0.02)
                assert await client.resume("oak")

    anyio.run(whole)
    assert seen[0].code == 1
    assert "oak was put back into service" in seen[0].err


def _drained_apart(url: str) -> Said:
    """`agentcom agent drain oak --wait` as a process of its own, so that something can happen meanwhile."""
    done = subprocess.run(
        [sys.executable, "-m", "agentcom", "agent", "drain", "oak", "--wait", "--timeout", "20"],
        env={**os.environ, "AGENTCOM_REDIS": url, "AGENTCOM_POOL": POOL},
        capture_output=True,
        text=True,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


NOT_LOGGED_IN = "an attempt failed, the last: auth_failed"


def degrade(agentcom: Terminal, name: str) -> None:
    until(agentcom, submitted(agentcom, "state auth_failed nobody is logged in", "--agent", name), "input_required")


@pytest.mark.pitfall_10
def test_an_agent_that_was_degraded_is_forgiven(agentcom: Terminal, twice: Twice) -> None:
    degrade(agentcom, "birch")
    assert agent_of(agentcom, "birch")["health"] == "degraded"
    task = submitted(agentcom, "x", "--agent", "birch")
    assert f"degraded: {NOT_LOGGED_IN}" in agentcom("explain", task).out
    first, second = twice("agent", "reset", "birch")
    assert (first.code, first.out) == (0, "birch is forgiven\n")
    assert (second.code, second.out) == (0, "birch had nothing held against it\n")
    until(agentcom, task, "completed")


def test_to_resume_a_degraded_agent_says_that_it_gets_no_work_all_the_same(agentcom: Terminal) -> None:
    degrade(agentcom, "birch")
    assert agentcom("agent", "cordon", "birch").code == 0
    said = agentcom("agent", "resume", "birch")
    assert said.out == f"birch is back in service, and degraded: {NOT_LOGGED_IN}\n"


@pytest.mark.pitfall_10
def test_a_rate_limit_is_told_of_and_forgotten_when_a_person_says_so(agentcom: Terminal) -> None:
    task = submitted(agentcom, "state rate_limited the provider says 429", "--agent", "birch")
    said = eventually(lambda: agentcom("explain", task), lambda said: "rate limited until" in said.out)
    assert ": the provider says 429" in said.out
    shown = agentcom("show", task)
    assert "rate limited  1×, which counts as no attempt" in shown.out
    assert "not counted" in shown.out
    assert agentcom("agent", "reset", "birch").out == "birch is forgiven\n"
    eventually(lambda: agentcom("show", task, "--json"), lambda said: bool(said.document["task"]["rate_limits"] >= 2))


@pytest.mark.parametrize("verb", ["cordon", "drain", "resume", "reset"])
def test_of_an_unknown_agent_nothing_is_asked_and_that_is_said_in_one_line(
    agentcom: Terminal, kept: Kept, verb: str
) -> None:
    before = kept.at_rest()
    said = agentcom("agent", verb, "oak", "zeb")
    assert (said.code, said.out) == (1, "")
    assert said.err == f"agentcom: pool {POOL!r} has no agent 'zeb'. `agentcom agents` lists those that it has\n"
    assert changes(before, kept.look()) == {}


def test_a_time_limit_without_waiting_is_a_mistake(agentcom: Terminal) -> None:
    said = agentcom("agent", "drain", "oak", "--timeout", "5m")
    assert (said.code, said.err) == (2, "agentcom: --timeout needs --wait\n")


# ------------------------------------------------------------------ requeue


@pytest.mark.pitfall_1
@pytest.mark.pitfall_4
def test_a_task_is_taken_from_its_agent_once(agentcom: Terminal, twice: Twice) -> None:
    task = submitted(agentcom, "sleep")
    before = until(agentcom, task, "working")["agent"]
    first, second = twice("requeue", task, "--why", "it hangs")
    other = {"oak": "birch", "birch": "oak"}[before]
    assert (first.code, first.out) == (0, f"{task} requeued\n")
    assert second.code == 0
    assert f"already, and {other} has it: --attempt 2 takes it from there, too" in second.out
    shown = until(agentcom, task, "working")
    assert (shown["agent"], shown["attempts"][0]["counted"]) == (other, False)
    assert shown["attempts"][0]["outcome"]["detail"] == "it hangs"
    assert "not counted" in agentcom("show", task).out


@pytest.mark.pitfall_1
def test_the_attempt_that_is_meant_can_be_named(agentcom: Terminal, twice: Twice) -> None:
    task = submitted(agentcom, "sleep")
    until(agentcom, task, "working")
    assert agentcom("requeue", task).code == 0
    until(agentcom, task, "working")
    first, second = twice("requeue", task, "--attempt", "2")
    assert first.out == f"{task} requeued\n"
    assert second.out == f"{task} is at attempt 3 now: there is no attempt 2 to take back\n"
    assert second.code == 0


def test_requeueing_ends_a_delay(agentcom: Terminal, twice: Twice) -> None:
    task = submitted(agentcom, "fail", "--agent", "birch")
    until(agentcom, task, "retry_wait")
    assert agentcom("agent", "cordon", "birch").code == 0
    first, second = twice("requeue", task)
    assert (first.code, first.out) == (0, f"{task} requeued\n")
    assert (second.code, second.out) == (0, f"{task} is queued already: no agent has it\n")


def test_what_has_ended_is_not_requeued_but_the_way_back_is_said(agentcom: Terminal) -> None:
    for text, ended in (("x", "completed"), ("fail", "failed; `agentcom retry` sends it back")):
        task = submitted(agentcom, text, "--max-attempts", "1", "--wait")
        said = agentcom("requeue", task)
        assert (said.code, said.err) == (1, f"agentcom: {task}: it has ended already: {ended}\n")
    assert agentcom("requeue", "01234567-89ab-7cde-8f01-23456789abcd").code == 1


# --------------------------------------------------------- retry and cancel


def test_what_was_sent_back_is_not_sent_back_again(agentcom: Terminal, twice: Twice) -> None:
    task = submitted(agentcom, "fail", "--agent", "birch", "--max-attempts", "1", "--wait")
    assert agentcom("agent", "cordon", "birch").code == 0
    first, second = twice("retry", task)
    assert (first.code, first.out) == (0, f"{task} sent back\n")
    assert (second.code, second.out) == (0, f"{task} is queued already\n")


def test_a_dead_task_is_sent_back_once(agentcom: Terminal, twice: Twice) -> None:
    task = submitted(agentcom, "fail", "--agent", "birch", "--max-attempts", "1", "--wait")
    assert agentcom("agent", "cordon", "birch").code == 0
    assert task in agentcom("dead").out
    first, second = twice("dead", "retry", task)
    assert (first.code, first.out) == (0, f"{task} sent back\n")
    assert (second.code, second.out) == (0, f"{task} is queued already\n")
    assert agentcom("cancel", task).code == 0
    other = submitted(agentcom, "fail", "--agent", "oak", "--max-attempts", "1", "--wait")
    assert agentcom("agent", "cordon", "oak").code == 0
    first, second = twice("dead", "retry", "--all")
    assert f"{other} sent back\n" in first.out
    assert (second.code, second.out, second.err) == (0, "", "no dead letters\n")


def test_a_task_that_waits_for_a_person_says_for_what_and_goes_on_when_that_is_done(
    agentcom: Terminal, twice: Twice
) -> None:
    task = submitted(agentcom, "state permission_denied it may not push", "--agent", "birch")
    waiting = until(agentcom, task, "input_required")
    to_do = "allow the agent what it was denied, then `agentcom retry` the task"
    assert waiting["to_do"] == to_do
    assert re.search(rf"^  to do +{re.escape(to_do)}$", agentcom("show", task).out, re.MULTILINE)
    assert f"it is input_required: permission_denied: it may not push; {to_do}" in agentcom("explain", task).out
    assert to_do in agentcom("tasks", "--state", "input_required").out
    refused = agentcom("requeue", task)
    assert (refused.code, "it waits for a person" in refused.err) == (1, True)
    assert agentcom("agent", "cordon", "birch").code == 0
    first, second = twice("retry", task)
    assert (first.code, first.out) == (0, f"{task} sent on\n")
    assert (second.code, second.out) == (0, f"{task} is queued already\n")


def test_what_was_canceled_is_not_canceled_again(agentcom: Terminal, twice: Twice) -> None:
    task = submitted(agentcom, "sleep")
    until(agentcom, task, "working")
    first, second = twice("cancel", task)
    assert (first.code, first.out) == (0, f"{task} canceled\n")
    assert (second.code, second.out) == (0, f"{task} was canceled already\n")


def test_what_waits_in_the_inbox_is_not_taken_for_done(quiet: Terminal, url: str) -> None:
    """Nobody reads this pool's inbox: what is asked for waits there, behind what was asked for before."""
    task = "01234567-89ab-7cde-8f01-23456789abcd"
    said = quiet("retry", task)
    assert (said.code, said.out) == (0, "tk-89abcd: the request waits in the inbox\n")
    assert said.err == "agentcom: no scheduler answered in time: what waits in the inbox is done as soon as one runs\n"


# --------------------------------------------------------------------- fsck


@pytest.mark.pitfall_4
def test_what_is_mended_is_mended_once(agentcom: Terminal, kept: Kept, url: str) -> None:
    task = agentcom("submit", "x", "--wait", "--json").ids()[0]
    with Redis.from_url(url) as redis:
        redis.persist(NAMES.task(task))
        first = agentcom("fsck", "--repair")
        assert (first.code, first.out.splitlines()[-1]) == (0, "1 discrepancy mended, nothing is left")
        assert redis.ttl(NAMES.task(task)) > 0  # type: ignore[operator]
        before = kept.at_rest()
        second = agentcom("fsck", "--repair")
    assert (second.code, second.out) == (0, "nothing contradicts anything\n")
    assert changes(before, kept.at_rest()) == {}


# --------------------------------------------------------------- Python API


def test_the_python_api_asks_for_the_same(agentcom: Terminal, url: str) -> None:
    async def whole() -> None:
        async with api.Client(url, POOL) as pool:
            task = await pool.submit("sleep")
            with anyio.fail_after(PATIENCE_S):
                while (record := await task.record()) is None or record.state != "working":
                    await anyio.sleep(0.02)
                before = record.attempts[-1].agent
                assert await task.requeue("it hangs")
                assert await pool.requeue(task.id, generation=1), "that attempt is over: nothing happens"
                while (record := await task.record()) is None or record.state != "working":
                    await anyio.sleep(0.02)
            assert (record.generation, record.attempts[-1].agent != before) == (2, True)
            assert await task.cancel()
            with pytest.raises(Refused, match="it has ended already: canceled"):
                await task.requeue()
            for name, ask, health in (
                ("oak", pool.cordon, "cordoned"),
                ("oak", pool.resume, "available"),
                ("oak", pool.drain, "draining"),
                ("oak", pool.reset, "draining"),
            ):
                assert await ask(name)
                assert {agent.name: agent.health for agent in await pool.agents()}[name] == health
                with pytest.raises(Refused, match="there is no agent 'zeb'"):
                    await ask("zeb")

    anyio.run(whole)
