"""Small pictures of plain characters, where people would rather look than read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

STEPS = "▁▂▃▄▅▆▇█"
FULL, EMPTY = "█", "░"
PARTS = "▏▎▍▌▋▊▉"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The values as heights, the highest the full one; what is unknown is left blank.

    Of more values than `width`, neighbours are shown as one: the highest of them, so that no peak is hidden.
    """
    if width <= 0 or not values:
        return ""
    shown = _merged(values, width)
    top = max((value for value in shown if value is not None), default=0.0)
    return "".join(" " if value is None else _step(value, top) for value in shown)


def bar(share: float, width: int) -> str:
    """A progress bar; full from a share of 1 on."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, part = divmod(eighths, 8)
    drawn = FULL * whole + (PARTS[part - 1] if part else "")
    return drawn + EMPTY * (width - len(drawn))


def _merged(values: Sequence[float | None], width: int) -> list[float | None]:
    if len(values) <= width:
        return list(values)
    edges = [place * len(values) // width for place in range(width + 1)]
    parts = (values[first:end] for first, end in pairwise(edges))
    return [max((value for value in part if value is not None), default=None) for part in parts]


def _step(value: float, top: float) -> str:
    """Nothing at all is the lowest step, and anything more is a higher one."""
    if value <= 0 or top <= 0:
        return STEPS[0]
    return STEPS[max(1, min(len(STEPS) - 1, int(value / top * len(STEPS))))]
