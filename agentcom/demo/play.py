"""Plays the demonstration: submits the backlog, shows what becomes of it, and kills an agent half-way."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence

import anyio
from rich.console import Console
from rich.live import Live

from agentcom.backlog import Item
from agentcom.backlog_specs import specs_of
from agentcom.client import Client
from agentcom.demo.screen import View, change_line, live
from agentcom.demo.story import FAILS_FIRST, INTERRUPTED, Kill
from agentcom.errors import AgentComError
from agentcom.ids import IdMaker
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.task import ReadRecord
from agentcom.supervisor.programs import sidecar_name
from agentcom.supervisor.readiness import missing_after
from agentcom.supervisor.service import Supervisor
from agentcom.wording import one_line

POLL_S = 0.25
READY_PATIENCE_S = 30.0
MILESTONES_SHOWN = 4
HALF_WAY_S = 3
_SOAKED = re.compile(r"^soak: (\d+) of ", re.MULTILINE)


class Play:
    """One run of the demonstration, from the submission to the end of the last task.

    Args:
        client: of the demonstration's own pool.
        supervisor: that runs it.
        items: the backlog.
        console: where to show it.
        elapsed: seconds since the demonstration began.
    """

    def __init__(
        self,
        client: Client,
        supervisor: Supervisor,
        items: Sequence[Item],
        console: Console,
        elapsed: Callable[[], float],
    ) -> None:
        self._client = client
        self._supervisor = supervisor
        self._items = items
        self._console = console
        self._elapsed = elapsed
        self._read_until: dict[str, str] = {}
        self._printed: dict[str, str] = {}
        self._milestones: list[tuple[float, str]] = []
        self._shown: dict[str, tuple[str, int]] = {}
        self.slug_of: dict[str, str] = {}
        self.records: dict[str, ReadRecord] = {}
        self.kill: Kill | None = None

    async def ready(self, agents: Sequence[str], since_at: int) -> None:
        """Wait until the scheduler leads and all agents are there.

        Raises:
            AgentComError: they are not in time.
        """
        missing = await missing_after(self._client.store, agents, since_at, READY_PATIENCE_S)
        if missing:
            raise AgentComError(f"not there after {READY_PATIENCE_S:g} s: {', '.join(missing)}")
        self._say(f"Redis, the scheduler and the agents {', '.join(sorted(agents))} are up")

    async def submit(self) -> None:
        """Submit the backlog.

        Raises:
            Refused: the scheduler does not take it on.
        """
        ids = IdMaker(lambda: time.time_ns() // 1_000_000, os.urandom)
        specs = specs_of(self._items, "BACKLOG.md", ids.make)
        self.slug_of = {spec.id: item.slug for spec, item in zip(specs, self._items, strict=True)}
        await self._client.submit_many(specs)
        self._say(f"{len(specs)} tasks submitted")

    async def watch(self) -> None:
        """Show progress until every task ended, and kill the agent of the interrupted task half-way."""
        if not self._console.is_terminal:
            while not await self._step():
                await anyio.sleep(POLL_S)
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as screen:
            while not await self._step():
                screen.update(live(await self._view()), refresh=True)
                await anyio.sleep(POLL_S)

    async def _step(self) -> bool:
        """Look at everything once; whether all tasks ended."""
        found = await self._client.store.records(list(self.slug_of))
        self.records = {slug: found[id_] for id_, slug in self.slug_of.items() if id_ in found}
        for slug, record in self.records.items():
            if record.state in RUNNING:
                await self._read_output(slug, record)
            self._tell_change(slug, record)
        if self.kill is None and self._is_half_way():
            await self._kill()
        return len(self.records) == len(self.slug_of) and all(record.state in ENDED for record in self.records.values())

    async def _read_output(self, slug: str, record: ReadRecord) -> None:
        """Keep the last lines of what a task's current attempt printed."""
        since = self._read_until.get(slug, "0-0")
        for piece in await self._client.store.output(record.spec.id, since, 0):
            self._read_until[slug] = piece.entry
            self._printed[slug] = (self._printed.get(slug, "") + piece.body.decode("utf-8", "replace"))[-2_000:]

    def _is_half_way(self) -> bool:
        """Whether the interrupted task has come so far that its agent's death costs something."""
        record = self.records.get(INTERRUPTED)
        if record is None or record.state != "working":
            return False
        soaked = [int(seconds) for seconds in _SOAKED.findall(self._printed.get(INTERRUPTED, ""))]
        if not soaked or soaked[-1] < HALF_WAY_S:
            return False
        # The other task with a story of its own is left alone, so that each story is told unmixed.
        other = self.records.get(FAILS_FIRST)
        return other is None or other.state not in RUNNING or other.attempts[-1].agent != record.attempts[-1].agent

    async def _kill(self) -> None:
        agent = self.records[INTERRUPTED].attempts[-1].agent
        self.kill = Kill(agent, time.time_ns() // 1_000_000)
        await self._supervisor.fell(sidecar_name(agent))
        self._say(f"SIGKILL for {agent}: its sidecar and all that it started, half-way through {INTERRUPTED}")

    # --------------------------------------------------------------- telling

    async def _view(self) -> View:
        words = {slug: _last_line(printed) for slug, printed in self._printed.items()}
        return View(
            elapsed_s=self._elapsed(),
            slugs=[item.slug for item in self._items],
            records=self.records,
            agents=await self._client.agents(),
            after={item.slug: item.after for item in self._items},
            words=words,
            kill=self.kill,
            milestones=self._milestones[-MILESTONES_SHOWN:],
        )

    def _tell_change(self, slug: str, record: ReadRecord) -> None:
        now = (record.state, record.generation)
        before = self._shown.get(slug)
        self._shown[slug] = now
        if before == now:
            return
        if before is not None and record.generation != before[1]:
            self._printed.pop(slug, None)
        if not self._console.is_terminal:
            self._say(change_line(slug, record))
        elif len(record.attempts) > 1 and record.generation != (before or now)[1]:
            ended, last = record.attempts[-2:]
            result = ended.outcome.result if ended.outcome else "unknown"
            self._say(f"{slug}: {result} at {ended.agent}, begun again at {last.agent}")

    def _say(self, line: str) -> None:
        self._milestones.append((self._elapsed(), line))
        if not self._console.is_terminal:
            self._console.print(f"{self._elapsed():5.1f} s  {line}", markup=False, highlight=False, soft_wrap=True)


def _last_line(printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    return one_line(lines[-1], 200) if lines else ""
