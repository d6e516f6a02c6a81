"""Keeps an agent's folder bounded: attempts' files and workspaces go when the records of their tasks do."""

from __future__ import annotations

import shutil
from pathlib import Path


def remove_old(folder: Path, now_s: float, retention_s: float) -> int:
    """Remove what has not been touched for `retention_s`; how many entries were removed."""
    removed = 0
    for place in (folder / "attempts", folder / "workspaces"):
        for path in place.glob("*") if place.is_dir() else ():
            if now_s - path.stat().st_mtime > retention_s:
                shutil.rmtree(path, ignore_errors=True)
                removed += 1
    return removed
