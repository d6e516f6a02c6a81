"""Keeps an agent's folder bounded: attempts' files and workspaces go when the records of their tasks do."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread

from agentcom.model.codec import decode_report
from agentcom.model.messages import Finished
from agentcom.sidecar.journal import Journal

log = logging.getLogger("agentcom.sidecar")

HOUSEKEEPING_S = 3_600.0


async def keep_house(
    folder: Path,
    retention_s: float,
    clock: Callable[[], int],
    tasks: Callable[[], Collection[str]],
    tidy: Callable[[float, float, Collection[str]], Awaitable[None]],
) -> None:
    """Remove what is old, at once and again and again, for ever.

    Args:
        folder: the agent's own.
        retention_s: how old a thing may become.
        clock: Unix time in ms.
        tasks: ids of the tasks that are at work, or whose ends are not said yet: their things are kept.
        tidy: removes what the runner knows of, with the time, the age, and the tasks to keep.
    """
    while True:
        try:
            keep = frozenset(tasks())
            await tidy(clock() / 1000, retention_s, keep)
            await anyio.to_thread.run_sync(remove_old, folder, clock() / 1000, retention_s, keep)
        except OSError as error:
            log.warning("old files in %s cannot be removed: %s", folder, error)
        await anyio.sleep(HOUSEKEEPING_S)


def noted_tasks(journal: Journal) -> set[str]:
    """Ids of the tasks that are noted as begun, and of those whose ends are noted and not sent yet."""
    reports = (decode_report(bytes(body)) for note in journal.unsent() for body in note.reports)
    ended = {report.task for report in reports if isinstance(report, Finished)}
    return {run.order.task for run in journal.runs()} | ended


def remove_old(folder: Path, now_s: float, retention_s: float, keep: Collection[str] = ()) -> int:
    """Remove what has not been touched for `retention_s`, but for the tasks to keep; how many entries were removed."""
    removed = 0
    attempts = (path for place in ("attempts", "workspaces") for path in (folder / place).glob("*"))
    set_aside = (folder / "journal").rglob("*.corrupt")
    for path in (*attempts, *set_aside):
        if path.name.partition(".")[0] not in keep:
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
