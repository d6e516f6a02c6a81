"""Those who have work done. They use the real `ClientStore`, send again what was not acknowledged, and remember all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import anyio
from msgspec import Raw

from agentcom.broker.client_store import ClientStore
from agentcom.broker.connection import TROUBLE
from agentcom.ids import IdMaker
from agentcom.model.codec import encode
from agentcom.model.messages import Answer, AnyRequest, Cancel, Requeue, Retry, Submit
from agentcom.model.task import TaskSpec
from tests.simulation.scenario import Scenario

TRY_AGAIN_S = 1.0


class Submission:
    """One task that somebody wants done.

    Attributes:
        acked: on which server, and when, its request was acknowledged for the first time.
        doomed: it may be refused, or lost with others: its key is another's, or it waits for what may have been lost.
    """

    __slots__ = ("acked", "doomed", "spec")

    def __init__(self, spec: TaskSpec, *, doomed: bool) -> None:
        self.spec = spec
        self.acked: tuple[str, float] | None = None
        self.doomed = doomed


class Submitter:
    """One program that submits, and now and then cancels or sends back.

    Args:
        store: to Redis.
        acknowledged: says on which server, and when, what was just sent was acknowledged.
    """

    def __init__(
        self,
        scenario: Scenario,
        random: Random,
        store: ClientStore,
        clock: Callable[[], int],
        tasks: int,
        acknowledged: Callable[[], tuple[str, float]],
    ) -> None:
        self.submissions: dict[str, Submission] = {}
        self.done = False
        self._scenario = scenario
        self._random = random
        self._store = store
        self._tasks = tasks
        self._acknowledged = acknowledged
        self._ids = IdMaker(clock, random.randbytes)
        self._keys: list[str] = []

    async def run(self) -> None:
        scenario, random = self._scenario, self._random
        rounds = max(1, self._tasks // scenario.batch)
        for _ in range(rounds):
            await anyio.sleep(2 * random.random() * scenario.submit_s / rounds)
            specs = [self._spec() for _ in range(scenario.batch)]
            await self._send([Submit(tasks=[Raw(encode(spec)) for spec in specs])])
            at = self._acknowledged()
            for spec in specs:
                self.submissions[spec.id].acked = at
            if random.random() < scenario.asks * scenario.batch:
                await self._send([self._request()])
        self.done = True

    def _spec(self) -> TaskSpec:
        random = self._random
        named: dict[str, Any] = {}
        doomed = False
        drawn = 1.0 if self._scenario.plain else random.random()
        if drawn < 0.1:
            named["after"] = tuple(self._some_tasks(random.randrange(1, 3)))
            doomed = any(self.submissions[other].doomed for other in named["after"])
        elif drawn < 0.15:
            fresh = not self._keys or random.random() < 0.7
            named["key"] = f"key-{random.getrandbits(40):x}" if fresh else random.choice(self._keys)
            doomed = not fresh
            self._keys.append(named["key"])
        elif drawn < 0.2:
            named["priority"] = random.choice(("urgent", "high", "low"))
        elif drawn < 0.25:
            named["requires"] = f"python >= {random.randrange(1, 6)}"
        elif drawn < 0.28:
            named["expires_s"] = random.choice((1.0, 60.0))
        elif drawn < 0.31:
            named["max_attempts"] = random.randrange(1, 4)
        elif drawn < 0.33:
            named["agent"] = "agent-1"
        elif drawn < 0.43:
            named["budget_tokens"] = random.randrange(1, 300)
        spec = TaskSpec(id=self._ids.make(), text="do it", **named)
        self.submissions[spec.id] = Submission(spec, doomed=doomed)
        return spec

    def _some_tasks(self, number: int) -> list[str]:
        acked = [task for task, one in self.submissions.items() if one.acked]
        return list(dict.fromkeys(self._random.choice(acked) for _ in range(number))) if acked else []

    def _request(self) -> AnyRequest:
        tasks = self._some_tasks(1) or ["none"]
        kind = self._random.choice((Cancel, Retry, Requeue, Answer))
        return Answer(task=tasks[0], text="so") if kind is Answer else kind(task=tasks[0])

    async def _send(self, requests: list[AnyRequest]) -> None:
        while True:
            try:
                await self._store.request(requests)
            except TROUBLE:
                await anyio.sleep(TRY_AGAIN_S)
            else:
                return


class Person:
    """Puts right, in the end, what waits for somebody: a task for help, an agent to be taken back into service."""

    def __init__(self, store: ClientStore) -> None:
        self._store = store
        self._helped: dict[str, int] = {}

    async def send(self, requests: list[AnyRequest]) -> None:
        if requests:
            try:
                await self._store.request(requests)
            except TROUBLE:
                return

    async def help(self, tasks: Mapping[str, str]) -> None:
        """Do what these wait for, by task the reason, once; cancel them, if they come again."""
        requests: list[AnyRequest] = []
        for task, reason in tasks.items():
            self._helped[task] = self._helped.get(task, 0) + 1
            if self._helped[task] > 1:
                requests.append(Cancel(task=task, why="nobody can"))
            elif reason == "input_required":
                requests.append(Answer(task=task, text="this"))
            else:
                requests.append(Retry(task=task, add_tokens=100 if reason == "budget_exceeded" else 0))
        await self.send(requests)
