"""Mistake 9: context windows starved. Nobody is given what would fill their window, and everybody is told."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import anyio
import pytest

import agentcom
from agentcom.broker.embedded import EmbeddedServer
from agentcom.monitor.explain_view import judge
from tests.pitfalls.harness import at_work
from tests.stories.pool import FakePool

WINDOW = 1_000
OVER = "context 801 over 80% of 1,000"
ESTIMATED = "context 810 over 80% of 1,000"

pytestmark = pytest.mark.pitfall_9


def test_what_fills_more_than_four_fifths_of_every_window_waits_until_a_larger_one_comes() -> None:
    pool = FakePool()
    pool.agent("oak", context=WINDOW)
    fits, too_large = pool.submit(context_tokens=800), pool.submit(context_tokens=801)
    pool.finish(fits)
    pool.advance(3_600)
    assert pool.states(fits, too_large) == ["completed", "queued"]
    assert pool.task(too_large).note == f"0 of 1 agent: 1 {OVER}", "its submitter was told at once"
    (oak,) = judge(pool.task(too_large).spec, pool.task(too_large), [pool.agent_record("oak")])
    assert oak.never == (OVER,)
    pool.agent("elm", context=2 * WINDOW)
    assert (pool.state(too_large), pool.where(too_large)) == ("assigned", "elm")


def test_it_is_not_given_to_a_small_window_when_the_large_one_fails_or_goes() -> None:
    pool = FakePool()
    pool.agent("oak", context=WINDOW)
    pool.agent("elm", context=2 * WINDOW)
    task = pool.submit(context_tokens=801)
    for _ in range(2):
        assert pool.where(task) == "elm"
        pool.finish(task, "failed", "exit_code")
        pool.advance(200)
    pool.silence("elm")
    pool.advance(600)
    pool.sweep()
    assert {attempt.agent for attempt in pool.task(task).attempts} == {"elm"}
    assert pool.state(task) in ("queued", "retry_wait")


@pytest.mark.process
@pytest.mark.anyio
async def test_the_command_line_says_so_when_it_is_submitted_and_when_it_is_asked(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    """The context is estimated from the files that the agent is to read: a quarter of their bytes,
    and the text, rounded up."""
    (tmp_path / "long.md").write_text("x" * 801 * 4)

    async def never(task: agentcom.Task) -> None:
        raise AssertionError(task.text)

    async with at_work(server.url, never, window=WINDOW) as (client, _):
        environ = {**os.environ, "AGENTCOM_REDIS": server.url, "AGENTCOM_POOL": client.pool}

        async def said(*arguments: str) -> tuple[int, str]:
            command = [sys.executable, "-m", "agentcom", *arguments]
            done = await anyio.run_process(command, cwd=tmp_path, env=environ, check=False)
            return done.returncode, (done.stdout + done.stderr).decode()

        code, out = await said("submit", "read all of it", "--context", "long.md")
        assert (code, ESTIMATED in out, "context estimated at 810 tokens" in out) == (4, True, True), out
        task = re.findall(r"tk-[0-9a-f]+", out)[0]
        code, out = await said("explain", task)
        assert (code, ESTIMATED in out) == (4, True), out
        assert (await said("explain", "--requires", "python", "--context-tokens", "800"))[0] == 0
        assert (await client.store.head()).open == 1, "it is still there, and with nobody"
