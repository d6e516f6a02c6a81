"""Calls of the command line in this process, and a pool to call it on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from agentcom.cli.main import main
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


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


def eventually(call: Callable[[], Said], wanted: Callable[[Said], bool]) -> Said:
    """What a call says as soon as it says what is wanted."""
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(said := call()):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


class Served:
    """A pool at work in a process of its own: in a thread it would share the folder, the variables, the streams and the
    random numbers of the tests.

    Should it end before it is stopped, the test that calls a command on it fails at once with the reason, and so does
    every later one.

    Args:
        url: of the server.
        folder: of its own.
        argv: what serves, and says so in a line.
    """

    def __init__(self, url: str, folder: Path, *argv: str) -> None:
        self.url = url
        self._log = folder / "pool.log"
        self._argv = [sys.executable, *(argv or ("-m", "tests.cli.pool_at_work", url))]
        self._environ = os.environ | {"XDG_STATE_HOME": str(folder)}
        self._stopping = False
        self._called = False

    def start(self) -> None:
        self._before = signal.signal(signal.SIGUSR1, lambda *_: self._fail_if_dead() if self._called else None)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv, cwd=ROOT, env=self._environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        self._thread = threading.Thread(target=self._watch, name="until the pool ends")
        self._thread.start()
        assert said == b"at work\n", self._log.read_text()

    def stop(self) -> None:
        self._stopping = True
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._thread.join()
        self._process.stdout.close()
        signal.signal(signal.SIGUSR1, self._before)

    @contextmanager
    def called(self) -> Iterator[None]:
        """While a command is called that may wait for it."""
        self._called = True
        try:
            self._fail_if_dead()
            yield
        finally:
            self._called = False

    def _fail_if_dead(self) -> None:
        if self._process.returncode is not None:
            pytest.fail(f"the pool died:\n{self._log.read_text()}")

    def _watch(self) -> None:
        self._process.wait()
        if not self._stopping:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


@contextmanager
def served(url: str) -> Iterator[Served]:
    """A pool at work on this server."""
    with tempfile.TemporaryDirectory() as folder:
        pool = Served(url, Path(folder))
        pool.start()
        try:
            yield pool
        finally:
            pool.stop()
