"""A sidecar's self-tests: what they find, when they are made, and that nothing hangs because something hangs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec import structs

from agentcom.model.messages import SelfTest
from agentcom.settings import Policy
from agentcom.sidecar.checks import Check
from agentcom.sidecar.selftest import SelfTests
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.pitfall_7

POLICY = Policy(self_test_s=60.0, self_test_limit_s=0.2, beat_s=0.1, beat_offset_s=0)


class World:
    """What is checked, and what was said of it."""

    def __init__(self) -> None:
        self.answers: dict[str, str | Exception] = {"the disk": "", "the agent": ""}
        self.hangs: set[str] = set()
        self.said: list[SelfTest] = []
        self.changes: list[tuple[str, ...]] = []
        self.now = 1_000

    def check(self, name: str) -> Check:
        async def answer() -> str:
            if name in self.hangs:
                await anyio.sleep_forever()
            found = self.answers[name]
            if isinstance(found, Exception):
                raise found
            return found

        return answer

    def hear(self, test: SelfTest, changed: bool) -> None:
        self.said.append(test)
        if changed:
            self.changes.append(test.problems)

    @asynccontextmanager
    async def testing(self, **policy: float) -> AsyncIterator[SelfTests]:
        checks = {name: self.check(name) for name in self.answers}
        tests = SelfTests(checks, structs.replace(POLICY, **policy), lambda: self.now, self.hear)
        async with anyio.create_task_group() as group:
            group.start_soon(tests.run)
            with anyio.fail_after(PATIENCE_S):
                await tests.first_made.wait()
            yield tests
            group.cancel_scope.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE_S):
            while not condition():
                await anyio.sleep(0.01)


@pytest.fixture
def world() -> World:
    return World()


async def test_the_first_is_made_at_once_and_says_when(world: World):
    async with world.testing() as tests:
        assert tests.last == SelfTest(1, 1_000, ())
        assert world.changes == []


async def test_all_that_is_wrong_is_said_in_the_order_of_the_checks(world: World):
    world.answers = {"the disk": "the disk is full", "the agent": "there is no program"}
    async with world.testing() as tests:
        assert tests.last.problems == ("the disk is full", "there is no program")
        assert len(world.changes) == 1


async def test_what_hangs_is_a_problem_after_the_limit_and_the_others_have_their_say(world: World):
    world.hangs = {"the disk"}
    world.answers["the agent"] = "there is no program"
    started = time.monotonic()
    async with world.testing() as tests:
        assert tests.last.problems == ("the disk did not answer within 0.2 s", "there is no program")
    assert time.monotonic() - started < 30


async def test_a_check_that_fails_is_a_problem_and_ends_nothing(world: World):
    world.answers["the agent"] = RuntimeError("a defect")
    async with world.testing() as tests:
        assert tests.last.problems == ("the agent could not be checked: RuntimeError: a defect",)


async def test_another_is_made_every_so_often_and_counted(world: World):
    async with world.testing(self_test_s=0.05):
        await world.until(lambda: len(world.said) >= 4)
    assert [test.count for test in world.said[:4]] == [1, 2, 3, 4]


async def test_a_suspicion_makes_one_at_once_and_another_a_beat_later(world: World):
    """What failed may be read after the beat that tells of the first one."""
    async with world.testing() as tests:
        await anyio.sleep(0.15)
        assert len(world.said) == 1
        tests.suspect()
        await world.until(lambda: len(world.said) == 2)
        await world.until(lambda: len(world.said) == 3)
        await anyio.sleep(0.3)
        assert len(world.said) == 3


async def test_a_verdict_that_changed_is_said_as_changed_once(world: World):
    async with world.testing(self_test_s=0.02):
        world.answers["the disk"] = "the disk is full"
        await world.until(lambda: len(world.changes) == 1)
        await world.until(lambda: len(world.said) > 5)
        world.answers["the disk"] = ""
        await world.until(lambda: len(world.changes) == 2)
    assert world.changes == [("the disk is full",), ()]


async def test_that_redis_refuses_is_a_problem_until_it_does_not(world: World):
    async with world.testing() as tests:
        tests.redis_refuses("Redis refuses: WRONGTYPE")
        await world.until(lambda: world.changes == [("Redis refuses: WRONGTYPE",)])
        tests.redis_refuses("")
        await world.until(lambda: world.changes[1:] == [()])


async def test_a_problem_is_one_bounded_line_without_secrets(world: World):
    world.answers["the agent"] = "fatal: unable to access 'https://me:s3cret@host/x':\nno\x1b[31m " + "x" * 1_000
    async with world.testing() as tests:
        [problem] = tests.last.problems
    assert problem.startswith(r"fatal: unable to access 'https://me:***@host/x':\nno\x1b[31m xxx")
    assert len(problem) == 300
