"""A real coding agent on a real repository, from a task to a pull request that somebody other than it has checked."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentcom.client import Client
from tests.e2e.coding import CodingPool, git, program_of, until
from tests.standin import Model, Run, Say, Write

pytestmark = pytest.mark.process

COMMIT = "git add -A && git commit -q -m work"


@pytest.fixture
def claude() -> str:
    program = program_of("claude")
    if not program:
        assert not os.environ.get("CI"), "continuous integration installs Claude Code: see .ci/run"
        pytest.skip("there is no Claude Code on PATH: npm install --prefix build/agents @anthropic-ai/claude-code")
    return program


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


@pytest.fixture
def pool(tmp_path: Path, url: str, model: Model, claude: str) -> Iterator[CodingPool]:
    pool = CodingPool(tmp_path, url, model, claude)
    pool.start("scheduler", "scheduler")
    pool.start("sidecar", "sidecar", "--agent", "oak")
    yield pool
    pool.stop()


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        yield client


@pytest.mark.pitfall_1
@pytest.mark.pitfall_3
@pytest.mark.pitfall_5
async def test_the_sidecar_is_killed_in_the_middle_and_there_is_one_pull_request_at_the_end(
    pool: CodingPool, client: Client, model: Model
) -> None:
    waits = f"while [ ! -e {pool.root}/go ]; do sleep 0.1; done"
    model.script([Write("answer.txt", "right\n"), Run(waits), Run(COMMIT), Say("Did it.")])
    handle = await client.submit("write the right answer", requires="python >= 2")
    await until(lambda: len(model.requests) >= 2, pool.story)
    pool.kill("sidecar")
    (pool.root / "go").touch()
    pool.start("sidecar", "sidecar", "--agent", "oak")
    record = await pool.ended(client, handle.id)
    outcome = record.outcome
    assert outcome is not None, (record, pool.story())
    assert (record.state, record.generation, outcome.summary) == ("completed", 1, "Did it."), "adopted, not begun anew"
    assert outcome.evidence is not None
    assert outcome.pull_request is not None
    branch = f"refs/heads/oak/{handle.id}"
    assert pool.refs[branch] == outcome.evidence.head_sha
    assert [name for name in pool.refs if name.startswith("refs/agentcom/pulls/")] == [
        f"refs/agentcom/pulls/{handle.id}"
    ]
    assert [name for name in pool.refs if name.startswith("refs/heads/")] == ["refs/heads/main", branch]
    assert [(check.command, check.by, check.passed, check.sha) for check in outcome.checks] == [
        ("sh check.sh", "oak", True, outcome.evidence.head_sha)
    ]
    assert git(pool.origin, "show", f"{branch}:answer.txt") == "right"
    assert record.spent.tokens > 0
    assert record.spent.cost_usd > 0
    assert "claude" in outcome.program
    assert not model.complaints


async def test_failed_checks_go_back_to_the_same_session_and_nothing_is_counted_twice(
    pool: CodingPool, client: Client, model: Model
) -> None:
    model.script(
        [
            Write("answer.txt", "wrong\n"),
            Run(COMMIT),
            Say("Did it."),
            Write("answer.txt", "right\n"),
            Run(COMMIT),
            Say("Did it right."),
        ]
    )
    handle = await client.submit("write the right answer")
    record = await pool.ended(client, handle.id)
    outcome = record.outcome
    assert outcome is not None, (record, pool.story())
    assert (record.state, record.generation, outcome.summary) == ("completed", 1, "Did it right.")
    again = model.requests[3].text
    assert "answer.txt must say right" in again, "it is told what failed"
    assert "write the right answer" in again, "its session goes on"
    assert outcome.evidence is not None
    assert outcome.evidence.commits == 2
    used = [request.step.tokens for request in model.requests if isinstance(request.step, Write | Run | Say)]
    assert record.spent.output_tokens == sum(tokens.written for tokens in used)
