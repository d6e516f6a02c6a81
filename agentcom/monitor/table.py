"""Columns for a terminal of any width: what does not fit is cut or left out by rank, not by chance.

Cells are `rich.text.Text`, so that what others wrote is never read as markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from agentcom.wording import clean, one_line

GAP = 2


class Column(Struct, frozen=True):
    """A column.

    Attributes:
        name: its heading.
        rank: 0 stays; of the others the highest is left out first when the terminal is too narrow.
        least: it may be cut down to so many cells; 0 means that it is never cut.
        right: aligned to the right, as numbers are.
    """

    name: str
    rank: int = 0
    least: int = 0
    right: bool = False


def said(words: object, style: str = "") -> Text:
    """A cell, safe to print whoever wrote it."""
    return Text(clean(str(words)), style)


def cut(line: Text, width: int | None) -> Text:
    """The same line, cut where the terminal ends."""
    if width is not None and line.cell_len > width:
        line.truncate(width, overflow="ellipsis")
    line.rstrip()
    return line


def folded(line: Text, width: int, indent: int = 4) -> list[Text]:
    """The same line as several, broken between words, each but the first indented; one that fits stays as it is."""
    lines: list[Text] = []
    rest = line
    while rest.cell_len > width > indent:
        at = _break(rest.plain, width)
        head, tail = rest.divide([at])
        head.rstrip()
        lines.append(head)
        start = len(tail.plain) - len(tail.plain.lstrip())
        rest = Text(" " * indent).append_text(tail[start:])
    return [*lines, rest]


def _break(words: str, width: int) -> int:
    """Where a text is broken that is wider than this: behind a word, or within one that alone is wider."""
    fits = 0
    while cell_len(words[: fits + 1]) <= width:
        fits += 1
    behind = words.rfind(" ", 0, fits + 1)
    return behind if words[:behind].strip() else max(fits, 1)


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int | None) -> list[Text]:
    """The heading and the rows as lines. Columns in which nothing stands are left out.

    Args:
        columns: the columns.
        rows: a cell for each column.
        width: cells of the terminal; None shows everything whole.
    """
    filled = [place for place in range(len(columns)) if any(row[place].plain for row in rows)]
    widths = {place: max(_size(columns[place].name), *(_size(row[place].plain) for row in rows)) for place in filled}
    if width is not None:
        widths = _fitted(columns, widths, width)
    heading = [Text(column.name, "dim") for column in columns]
    return [_line(columns, row, widths) for row in (heading, *rows)]


def _size(words: str) -> int:
    return cell_len(words)


def _fitted(columns: Sequence[Column], natural: dict[int, int], width: int) -> dict[int, int]:
    """The columns that have room, with the cells each gets."""
    kept = dict(natural)
    while _total(_least(columns, kept)) > width:
        optional = [place for place in kept if columns[place].rank]
        if not optional:
            break
        del kept[max(optional, key=lambda place: columns[place].rank)]
    least = _least(columns, kept)
    over = _total(kept) - width
    while over > 0:
        widest = max(kept, key=lambda place: kept[place] - least[place])
        room = kept[widest] - least[widest]
        if room <= 0:
            break
        cut = min(over, max(1, room // 4))
        kept[widest] -= cut
        over -= cut
    return kept


def _least(columns: Sequence[Column], widths: dict[int, int]) -> dict[int, int]:
    return {place: min(columns[place].least or cells, cells) for place, cells in widths.items()}


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + GAP * max(0, len(widths) - 1)


def _line(columns: Sequence[Column], row: Sequence[Text], widths: dict[int, int]) -> Text:
    line = Text()
    for place, cells in widths.items():
        cell = row[place]
        words = cell.plain if _size(cell.plain) <= cells else one_line(cell.plain, cells)
        padded = " " * (cells - _size(words)) + words if columns[place].right else set_cell_size(words, cells)
        if line:
            line.append(" " * GAP)
        line.append(padded, cell.style)
    line.rstrip()
    return line
