"""What the commands write to: a terminal of some width, or a pipe that gets everything whole and plain."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from agentcom.monitor.look import Now
from agentcom.monitor.table import said

SCHEMA = 1
"""Version of every `--json` document. Fields may be added within a version; none is renamed or removed."""


def console(*, stderr: bool = False) -> Console:
    """A console that takes what it is given as it is: no markup, no wrapping, no guessing of colours."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def width() -> int | None:
    """Cells in a line of the terminal; None if there is none, and so no need to leave anything out."""
    return console().width if sys.stdout.isatty() else None


def now() -> Now:
    """The present, in the local time zone."""
    return Now(time.time_ns() // 1_000_000, _local_offset_s)


def _local_offset_s(at: int) -> int:
    try:
        offset = datetime.fromtimestamp(at / 1000).astimezone().utcoffset()
    except (OverflowError, OSError, ValueError):
        return 0
    return int(offset.total_seconds()) if offset is not None else 0


def show(lines: Iterable[Text]) -> None:
    """Print lines."""
    to = console()
    for line in lines:
        to.print(line)


def tell(words: str, style: str = "") -> None:
    """Print one line."""
    console().print(said(words, style))


def warn(words: str) -> None:
    """Say on stderr what whoever called should know."""
    console(stderr=True).print(said(words))


def show_json(document: dict[str, Any]) -> None:
    """Print a document with its schema number. Everything outside ASCII is escaped: it can't move a cursor."""
    sys.stdout.write(json.dumps({"schema": SCHEMA} | document, indent=2) + "\n")


def show_json_line(document: dict[str, Any]) -> None:
    """Print a document on one line, for a stream of them."""
    sys.stdout.write(json.dumps({"schema": SCHEMA} | document) + "\n")
    sys.stdout.flush()
