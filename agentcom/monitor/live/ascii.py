"""What a terminal is sent that shows nothing but ASCII. Pure."""

from __future__ import annotations

from rich.cells import cell_len

LOOKALIKES = {
    "▸": ">", "→": ">", "…": "~", "·": "-", "×": "x", "─": "-", "│": "|", "↑": "^", "↓": "v", "▁": "_", "▂": ".",
    "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#", "░": ".", "▏": ".", "▎": ":", "▍": ":", "▌": "-",
    "▋": "=", "▊": "+", "▉": "*", "✓": "+", "✗": "x", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "µ": "u",
}  # fmt: skip
"""One cell for one cell, so that columns stay where they are."""


class _Table(dict[int, str]):
    """For `str.translate`: whatever else is no ASCII becomes a question mark for each of its cells."""

    def __missing__(self, code: int) -> str:
        drawn = chr(code) if code < 0x80 else "?" * cell_len(chr(code))
        self[code] = drawn
        return drawn


TABLE = _Table({ord(drawn): alike for drawn, alike in LOOKALIKES.items()})


def ascii_only(text: str) -> str:
    """The same text, as wide, in ASCII."""
    return text.translate(TABLE)
