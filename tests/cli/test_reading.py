"""What commands read: printed bytes, and where a backlog is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcom.cli.backlog_source import name_of, repository
from agentcom.monitor.readable import LINE_MAX, Readable


def read(*pieces: bytes) -> str:
    readable = Readable()
    return "".join(readable.feed(piece) for piece in pieces) + readable.flush()


def test_characters_that_are_torn_between_pieces_are_whole_again() -> None:
    assert read(b"gr", b"\xc3", b"\xb6\xc3\x9f", b"e\n") == "größe\n"


def test_escape_sequences_that_are_torn_between_pieces_are_taken_out_whole() -> None:
    assert read(b"a\x1b", b"[3", b"1mb\x1b[0m\n") == "ab\n"


def test_a_line_end_that_is_torn_is_one_line_end() -> None:
    assert read(b"a\r", b"\nb\r", b"c") == "a\nb\nc"


def test_a_progress_bar_becomes_a_line_for_each_step() -> None:
    assert read(b"10%\r20%\r", b"done\n") == "10%\n20%\ndone\n"


def test_a_progress_bar_becomes_a_line_for_each_step_also_when_it_pauses_between_them() -> None:
    readable = Readable()
    told = ""
    for piece in (b"10%\r", b"20%\r", b"\n", b"done\r", b"\nnext\n", b"\nlast\n"):
        told += readable.feed(piece) + readable.flush()
    assert told == "10%\n20%\ndone\nnext\n\nlast\n"


def test_what_is_no_text_is_shown_as_such() -> None:
    assert read(b"\xff\xfe\n") == "\ufffd\ufffd\n"


def test_an_endless_line_is_not_kept_back_for_ever() -> None:
    readable = Readable()
    assert len(readable.feed(b"x" * (LINE_MAX + 1))) == LINE_MAX + 1
    assert readable.flush() == ""


@pytest.mark.parametrize(
    "origin",
    [
        "https://github.com/acme/shop.git",
        "https://me:secret@github.com/acme/shop",
        "https://GitHub.com:443/acme/shop/",
        "git@github.com:acme/shop.git",
        "github.com:acme/shop",
        "ssh://git@github.com:22/acme/shop.git",
    ],
)
def test_a_repository_has_one_name_however_it_is_reached(origin: str) -> None:
    assert repository(origin, Path("/work")) == "github.com/acme/shop"


def test_an_origin_that_is_a_path_is_taken_from_the_work_tree() -> None:
    assert repository("../origin.git", Path("/work/clone")) == "/work/origin"
    assert repository("/srv/origin.git", Path("/work/clone")) == "/srv/origin"
    assert repository("file:///srv/origin.git", Path("/work/clone")) == "/srv/origin"


def test_a_file_outside_of_a_repository_is_called_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert name_of(tmp_path / "folder" / ".." / "BACKLOG.md") == str(tmp_path / "BACKLOG.md")
