"""The examples in docstrings and README are run as they stand, against a real pool."""

import ast
import inspect
import textwrap
from pathlib import Path

import anyio
import pytest

import agentcom
import agentcom.agent
import agentcom.client
from tests.e2e.harness import a_pool
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.process, pytest.mark.anyio]

README = Path(__file__).parents[2] / "README.md"


def example_in(text: str) -> str:
    """The one indented block of code that imports agentcom."""
    blocks = [textwrap.dedent(block) for block in _indented_blocks(text)]
    (example,) = [block for block in blocks if block.startswith("import agentcom")]
    return example


def _indented_blocks(text: str) -> list[str]:
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("    ") or (not line and blocks[-1]):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return ["\n".join(block).rstrip() + "\n" for block in blocks if block]


async def run_as_it_stands(example: str) -> dict[str, object]:
    """Run an example that has `await` at its top level; the names that it made."""
    names: dict[str, object] = {}
    code = compile(example, "<example>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made = eval(code, names)
    if inspect.isawaitable(made):
        await made
    return names


async def test_the_example_of_the_client_waits_for_its_outcome(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with a_pool(url):
        with anyio.fail_after(PATIENCE_S):
            names = await run_as_it_stands(example_in(agentcom.client.__doc__ or ""))
    assert names["outcome"].result == "completed"
    assert capsys.readouterr().out == "completed elm did make the tests pass\n"


async def test_the_example_of_an_agent_does_what_is_submitted(url: str) -> None:
    async with a_pool(url), anyio.create_task_group() as group:
        group.start_soon(run_as_it_stands, example_in(agentcom.agent.__doc__ or ""))
        async with agentcom.Client() as pool:
            with anyio.fail_after(PATIENCE_S):
                outcome = await (await pool.submit("say so", agent="oak")).wait()
        assert outcome.summary == "did say so"
        group.cancel_scope.cancel()


async def test_the_example_of_the_readme_runs(url: str) -> None:
    async with a_pool(url), anyio.create_task_group() as group:
        group.start_soon(run_as_it_stands, example_in(README.read_text(encoding="utf-8")))
        async with agentcom.Client() as pool:
            with anyio.fail_after(PATIENCE_S):
                outcome = await (await pool.submit("say so", agent="oak")).wait()
        assert outcome.summary == "did say so"
        group.cancel_scope.cancel()
