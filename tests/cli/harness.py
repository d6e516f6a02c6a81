"""Calls of the command line in this process, and a pool with a scheduler and two agents to call it on."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import pytest

import agentcom
from agentcom.broker.connection import connected
from agentcom.cli.main import main
from agentcom.scheduler.service import SchedulerService
from agentcom.settings import Policy
from tests.patience import PATIENCE_S

POOL = "cli"

POLICY = Policy(
    accept_s=5,
    beat_s=0.5,
    beat_offset_s=0,
    sweep_s=0.5,
    lease_s=2,
    retry_delays_s=(300.0,),
    max_attempts=2,
    breaker_failures=1_000,  # the agents fail tasks for many tests, and are to work for the next
)


@dataclass(frozen=True)
class Said:
    """What a call said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed, as JSON."""
        assert self.out, self
        return json.loads(self.out)

    def ids(self) -> list[str]:
        """The ids of the tasks in its document."""
        return [task["id"] for task in self.document["tasks"]]


class Terminal:
    """Calls commands with these variables, in this folder."""

    def __init__(self, folder: Path, environ: dict[str, str], pool: Served | None = None) -> None:
        self.folder = folder
        self.environ = environ
        self._pool = pool

    def __call__(self, *arguments: str, stdin: bytes = b"", tty: bool = False) -> Said:
        """One call, as `agentcom ARGUMENTS` makes it, with pipes for input and output."""
        streams = [io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"), *(_output() for _ in range(2))]
        streams[0].isatty = lambda: tty  # type: ignore[method-assign]
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with (
                self._pool.called() if self._pool else nullcontext(),
                mock.patch.object(sys, "argv", ["agentcom", *arguments]),
                mock.patch.dict(os.environ, self.environ),
                mock.patch.multiple(sys, stdin=streams[0], stdout=streams[1], stderr=streams[2]),
            ):
                code = _code_of_main()
        finally:
            os.chdir(before)
        said = [bytes(_flushed(stream)).decode() for stream in streams[1:]]
        return Said(code, *said)


def _output() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")


def _flushed(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


def _code_of_main() -> int:
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    raise AssertionError("main returned without an exit code")


def work(task: agentcom.Task) -> Any:
    """What the agents of these tests do: the first word of the text says what happens."""
    verb, _, rest = task.text.partition(" ")
    if verb == "fail":
        raise ValueError(rest or "it was told to")
    if verb == "state":
        raise agentcom.AttemptFailed(*rest.split(maxsplit=1))
    if verb == "print":
        task.log(rest)
    return f"did {task.title}"


async def work_or_sleep(task: agentcom.Task) -> Any:
    """Like `work`, and `sleep` goes on until it is canceled."""
    if task.text.startswith("sleep"):
        task.log("falling asleep")
        await anyio.sleep(3600)
    return work(task)


def eventually(call: Callable[[], Said], wanted: Callable[[Said], bool]) -> Said:
    """What a call says as soon as it says what is wanted."""
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(said := call()):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


class Served:
    """A scheduler and two agents, in a thread: oak knows python well, birch writes documentation.

    Should they end before they are stopped, the test that calls a command on them fails at once with the reason, and so
    does every later one.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._started = threading.Event()
        self._stopping = threading.Event()
        self._died_of: BaseException | None = None
        self._called = False
        self._thread = threading.Thread(target=self._run, name="the pool")

    def start(self) -> None:
        self._before = signal.signal(signal.SIGUSR1, lambda *_: self._fail_if_dead() if self._called else None)
        self._thread.start()
        assert self._started.wait(PATIENCE_S), "the pool does not start"
        self._fail_if_dead()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        signal.signal(signal.SIGUSR1, self._before)

    @contextmanager
    def called(self) -> Iterator[None]:
        """While a command is called that may wait for them."""
        self._called = True
        try:
            self._fail_if_dead()
            yield
        finally:
            self._called = False

    def started(self) -> None:
        """It works, for all that can be seen."""
        self._started.set()

    def _fail_if_dead(self) -> None:
        if self._died_of is not None:
            pytest.fail("the pool died:\n" + "".join(traceback.format_exception(self._died_of)))

    def _run(self) -> None:
        try:
            anyio.run(self.serve)
        except BaseException as error:
            self._died_of = error
            self._started.set()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    async def serve(self) -> None:
        agents = [
            agentcom.Agent("birch", skills={"docs": 2, "python": 1}, url=self.url, pool=POOL, policy=POLICY),
            agentcom.Agent("oak", skills={"python": 3, "review": 1}, slots=4, url=self.url, pool=POOL, policy=POLICY),
        ]
        async with connected(self.url) as connections, anyio.create_task_group() as group:
            group.start_soon(SchedulerService(connections, POOL, POLICY).run)
            for agent in agents:
                agent.handler(work_or_sleep)
                group.start_soon(agent.run)
            async with agentcom.Client(self.url, POOL) as client:
                while len(await client.agents()) < len(agents):
                    await anyio.sleep(0.02)
            self.started()
            while not self._stopping.is_set():
                await anyio.sleep(0.05)
            group.cancel_scope.cancel()


@contextmanager
def served(url: str) -> Iterator[Served]:
    """A pool at work on this server."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_STATE_HOME": folder}):
        pool = Served(url)
        pool.start()
        try:
            yield pool
        finally:
            pool.stop()
