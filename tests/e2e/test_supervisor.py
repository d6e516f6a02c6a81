"""The supervisor on its own, with programs and a server that do what is hard to bring about with the real ones."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import anyio
import pytest

from agentcom.broker.embedded import EmbeddedServer
from agentcom.errors import ConfigurationError, ServerUnavailable
from agentcom.settings import Policy
from agentcom.supervisor.programs import Program
from agentcom.supervisor.record import only_supervisor, read_children
from agentcom.supervisor.service import Supervisor
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.process

POLICY = Policy(drain_s=0.1, grace_s=0.1)


class SlowServer:
    """A server that loads its data for ever, and ends when it is told to."""

    url = "unix:///nowhere"

    def __init__(self) -> None:
        self.pid: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(["sleep", "60"])
        self.pid = self._process.pid
        self._process.wait()
        raise ServerUnavailable("it ended")

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        assert not self.is_alive()


def program(code: str, name: str = "scheduler") -> Program:
    return Program(name, "scheduler", (sys.executable, "-c", code), {"PYTHONUNBUFFERED": "1"})


def play(
    supervisor: Supervisor, until: Callable[[], bool] = lambda: False, after: Callable[[], None] | None = None
) -> None:
    """Run it until something holds, then stop it, or do what is to be done instead."""

    async def watch() -> None:
        with anyio.fail_after(PATIENCE_S):
            while not until():
                await anyio.sleep(0.05)
        (after or supervisor.stop)()

    async def whole() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await supervisor.run()

    anyio.run(whole)


def test_a_server_that_still_loads_is_stopped_without_waiting_for_it(tmp_path: Path) -> None:
    server = SlowServer()
    supervisor = Supervisor(tmp_path, POLICY, cast(EmbeddedServer, server), [], lambda *_: None)
    play(supervisor, until=lambda: "server" in read_children(tmp_path))
    assert not server.is_alive()
    assert read_children(tmp_path) == {}


def test_what_programs_print_is_passed_on_line_by_line_whatever_it_is(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    code = "import sys, time; sys.stdout.buffer.write(b'one\\n\\xff\\ntail'); sys.stdout.flush(); time.sleep(60)"
    long = "print('x' * 100_000); import time; time.sleep(60)"
    programs = [program(code, "one"), program(long, "long")]
    supervisor = Supervisor(tmp_path, POLICY, None, programs, lambda name, line: said.append((name, line)))
    play(supervisor, until=lambda: ("one", "�") in said and sum(len(line) for _, line in said) >= 100_000)
    assert [line for name, line in said if name == "one"] == ["one", "�", "tail"]
    assert "".join(line for name, line in said if name == "long") == "x" * 100_000


def test_a_program_that_ignores_sigterm_is_ended_all_the_same(tmp_path: Path) -> None:
    said: list[str] = []
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    deaf = Program("sidecar x", "sidecar", (sys.executable, "-c", code), {"PYTHONUNBUFFERED": "1"}, "x")
    supervisor = Supervisor(tmp_path, POLICY, None, [deaf], lambda _, line: said.append(line))
    play(supervisor, until=lambda: "deaf" in said, after=supervisor.hurry)
    assert supervisor.was_hurried
    assert read_children(tmp_path) == {}


def test_a_program_that_cannot_be_started_is_tried_again_and_said_so(tmp_path: Path) -> None:
    said: list[str] = []
    missing = Program("x", "scheduler", (str(tmp_path / "missing"),), {})
    supervisor = Supervisor(tmp_path, POLICY, None, [missing], lambda _, line: said.append(line))
    play(supervisor, until=lambda: said.count("ended with exit code 1; starting it again in 0.5 s") > 0)
    assert said[0].startswith("cannot be started: ")


def test_cancelling_it_ends_what_it_started(tmp_path: Path) -> None:
    async def whole() -> None:
        started = anyio.Event()
        supervisor = Supervisor(tmp_path, POLICY, None, [program("import time; time.sleep(60)")], lambda *_: None)
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                group.start_soon(supervisor.run, started.set)
                await started.wait()
                while "scheduler" not in read_children(tmp_path):
                    await anyio.sleep(0.05)
                group.cancel_scope.cancel()

    anyio.run(whole)
    assert read_children(tmp_path) == {}


def test_a_felled_program_stays_down(tmp_path: Path) -> None:
    said: list[str] = []

    async def whole() -> None:
        programs = [program("import time; time.sleep(60)", name) for name in ("felled", "other")]
        supervisor = Supervisor(tmp_path, POLICY, None, programs, lambda _, line: said.append(line))
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                group.start_soon(supervisor.run)
                while len(read_children(tmp_path)) < 2:
                    await anyio.sleep(0.05)
                await supervisor.fell("felled")
                await anyio.sleep(1.0)
                assert set(read_children(tmp_path)) == {"other"}
                supervisor.stop()

    anyio.run(whole)
    assert said == []


def test_a_folder_that_cannot_be_used_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"), only_supervisor(tmp_path / "file"):
        pass
