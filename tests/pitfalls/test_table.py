"""The table itself: it says what the tests said, and cannot claim what nothing shows."""

from __future__ import annotations

import io
import re
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from tests.pitfalls.table import MISTAKES, Tally, holds, table, tallied

TESTS = Path(__file__).parents[1]
MARKER = re.compile(r"\bmark\.(pitfall_\d+)\b")


def marked() -> set[str]:
    """The markers that tests carry."""
    return {marker for path in TESTS.rglob("test_*.py") for marker in MARKER.findall(path.read_text(encoding="utf-8"))}


def all_pass() -> dict[int, Tally]:
    return {mistake.number: Tally(passed=1) for mistake in MISTAKES}


def text(tallies: dict[int, Tally], width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table(tallies))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.marker)
def test_every_mistake_has_tests_that_carry_its_marker(mistake) -> None:
    assert mistake.marker in marked()


def test_the_ten_are_those_of_the_markers() -> None:
    settings = tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    markers = settings["tool"]["pytest"]["ini_options"]["markers"]
    named = [tuple(marker.split(": ", 1)) for marker in markers if marker.startswith("pitfall_")]
    assert named == [(mistake.marker, mistake.name) for mistake in MISTAKES]
    assert [mistake.number for mistake in MISTAKES] == list(range(1, 11))


def test_a_test_counts_for_every_mistake_that_it_is_about() -> None:
    both = frozenset({"pitfall_1", "pitfall_4"})
    tallies = tallied([(both, "passed"), (frozenset({"pitfall_4"}), "failed"), (both, "skipped")])
    assert (tallies[1], tallies[4]) == (Tally(1, 0, 1), Tally(1, 1, 1))
    assert tallies[7] == Tally()


@pytest.mark.parametrize(
    ("tally", "verdict"),
    [
        (Tally(passed=3), "PASS"),
        (Tally(passed=3, skipped=2), "PASS"),
        (Tally(passed=3, failed=1), "FAIL"),
        (Tally(failed=1), "FAIL"),
        (Tally(skipped=2), "NONE"),
        (Tally(), "NONE"),
    ],
)
def test_the_verdict(tally: Tally, verdict: str) -> None:
    assert tally.verdict == verdict
    assert holds(all_pass() | {1: tally}) == (verdict == "PASS")
    assert verdict in text(all_pass() | {1: tally})


@pytest.mark.parametrize("width", [80, 120])
def test_all_ten_are_shown_whole_with_their_numbers(width: int) -> None:
    shown = text(all_pass() | {3: Tally(passed=141, failed=2, skipped=7)}, width)
    for part in ("141 passed", "2 failed", "7 skipped", "FAIL", "PASS"):
        assert part in shown
    words = re.sub(r"\s+", " ", shown)
    assert all(mistake.name.split()[0] in words for mistake in MISTAKES)
    assert "…" not in shown
