"""Docs hold no promise that the code does not keep."""

import re
from pathlib import Path
from xml.etree import ElementTree

from agentcom.broker.keys import Keys
from docs.generate import with_diagram, with_findings, with_keys, with_monitor_keys

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_the_lifecycle_diagram_is_the_one_of_the_table() -> None:
    assert with_diagram(ARCHITECTURE) == ARCHITECTURE, "run `make docs`"


def test_the_table_of_keys_is_the_one_that_the_code_goes_by() -> None:
    assert with_keys(ARCHITECTURE) == ARCHITECTURE, "run `make docs`"


def test_every_key_has_a_row_with_its_owner_and_bound() -> None:
    names = Keys("p")
    for key in (names.inbox, names.reports, names.open, names.agents, names.keys, names.journal, names.dead):
        assert f"| `{key.rpartition(':')[2]}` |" in ARCHITECTURE
    for kind, argument in (
        ("task", "ID"),
        ("orders", "NAME"),
        ("beat", "NAME"),
        ("output", "ID"),
        ("refused", "ENTRY"),
    ):
        assert f"| `{kind}:{argument}` |" in ARCHITECTURE


def test_the_table_of_findings_is_the_one_of_the_rules() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert with_findings(page) == page, "run `make docs`"


def test_the_table_of_the_monitors_keys_is_the_one_that_it_goes_by() -> None:
    page = (ROOT / "docs/monitor.md").read_text(encoding="utf-8")
    assert with_monitor_keys(page) == page, "run `make docs`"


def test_the_picture_of_the_monitor_is_whole_and_asks_nobody_for_anything() -> None:
    picture = (ROOT / "docs/monitor.svg").read_text(encoding="utf-8")
    words = "".join(ElementTree.fromstring(picture).itertext())
    assert "agentcom\xa0monitor" in words or "agentcom monitor" in words
    assert "redis\xa0ok" in words
    assert not re.search(r"url\(['\"]?http|href=", picture)


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
