"""The terminal: its modes, which are put back whatever happens, its size, what is typed, and lines on it."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from agentcom.monitor.live.ascii import ascii_only

READ_MAX = 65_536
ENTER = "\x1b[?1049h\x1b[?2004h\x1b[2J"
LEAVE = "\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
CLEAR_LINE = "\x1b[0m\x1b[K"


class Terminal:
    """The terminal that stdin and stdout are. For use with `with`: leaving it puts everything back.

    Args:
        plain: nothing but ASCII is written.
    """

    def __init__(self, *, plain: bool) -> None:
        self.input = sys.stdin.fileno()
        self._output = sys.stdout.fileno()
        self._plain = plain
        self._console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True, force_terminal=True)
        self._before: list[Any] | None = None
        self._shown: list[Text] = []

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self.input)
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def enter(self) -> None:
        """Take the screen, also again after somebody else had it."""
        tty.setcbreak(self.input, termios.TCSADRAIN)
        self._shown = []
        self._write(ENTER + HIDE)

    def leave(self) -> None:
        """Put the screen and the modes back as they were found. A terminal that is gone needs neither."""
        try:
            self._write(LEAVE)
            if self._before is not None:
                termios.tcsetattr(self.input, termios.TCSADRAIN, self._before)
        except (OSError, termios.error):
            return

    def forget(self) -> None:
        """Draw everything anew the next time."""
        self._shown = []

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self._output)
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24

    def read(self) -> bytes:
        """What was typed; empty if the terminal is gone."""
        try:
            return os.read(self.input, READ_MAX)
        except OSError:
            return b""

    def show(self, lines: Sequence[Text], cursor: tuple[int, int] | None) -> None:
        """Show these lines, writing only those that changed, and in one go."""
        same = len(self._shown) == len(lines)
        written = [] if same else ["\x1b[2J"]
        for number, line in enumerate(lines):
            if not same or not _alike(line, self._shown[number]):
                written.append(f"\x1b[{number + 1};1H{self._drawn(line)}{CLEAR_LINE}")
        self._shown = list(lines)
        place = f"\x1b[{cursor[0] + 1};{cursor[1] + 1}H{SHOW}" if cursor is not None else HIDE
        self._write("".join([HIDE, *written, place]))

    def _drawn(self, line: Text) -> str:
        with self._console.capture() as captured:
            self._console.print(line, end="")
        return ascii_only(captured.get()) if self._plain else captured.get()

    def _write(self, text: str) -> None:
        rest = text.encode("utf-8", "replace")
        while rest:
            rest = rest[os.write(self._output, rest) :]


def _alike(line: Text, other: Text) -> bool:
    """Whether they look the same: to compare is far cheaper than to draw."""
    return line.plain == other.plain and line.spans == other.spans and line.style == other.style


def is_plain(environ: Mapping[str, str]) -> bool:
    """Whether the locale says that the terminal shows nothing but ASCII.

    Python itself sets LC_CTYPE to C.UTF-8 where the locale is C, which says nothing of the terminal.
    """
    named = environ.get("LC_ALL") or environ.get("LANG") or ""
    return bool(named) and "utf" not in named.lower()
