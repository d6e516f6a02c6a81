"""Agents that are Python functions: what they may return and raise, and that none can harm the sidecar."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace

from agentcom.errors import ConfigurationError
from agentcom.model.reasons import STATED_BY_AGENTS
from agentcom.model.task import Outcome, TaskSpec
from agentcom.processes import identify
from agentcom.sidecar.runners.base import VALUE_MAX_BYTES, Job
from agentcom.sidecar.runners.python import AttemptFailed, Handler, PythonRunner, Task, load_handler
from tests.patience import PATIENCE_S
from tests.sidecar.harness import assign


class Heard:
    def __init__(self) -> None:
        self.alive = 0
        self.output = b""

    def job(self) -> Job:
        def alive() -> None:
            self.alive += 1

        def printed(body: bytes) -> None:
            self.output += body

        spec = TaskSpec(id="t", text="first line\nsecond", context=("a.py",))
        return Job("1-0", spec, 2, "1.x", alive, lambda _: None, printed)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def both(function: Any) -> list[Handler]:
    """The same handler, as a coroutine function and as a plain one."""

    async def awaited(task: Task) -> Any:
        return function(task)

    return [awaited, function]


async def run_all(function: Any, heard: Heard) -> list[Outcome]:
    return [await PythonRunner(handler).run(heard.job()) for handler in both(function)]


@pytest.mark.pitfall_5
async def test_a_task_with_checks_is_not_done_by_who_cannot_be_checked(heard: Heard):
    job = replace(heard.job(), spec=TaskSpec(id="t", text="do it", checks=("true",)))
    outcome = await PythonRunner(lambda _: "done").run(job)
    assert (outcome.result, outcome.reason, heard.alive) == ("failed", "retry_later", 0)
    assert "it needs an agent that is a program" in outcome.detail


async def test_a_handler_gets_the_task(heard: Heard):
    seen: list[tuple[object, ...]] = []
    await run_all(lambda task: seen.append((task.id, task.title, task.text, task.context, task.attempt)), heard)
    assert seen == [("t", "first line", "first line\nsecond", ("a.py",), 2)] * 2
    assert heard.alive == 2


@pytest.mark.parametrize(
    ("returned", "outcome"),
    [
        (None, Outcome("completed")),
        ("done", Outcome("completed", summary="done")),
        ("", Outcome("completed")),
        ({"a": [1, {"b": None}]}, Outcome("completed", value={"a": [1, {"b": None}]})),
        ((1, 2), Outcome("completed", value=[1, 2])),
        (0, Outcome("completed", value=0)),
        (False, Outcome("completed", value=False)),
        ("x\ud800", Outcome("completed", summary="x?")),
    ],
)
async def test_what_is_returned_is_the_outcome(heard: Heard, returned: Any, outcome: Outcome):
    assert await run_all(lambda task: returned, heard) == [outcome] * 2


async def test_a_long_text_is_cut_to_a_summary(heard: Heard):
    [first, _] = await run_all(lambda task: "x" * 10_000, heard)
    assert (len(first.summary), first.summary[-1]) == (4_000, "…")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "returned",
    [object(), {1: object()}, {"x": "y" * VALUE_MAX_BYTES}, endless(), nested(100), {"a": "\ud800"}, 10**5_000],
    ids=["object", "inner object", "too large", "endless", "deep", "surrogate", "huge number"],
)
async def test_what_no_report_can_carry_fails_the_attempt(heard: Heard, returned: Any):
    for outcome in await run_all(lambda task: returned, heard):
        assert (outcome.result, outcome.reason) == ("failed", "bad_result")
        assert outcome.detail.startswith("what the handler returned is refused: ")


async def test_what_is_returned_is_taken_as_it_was_then(heard: Heard):
    kept = {"a": 1}
    [first, _] = await run_all(lambda task: kept, heard)
    kept["a"] = 2
    assert first.value == {"a": 1}


class BadText(Exception):
    def __str__(self) -> str:
        return "lone \ud800"


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ValueError("no"), "ValueError: no"),
        (SystemExit(3), "SystemExit: 3"),
        (ExceptionGroup("many", [ValueError("no")]), "ExceptionGroup: many (1 sub-exception)"),
        (BadText(), "BadText: lone ?"),
        (ConnectionError("elsewhere"), "ConnectionError: elsewhere"),
        (OSError(28, "full"), "OSError: [Errno 28] full"),
    ],
)
async def test_what_is_raised_fails_the_attempt_and_is_printed(heard: Heard, error: BaseException, detail: str):
    def work(task: Task) -> None:
        raise error

    for outcome in await run_all(work, heard):
        assert (outcome.result, outcome.reason, outcome.detail) == ("failed", "handler_raised", detail)
    assert heard.output.count(b"Traceback") >= 2


async def test_a_long_message_is_cut(heard: Heard):
    def work(task: Task) -> None:
        raise ValueError("x" * 10_000)

    assert [len(outcome.detail) for outcome in await run_all(work, heard)] == [2_000] * 2


async def test_a_handler_that_awaits_something_canceled_fails_and_does_not_vanish(heard: Heard):
    async def work(task: Task) -> None:
        inner = asyncio.ensure_future(asyncio.sleep(10))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    outcome = await PythonRunner(work).run(heard.job())
    assert (outcome.result, outcome.reason) == ("failed", "handler_raised")


async def test_log_lines_are_output(heard: Heard):
    await run_all(lambda task: task.log("here \ud800"), heard)
    assert heard.output == b"here \\ud800\n" * 2


async def test_canceling_ends_a_coroutine_and_lets_it_clean_up(heard: Heard):
    seen: list[str] = []

    async def work(task: Task) -> None:
        try:
            seen.append("started")
            await anyio.sleep(60)
        finally:
            seen.append("cleaned")

    with anyio.move_on_after(0.05) as scope:
        await PythonRunner(work).run(heard.job())
    assert scope.cancelled_caught
    assert seen == ["started", "cleaned"]


async def test_canceling_lets_go_of_a_plain_function_at_once(heard: Heard):
    release = threading.Event()
    started = time.monotonic()
    with anyio.move_on_after(0.05) as scope:
        await PythonRunner(lambda task: release.wait(60)).run(heard.job())
    assert scope.cancelled_caught
    assert time.monotonic() - started < 30
    release.set()
    await anyio.to_thread.run_sync(time.sleep, 0)


@pytest.mark.pitfall_1
async def test_nothing_is_begun_while_a_plain_function_outlives_its_attempt(heard: Heard):
    release, ended = threading.Event(), threading.Event()

    def work(task: Task) -> None:
        release.wait(60)
        ended.set()

    runner = PythonRunner(work)
    with anyio.move_on_after(0.05):
        await runner.run(heard.job())
    assert "still runs in 1 thread," in await runner.self_test()
    assert heard.alive == 1
    outcome = await runner.run(heard.job())
    assert (outcome.result, outcome.reason, heard.alive) == ("handed_back", "unfit", 1)
    release.set()
    await anyio.to_thread.run_sync(ended.wait)
    with anyio.fail_after(PATIENCE_S):
        while await runner.self_test():
            await anyio.sleep(0.01)
    assert (await runner.run(heard.job())).result == "completed"


async def test_plain_functions_do_not_wait_for_each_others_threads(heard: Heard):
    """That an agent lives is said when its function is entered, so none may wait in a queue after that."""
    count = 60
    everyone = threading.Barrier(count, timeout=5)
    runner = PythonRunner(lambda task: everyone.wait() is None)
    outcomes: list[Outcome] = []

    async def one() -> None:
        outcomes.append(await runner.run(heard.job()))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    assert [outcome.result for outcome in outcomes] == ["completed"] * count


class Callable:
    async def __call__(self, task: Task) -> str:
        return "called"


async def test_an_object_with_a_coroutine_call_is_awaited(heard: Heard):
    assert (await PythonRunner(Callable()).run(heard.job())).summary == "called"


def asleep() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], start_new_session=True)


@pytest.mark.process
@pytest.mark.parametrize("how", ["ended", "adopted"])
async def test_after_a_crash_only_a_command_from_before_the_settings_changed_can_be_left(heard: Heard, how: str):
    runner = PythonRunner(lambda task: None)
    with asleep() as command:
        process = identify(command.pid)
        if how == "ended":
            assert await runner.end_orphan(assign("sc-1"), process) is None
        else:
            assert (await runner.adopt(heard.job(), process)).result == "lost"
        assert command.wait(1) < 0


async def test_a_function_that_can_be_called_passes_its_self_test():
    assert await PythonRunner(lambda task: None).self_test() == ""
    assert "is not a function" in await PythonRunner(5).self_test()  # type: ignore[arg-type]


# -------------------------------------------------------------- stated reasons


@pytest.mark.parametrize("reason", sorted(STATED_BY_AGENTS))
async def test_a_handler_may_say_why_it_failed_in_the_pools_words(heard: Heard, reason: str):
    async def work(task: Task) -> None:
        raise AttemptFailed(reason, "the provider says no", retry_after_s=90)

    outcome = await PythonRunner(work, clock=lambda: 1_000).run(heard.job())
    assert outcome == Outcome("failed", reason, "the provider says no", resets_at=91_000)


@pytest.mark.parametrize("retry_after_s", [0, -5, float("nan"), float("inf"), 8 * 86_400])
async def test_a_time_that_makes_no_sense_is_no_time(heard: Heard, retry_after_s: float):
    def work(task: Task) -> None:
        raise AttemptFailed("rate_limited", retry_after_s=retry_after_s)

    outcome = await PythonRunner(work).run(heard.job())
    assert (outcome.reason, outcome.detail, outcome.resets_at) == ("rate_limited", "rate_limited", 0)


async def test_a_reason_that_agents_may_not_state_is_an_error_of_the_handler(heard: Heard):
    def work(task: Task) -> None:
        raise AttemptFailed("lost")

    outcome = await PythonRunner(work).run(heard.job())
    assert outcome.reason == "handler_raised"
    assert outcome.detail.startswith("ValueError: 'lost' is no reason that an agent may state: auth_failed, ")


# -------------------------------------------------------------- finding a handler


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "handlers_here.py").write_text("def work(task): return 1\nnumber = 5\n")
    (tmp_path / "handlers_broken.py").write_text("def work(:\n")
    (tmp_path / "handlers_exiting.py").write_text("raise SystemExit(0)\n")
    return tmp_path


def test_a_handler_is_found_by_its_name(module: Path):
    assert load_handler("handlers_here:work") is sys.modules["handlers_here"].work


@pytest.mark.parametrize(
    "path",
    ["nowhere_at_all:work", "handlers_here:absent", "handlers_here", "handlers_here:number", "handlers_broken:work",
     "handlers_exiting:work", "", ":", ":work"],
)  # fmt: skip
def test_a_handler_that_cannot_be_had_is_a_configuration_error(module: Path, path: str):
    with pytest.raises(ConfigurationError) as raised:
        load_handler(path)
    assert repr(path) in str(raised.value)
    assert raised.value.exit_code == 78
