"""What schedulers and sidecars tell a service manager: ready, still turning, stopping; and what a frozen one omits."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.notify import Notifier
from agentcom.supervisor.units import WATCHDOG_S
from tests.supervisor.watched import Home, eventually, is_alive, watched

pytestmark = pytest.mark.process

SCHEDULER = ("scheduler",)
OAK = ("sidecar", "--agent", "oak")
FIR = ("sidecar", "--agent", "fir")

TERM_S = 2.0
SILENCE_S = 12.0
"""A read waits up to 5 seconds: what says nothing for so long has stopped turning."""


@pytest.mark.parametrize(("arguments", "abstract"), [(SCHEDULER, False), (SCHEDULER, True), (OAK, False)])
def test_a_service_says_that_it_is_ready_and_then_again_and_again_that_it_turns(
    home: Home, arguments: tuple[str, ...], abstract: bool
) -> None:
    with watched(home, *arguments, watchdog_s=TERM_S, abstract=abstract) as service:
        service.until("READY=1")
        service.until("STATUS=at work")
        for _ in range(2):
            service.until("WATCHDOG=1", SILENCE_S)


def test_a_standby_says_that_it_turns_too(home: Home) -> None:
    with watched(home, *SCHEDULER, watchdog_s=TERM_S) as leader:
        leader.until("STATUS=at work")
        with watched(home.beside("other"), *SCHEDULER, watchdog_s=TERM_S) as standby:
            standby.until("STATUS=at work")
            for _ in range(3):
                standby.until("WATCHDOG=1", SILENCE_S)


@pytest.mark.parametrize("arguments", [SCHEDULER, OAK])
def test_a_stopped_process_says_nothing_and_goes_on_when_it_is_continued(
    home: Home, arguments: tuple[str, ...]
) -> None:
    with watched(home, *arguments, watchdog_s=TERM_S) as service:
        service.until("WATCHDOG=1")
        service.process.send_signal(signal.SIGSTOP)
        service.hush()
        assert service.hear(SILENCE_S / 2) is None
        service.process.send_signal(signal.SIGCONT)
        service.until("WATCHDOG=1", SILENCE_S)


@pytest.mark.pitfall_3
@pytest.mark.pitfall_7
def test_a_frozen_loop_feeds_no_watchdog_although_its_process_lives(home: Home) -> None:
    fir = home.beside("fir")
    with watched(home, *SCHEDULER, watchdog_s=TERM_S), watched(fir, *FIR, watchdog_s=TERM_S) as sidecar:
        sidecar.until("STATUS=at work")
        home.call("submit", "be quick", "--agent", "fir", "--wait")
        sidecar.hush()
        assert sidecar.hear(SILENCE_S) is not None
        home.call("submit", "freeze", "--agent", "fir")
        while sidecar.hear(SILENCE_S) is not None:
            pass
        assert is_alive(sidecar.process.pid)
        sidecar.process.send_signal(signal.SIGABRT)  # what systemd does to it then
        assert sidecar.ended() == -signal.SIGABRT
        assert "handlers.py" in (fir.folder / "log").read_text(errors="replace")  # where it stood


@pytest.mark.parametrize("arguments", [SCHEDULER, OAK])
def test_a_service_is_ready_without_redis_and_turns_while_it_waits_for_it(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    home = Home(tmp_path, f"unix://{tmp_path}/nothing.sock")
    with watched(home, *arguments, watchdog_s=TERM_S) as service:
        service.until("READY=1")
        assert "STATUS=beginning" in service.said[-1]
        for _ in range(5):
            service.until("WATCHDOG=1", SILENCE_S)


@pytest.mark.parametrize("arguments", [SCHEDULER, OAK])
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_service_turns_while_redis_hangs_or_is_gone(
    tmp_path: Path, arguments: tuple[str, ...], how: signal.Signals
) -> None:
    with EmbeddedServer(tmp_path / "redis", find_server(os.environ)) as server:
        home = Home(tmp_path, server.url)
        with watched(home, *arguments, watchdog_s=TERM_S) as service:
            service.until("STATUS=at work")
            service.until("WATCHDOG=1")
            assert server.pid is not None
            os.kill(server.pid, how)
            try:
                service.hear(1)  # what was said before
                service.hush()
                for _ in range(2):
                    service.until("WATCHDOG=1", WATCHDOG_S - 10)
            finally:
                if how == signal.SIGSTOP:
                    os.kill(server.pid, signal.SIGCONT)


@pytest.mark.pitfall_3
def test_the_first_sigterm_drains_and_the_second_stops_hard(home: Home) -> None:
    oak = home.beside("oak")
    with watched(home, *SCHEDULER, watchdog_s=TERM_S), watched(oak, *OAK, watchdog_s=TERM_S) as sidecar:
        sidecar.until("STATUS=at work")
        home.call("submit", "work for ever", "--agent", "oak")
        agent = home.agent_pid()
        sidecar.process.terminate()
        sidecar.until("STOPPING=1\nSTATUS=letting running work end")
        time.sleep(1)
        assert sidecar.process.poll() is None  # drain_s is 30
        assert is_alive(agent)
        sidecar.process.terminate()
        sidecar.until("STOPPING=1\nSTATUS=stopping at once")
        sidecar.ended(within_s=10)  # grace_s is 1, and the agent ignores SIGTERM
        eventually(lambda: not is_alive(agent), 10)


def test_a_scheduler_stops_at_the_first_sigterm_and_says_so(home: Home) -> None:
    with watched(home, *SCHEDULER, watchdog_s=TERM_S) as scheduler:
        scheduler.until("STATUS=at work")
        scheduler.process.terminate()
        scheduler.until("STOPPING=1")
        assert scheduler.ended(10) == 0


# ------------------------------------------------------------------- notifier


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_without_a_manager_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.bind("relative")
        to.setblocking(False)
        for named in (None, "", "relative", str(tmp_path / "no")):
            notifier = Notifier({"WATCHDOG_USEC": "1"} | ({} if named is None else {"NOTIFY_SOCKET": named}))
            notifier.ready("")
            notifier.status("busy")
            notifier.pulse()
            notifier.stopping("")
        with pytest.raises(BlockingIOError):
            to.recv(1)


def heard(folder: Path, environ: dict[str, str]) -> tuple[int, list[str]]:
    """How many of 100 pulses, one every 0.1 s, are passed on."""
    clock = Clock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.bind(str(folder / "notify"))
        to.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": str(folder / "notify")} | environ, clock)
        said = []
        for _ in range(100):
            notifier.pulse()
            clock.now_s += 0.1
            try:
                said.append(to.recv(100).decode())
            except BlockingIOError:
                continue
    return len(said), said


def test_pulses_are_passed_on_four_times_within_the_watchdogs_term(tmp_path: Path) -> None:
    number, said = heard(tmp_path, {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())})
    assert number == pytest.approx(10, abs=1)
    assert set(said) == {"WATCHDOG=1"}


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}])
def test_without_a_watchdog_for_this_process_none_is_fed(tmp_path: Path, environ: dict[str, str]) -> None:
    assert heard(tmp_path, environ)[0] == 0


def test_a_status_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.bind(str(tmp_path / "notify"))
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).ready("one\nSTOPPING=1")
        assert to.recv(100) == b"READY=1\nSTATUS=one STOPPING=1"
