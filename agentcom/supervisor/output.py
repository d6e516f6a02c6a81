"""How the lines of several programs share one terminal: each behind its program's name."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

from agentcom.wording import clean

_COLOURS = (36, 33, 35, 32, 34, 31)
_DIM = 2


class Interleaved:
    """Writes lines to one stream, each behind the name of whom it is from or about.

    Args:
        stream: where to; one that was closed meanwhile is no reason to stop.
        names: all that will be used; they decide the width of the column and, in this order, the colours.
        coloured: whether the stream understands colours.
    """

    def __init__(self, stream: TextIO, names: Iterable[str], *, coloured: bool) -> None:
        self._stream = stream
        self._names = list(names)
        self._width = max(map(len, self._names), default=0)
        self._coloured = coloured

    def say(self, name: str, line: str) -> None:
        """Write one line, at once. What could move the cursor is taken out of it."""
        with suppress(OSError, ValueError):
            self._stream.write(f"{self._label(name)} {clean(line)}\n")
            self._stream.flush()

    def _label(self, name: str) -> str:
        label = f"{name:<{self._width}} │"
        if not self._coloured:
            return label
        colour = _COLOURS[self._names.index(name) % len(_COLOURS)] if name in self._names else _DIM
        return f"\x1b[{colour}m{label}\x1b[0m"
