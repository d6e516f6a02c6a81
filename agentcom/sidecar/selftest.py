"""Connected is not available: a sidecar tests again and again whether its agent can work here at all, and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import anyio

from agentcom.model.messages import SelfTest
from agentcom.settings import Policy
from agentcom.settings.rendering import escaped, mask_url
from agentcom.sidecar.checks import Check
from agentcom.sidecar.runners.base import bounded

log = logging.getLogger("agentcom.sidecar")

PROBLEM_MAX = 300


class SelfTests:
    """Makes self-tests: at start, then every `policy.self_test_s`, and at once when something suggests one.

    Args:
        checks: what is checked, by the names that are said of those that do not answer.
        policy: how often, and how long a test may take.
        clock: Unix time in ms.
        on_verdict: called with every test, and whether it says something else than the last one.
        damage: tells of damaged files that were set aside.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        policy: Policy,
        clock: Callable[[], int],
        on_verdict: Callable[[SelfTest, bool], None],
        damage: Callable[[], str] = lambda: "",
    ) -> None:
        self._checks = dict(checks)
        self._policy = policy
        self._clock = clock
        self._on_verdict = on_verdict
        self._damage = damage
        self._wanted = anyio.Event()
        self._redis = ""
        self.last = SelfTest()
        self.first_made = anyio.Event()

    async def run(self) -> None:
        """Test for ever. What hangs is a problem after `self_test_limit_s`, and holds nothing up."""
        while True:
            suspected = self._wanted.is_set()
            self._wanted = anyio.Event()
            await self._make()
            # What failed may be heard of only after a test that found nothing any more: so there is another soon.
            wait_s = min(self._policy.beat_s, self._policy.self_test_s) if suspected else self._policy.self_test_s
            with anyio.move_on_after(wait_s):
                await self._wanted.wait()

    def suspect(self) -> None:
        """Something failed in a way that suggests a test at once."""
        self._wanted.set()

    def redis_refuses(self, why: str) -> None:
        """Redis answers, and refuses what keeps this sidecar's work its own; empty: it takes it again."""
        if bool(why) != bool(self._redis):
            self.suspect()
        self._redis = why

    async def _make(self) -> None:
        limit_s = self._policy.self_test_limit_s
        answers: dict[str, str] = {}

        async def ask(name: str, check: Check) -> None:
            answers[name] = f"{name} did not answer within {limit_s:g} s"
            with anyio.move_on_after(limit_s):
                answers[name] = await _answer_of(name, check)

        async with anyio.create_task_group() as group:
            for name, check in self._checks.items():
                group.start_soon(ask, name, check)
        found = [answers[name] for name in self._checks] + [self._redis]
        self._say(tuple(bounded(escaped(mask_url(problem)), PROBLEM_MAX) for problem in found if problem))

    def _say(self, problems: tuple[str, ...]) -> None:
        damage = bounded(escaped(self._damage()), PROBLEM_MAX)
        before, self.last = self.last, SelfTest(self.last.count + 1, self._clock(), problems, damage)
        changed = before.problems != problems
        if changed and problems:
            log.warning("this agent takes no work: %s", "; ".join(problems))
        elif changed:
            log.info("this agent takes work again: its self-test found nothing")
        self._on_verdict(self.last, changed)
        self.first_made.set()


async def _answer_of(name: str, check: Check) -> str:
    try:
        return await check()
    except Exception as error:
        return f"{name} could not be checked: {type(error).__name__}: {error}"
