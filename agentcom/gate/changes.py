"""What changed, from what git prints. Pure."""

from __future__ import annotations

from agentcom.gate.facts import Change

DIFF = ("diff-tree", "-r", "-z", "--raw", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv")
"""Followed by two commits: the command whose output `changes_of` reads."""


def changes_of(printed: bytes) -> tuple[Change, ...]:
    """The changes that git lists.

    Raises:
        ValueError: it is not what `DIFF` prints.
    """
    modes: dict[str, tuple[str, str]] = {}
    counts: dict[str, tuple[int, int, bool]] = {}
    # Of a path that is no UTF-8, every wrong byte is a surrogate, which no path that people can read has.
    words = iter(printed.decode("utf-8", "surrogateescape").split("\0"))
    for word in words:
        if word.startswith(":"):
            before, after, *_ = word[1:].split(" ")
            modes[next(words)] = (before, after)
        elif word:
            inserted, deleted, path = word.split("\t", 2)
            counts[path] = (0, 0, True) if inserted == "-" else (int(inserted), int(deleted), False)
    if modes.keys() != counts.keys():
        raise ValueError("git lists other files than it counts lines in")
    return tuple(_change(path, modes[path], counts[path]) for path in sorted(modes))


def _change(path: str, modes: tuple[str, str], counts: tuple[int, int, bool]) -> Change:
    inserted, deleted, binary = counts
    return Change(path, *modes, inserted, deleted, binary)
