"""A program on a terminal of its own, and what a person would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte

PATIENCE_S = 40.0
"""Of a machine that is busy with other things."""

MAIN = "from agentcom.cli.main import main; main()"


class Session:
    """One program on one terminal."""

    def __init__(self, pid: int, fd: int, size: tuple[int, int]) -> None:
        self.pid = pid
        self._fd = fd
        self.written = bytearray()
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """What is seen now."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def type(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            os.write(self._fd, key.encode())

    def until(self, holds: Callable[[], bool] | str) -> None:
        """Read what is written until this holds, or is to be seen."""
        seen = (lambda: holds in self.text) if isinstance(holds, str) else holds
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            assert time.monotonic() < deadline, f"waited in vain for {holds!r}; there is\n{self.text}"
            self._read(0.1)

    def _read(self, wait_s: float) -> bool:
        readable = [self._fd] if self._fd >= 0 else []
        if not select.select(readable, [], [], wait_s)[0]:
            return False
        try:
            piece = os.read(self._fd, 65_536)
        except OSError:  # EIO: which is how Linux says that the other side is closed
            return False
        self.written += piece
        self._stream.feed(piece)
        return bool(piece)

    def resize(self, columns: int, lines: int) -> None:
        """As somebody who pulls at the corner of the window."""
        self._screen.resize(lines, columns)
        self._screen.reset()
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def cooked(self) -> bool:
        """Whether the terminal echoes, and gives lines, as a shell wants it."""
        modes = termios.tcgetattr(self._fd)[3]
        return bool(modes & termios.ECHO) and bool(modes & termios.ICANON)

    def until_stopped(self) -> None:
        """Wait until the program has stopped itself."""

        def stopped() -> bool:
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            return pid == self.pid and os.WIFSTOPPED(status)

        self.until(stopped)

    def until_over(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        codes: list[int] = []

        def ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                codes.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        self.until(ended)
        while self._read(0.2):
            pass
        self.pid = 0
        return codes[0]

    def hang_up(self) -> None:
        """As an SSH connection that breaks."""
        os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._fd >= 0:
            os.close(self._fd)


@contextmanager
def on_a_terminal(
    *arguments: str, environ: dict[str, str], size: tuple[int, int] = (110, 30), code: str = MAIN
) -> Iterator[Session]:
    """`agentcom ARGUMENTS` on a terminal of this size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    argv = [sys.executable, "-c", code, *arguments]
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    given = inherited | {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"} | environ
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(theirs, fd)
        os.closerange(3, 256)
        os.execve(sys.executable, argv, given)
    os.close(theirs)
    session = Session(pid, ours, size)
    try:
        yield session
    finally:
        session.close()
