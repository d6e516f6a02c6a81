"""What systemd is told of a service: that it is ready, what it does, that its loop still turns, that it stops.

The protocol of sd_notify(3): datagrams of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names. Where no such
socket is named, nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

PULSES_PER_TERM = 4
"""A pulse is passed on so often within the watchdog's term: one that is late, or lost, is no sign of a frozen loop."""

SEND_TIMEOUT_S = 0.2
"""A service manager that does not read must not stop the loop that it watches."""


class Notifier:
    """Tells the service manager that started this process how it is doing. What cannot be sent is left unsaid.

    Args:
        environ: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` may stand.
        clock: seconds, from any start, that never go back.
    """

    def __init__(self, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._address = _address_in(environ)
        self._clock = clock
        self._every_s = _watchdog_s(environ) / PULSES_PER_TERM if self._address else 0.0
        self._pulse_due_s = clock()
        self._said = ""

    def ready(self, status: str) -> None:
        """The service has begun; from now on its watchdog wants pulses."""
        self._said = _line(status)
        self._send(f"READY=1\nSTATUS={self._said}")

    def status(self, status: str) -> None:
        """What it does now, in one line for people."""
        if _line(status) != self._said:
            self._said = _line(status)
            self._send(f"STATUS={self._said}")

    def stopping(self, status: str) -> None:
        """The service comes to its end in good order."""
        self._said = _line(status)
        self._send(f"STOPPING=1\nSTATUS={self._said}")

    def pulse(self) -> None:
        """The loop turns. To be called at every turn; the watchdog is told as often as it needs."""
        if not self._every_s:
            return
        now_s = self._clock()
        if now_s >= self._pulse_due_s and self._send("WATCHDOG=1"):
            self._pulse_due_s = now_s + self._every_s

    def _send(self, message: str) -> bool:
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.settimeout(SEND_TIMEOUT_S)
                to.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError:  # the manager is being restarted, or its queue is full: the next pulse tries again
            return False
        return True


def _address_in(environ: Mapping[str, str]) -> str:
    """The socket's address; one that begins with @ is in the abstract name space. Empty if there is none to use."""
    named = environ.get("NOTIFY_SOCKET", "")
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else ""


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """The watchdog's term; 0 if there is none, or it is another process's."""
    term, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (term.isascii() and term.isdigit()) or whose not in ("", str(os.getpid())):
        return 0.0
    return int(term) / 1_000_000


def _line(text: str) -> str:
    """A line break would begin a new assignment."""
    return " ".join(text.split())
