"""What git prints, read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

HEADS = "refs/heads/"

_CHANGES = re.compile(r"(\d+) (file|insertion|deletion)")
_SHA = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
# The rules of git-check-ref-format, and no component that begins with a hyphen: some program takes it for an option.
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|\A[/.]|[/.]\Z|\A@\Z|(?:\A|/)-")
MAX_BRANCH = 250

# `rebase (start)` and `merge X: Fast-forward` only move to commits that were there.
_MADE = re.compile(r"commit|cherry-pick|revert|rebase \((?!start|finish)|.*: Merge made by")


class Changes(Struct, frozen=True):
    """How much a diff changes."""

    files: int = 0
    insertions: int = 0
    deletions: int = 0


def is_branch(name: str) -> bool:
    """Whether git takes this as the name of a branch, and nothing takes it for an option."""
    return 0 < len(name) <= MAX_BRANCH and name != "HEAD" and not _BAD_BRANCH.search(name)


def is_sha(text: str) -> bool:
    """Whether this is the whole name of an object."""
    return _SHA.match(text) is not None


def heads(listed: str) -> dict[str, str]:
    """The sha of each branch that `git ls-remote` listed."""
    pairs = (line.partition("\t") for line in listed.splitlines())
    return {ref.removeprefix(HEADS): sha for sha, _, ref in pairs if ref.startswith(HEADS) and is_sha(sha)}


def named_by_head(listed: str) -> str:
    """The branch that HEAD names, of `git ls-remote --symref`; empty where it is detached or not told."""
    for line in listed.splitlines():
        ref, tab, name = line.removeprefix("ref: ").partition("\t")
        if tab and line.startswith("ref: ") and name == "HEAD":
            return ref.removeprefix(HEADS)
    return ""


def changes(shortstat: str) -> Changes:
    """What `git diff --shortstat` sums up."""
    found = {kind: int(number) for number, kind in _CHANGES.findall(shortstat)}
    return Changes(found.get("file", 0), found.get("insertion", 0), found.get("deletion", 0))


def conflicts(merged: str) -> tuple[str, ...]:
    """The files that `git merge-tree --write-tree --name-only -z` could not merge, each once."""
    names: list[str] = []
    for name in merged.split("\0")[1:]:
        if not name:  # an empty one is followed by messages for people
            break
        names.append(name)
    return tuple(dict.fromkeys(names))


def refusals(porcelain: str) -> str:
    """Why `git push --porcelain` says that it was refused; empty if it does not say so."""
    lines = [line.split("\t") for line in porcelain.splitlines() if line.startswith("!")]
    return "; ".join(line[-1] for line in lines)


def made_here(reflog: Iterable[str]) -> list[str]:
    """The commits that were made in a worktree, of the lines of its HEAD's log; not those that it only moved to."""
    made: list[str] = []
    for line in reflog:
        head, _, message = line.partition("\t")
        words = head.split(" ", 2)
        if len(words) > 1 and is_sha(words[1]) and _MADE.match(message):
            made.append(words[1])
    return made
