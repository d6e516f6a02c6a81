"""What all who read an agent's output have in common: how it is opened, and how much and how seldom it may come."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

FLOODED, STALLED = "output_flood", "stalled"


class Limits(Struct, frozen=True):
    """Bounds of one turn's output.

    Attributes:
        size_bytes: as much may be printed.
        silence_s: for so long nothing may be printed; 0: for ever.
    """

    size_bytes: int
    silence_s: float

    def excess(self, size_bytes: int, silent_s: float) -> str:
        """The reason to end who printed so much, or nothing for so long; empty where there is none."""
        if size_bytes > self.size_bytes:
            return FLOODED
        return STALLED if self.silence_s and silent_s >= self.silence_s else ""

    def told(self, excess: str) -> str:
        """What is said to people of a reason."""
        if excess == FLOODED:
            return f"it printed over {self.size_bytes:,} bytes (policy.output_file_bytes)"
        return f"it printed nothing for {self.silence_s:g} s (policy.stall_s)"


def open_output(path: Path) -> BinaryIO | None:
    """An output file to read; None if it is not there, or the agent has put something else in its place that would be
    waited for."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    return None
