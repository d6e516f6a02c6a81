"""Time as the services tell it to the pure parts."""

from __future__ import annotations

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], int]:
    """A clock of Unix milliseconds that is set once and then goes on steadily, whatever happens to the wall clock."""
    offset_s = time.time() - time.monotonic()
    return lambda: int((time.monotonic() + offset_s) * 1000)
