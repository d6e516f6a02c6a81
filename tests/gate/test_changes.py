"""What changed is read out of git, with a real repository: nothing that changes is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcom.forge.git import Git
from agentcom.gate.changes import DIFF, changes_of
from agentcom.gate.facts import NO_FILE, Change
from tests.forge.repositories import ENVIRON, Workshop, git


@pytest.mark.process
async def test_every_kind_of_change_is_seen(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.branch("before")
    shop.commit(
        {"gone.md": "x\n", "renamed.md": "a\nb\nc\n" * 20, "tool": "#!/bin/sh\n", "link.md": "x\n", "a b.md": "1\n2\n"}
    )
    shop.branch("after", "before")
    (shop.work / "tool").chmod(0o755)
    (shop.work / "link.md").unlink()
    (shop.work / "link.md").symlink_to("/etc/passwd")
    (shop.work / "renamed.md").rename(shop.work / "moved.md")
    sub = git(shop.work, "rev-parse", "before")
    git(shop.work, "update-index", "--add", "--cacheinfo", f"160000,{sub},vendored")
    odd = 'über\tein\n"paar" Zeilen.md'
    shop.commit({"gone.md": None, "new.md": "1\n2\n3\n", "a b.md": "1\n3\n", "image.md": b"\x00\x01", odd: "x\n"})
    git(shop.work, "update-index", "--add", "--cacheinfo", f"160000,{sub},vendored")
    git(shop.work, "commit", "--quiet", "--message", "vendored")
    shop.push("before", "after")

    local = Git(shop.path, ENVIRON)
    printed = await local.checked(*DIFF, shop.sha("before"), shop.sha("after"))
    assert {change.path: change for change in changes_of(printed.out)} == {
        "a b.md": Change("a b.md", inserted=1, deleted=1),
        "gone.md": Change("gone.md", mode_after=NO_FILE, deleted=1),
        "image.md": Change("image.md", mode_before=NO_FILE, binary=True),
        "link.md": Change("link.md", mode_after="120000", inserted=1, deleted=1),
        "moved.md": Change("moved.md", mode_before=NO_FILE, inserted=60),
        "new.md": Change("new.md", mode_before=NO_FILE, inserted=3),
        "renamed.md": Change("renamed.md", mode_after=NO_FILE, deleted=60),
        "tool": Change("tool", mode_after="100755"),
        "vendored": Change("vendored", mode_before=NO_FILE, mode_after="160000", inserted=1),
        odd: Change(odd, mode_before=NO_FILE, inserted=1),
    }


@pytest.mark.process
async def test_attributes_of_the_branch_hide_nothing(tmp_path: Path) -> None:
    """A branch may say in .gitattributes that a file is binary, or not to be compared."""
    shop = Workshop(tmp_path)
    shop.branch("sly")
    shop.commit(
        {".gitattributes": "*.py -diff binary\n*.md -text -diff\n", "src/cart.py": "import os\n", "x.md": "1\n"}
    )
    shop.push("sly")
    printed = await Git(shop.path, ENVIRON).checked(*DIFF, shop.sha("main"), shop.sha("sly"))
    seen = {change.path: (change.inserted, change.deleted, change.binary) for change in changes_of(printed.out)}
    assert seen == {".gitattributes": (2, 0, False), "src/cart.py": (1, 2, False), "x.md": (1, 0, False)}


def test_a_path_that_is_no_text_stays_a_path_of_its_own() -> None:
    (change,) = changes_of(b":000000 100644 0 1 A\0docs/\xff.md\0" + b"1\t0\tdocs/\xff.md\0")
    assert change.path == "docs/\udcff.md"


def test_nothing_changed() -> None:
    assert changes_of(b"") == ()


@pytest.mark.parametrize("printed", [b":000000 100644 0 1 A\0a\0", b"1\t0\ta\0", b"x\0", b":x\0a\0"])
def test_what_git_would_not_print_is_not_guessed_at(printed: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        changes_of(printed)
