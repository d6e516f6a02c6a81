"""Run the tests of the ten mistakes, and print the table: `make pitfalls`.

    python -m tests.pitfalls [--quick]

It ends with 1 if a test fails, or if a mistake has no test that shows what prevents it. The simulation and the chaos
runs have commands of their own, `make simulate` and `make chaos`, as they take their time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.pitfalls.table import MISTAKES, Outcome, holds, table, tallied

ROOT = Path(__file__).parents[2]
MARKERS = frozenset(mistake.marker for mistake in MISTAKES)
LEFT_OUT = ("tests/simulation", "tests/chaos")
PIPE_WIDTH = 120


class Collector:
    """Notes of each test what it is about and how it ended."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._about: dict[str, frozenset[str]] = {}
        self._ended: dict[str, Outcome] = {}

    @property
    def outcomes(self) -> list[tuple[frozenset[str], Outcome]]:
        return [(self._about[test], outcome) for test, outcome in self._ended.items()]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._about[item.nodeid] = frozenset(marker.name for marker in item.iter_markers()) & MARKERS

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test fails if any of its setup, itself and its teardown does, and passes if itself does."""
        before = self._ended.get(report.nodeid)
        if report.failed:
            self._ended[report.nodeid] = "failed"
        elif before is None and (report.skipped or report.when == "call"):
            self._ended[report.nodeid] = "skipped" if report.skipped else "passed"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pitfalls", description="The table of ten.")
    parser.add_argument("--quick", action="store_true", help="leave out what starts processes")
    quick: bool = parser.parse_args().quick
    os.chdir(ROOT)
    wanted = " or ".join(sorted(MARKERS))
    arguments = ["-q", "-p", "no:cacheprovider", "-m", f"({wanted}) and not process" if quick else wanted]
    collector = Collector()
    started = time.monotonic()
    code = pytest.main([*arguments, *(f"--ignore={folder}" for folder in LEFT_OUT), "tests"], plugins=[collector])
    tallies = tallied(collector.outcomes)
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(table(tallies))
    console.print(f"{len(collector.outcomes):,} tests in {time.monotonic() - started:.0f} s", highlight=False)
    for broken in collector.broken:
        console.print(f"cannot be read: {broken}", markup=False, highlight=False)
    complete = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not collector.broken
    return 0 if complete and holds(tallies) else 1


if __name__ == "__main__":
    sys.exit(main())
