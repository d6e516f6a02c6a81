"""Keeps an agent's folder bounded: attempts' files and workspaces go when the records of their tasks do."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def remove_old(folder: Path, now_s: float, retention_s: float, keep: Collection[str] = ()) -> int:
    """Remove what has not been touched for `retention_s`, but for the tasks to keep; how many entries were removed."""
    removed = 0
    for place in (folder / "attempts", folder / "workspaces"):
        for path in place.glob("*") if place.is_dir() else ():
            if path.name.partition(".")[0] in keep:
                continue
            with suppress(OSError):
                if now_s - path.lstat().st_mtime > retention_s:
                    _remove(path)
                    removed += 1
    return removed


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
