"""Bytes to keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.monitor.live.decoder import PASTE_MAX, Decoder, Key

PRESSED = [
    (b"q", ["q"]),
    (b"Q", ["Q"]),
    (b"\xc3\xa9", ["é"]),
    ("漢".encode(), ["漢"]),
    (b" ", [" "]),
    (b"\r", ["enter"]),
    (b"\n", ["enter"]),
    (b"\t", ["tab"]),
    (b"\x7f", ["backspace"]),
    (b"\x08", ["backspace"]),
    (b"\x0c", ["ctrl-l"]),
    (b"\x15", ["ctrl-u"]),
    (b"\x1b[A", ["up"]),
    (b"\x1bOB", ["down"]),
    (b"\x1b[C\x1b[D", ["right", "left"]),
    (b"\x1b[1;5A", ["up"]),
    (b"\x1b[Z", ["backtab"]),
    (b"\x1b[H\x1b[F\x1bOH\x1b[1~\x1b[4~\x1b[7~\x1b[8~", ["home", "end", "home", "home", "end", "home", "end"]),
    (b"\x1b[5~\x1b[6~\x1b[3~", ["pgup", "pgdn", "delete"]),
    (b"\x1bOM", ["enter"]),
    (b"\x1b[15~", []),
    (b"\x1b[<0;10;10M", []),
    (b"\x1bx", ["esc", "x"]),
    (b"\x1b\x1b[A", ["esc", "up"]),
    (b"\xff", ["�"]),
    (b"ab", ["a", "b"]),
]


@pytest.mark.parametrize(("piece", "names"), PRESSED, ids=[repr(piece) for piece, _ in PRESSED])
def test_bytes_are_keys_whatever_pieces_they_come_in(piece: bytes, names: list[str]) -> None:
    assert [key.name for key in Decoder().feed(piece)] == names
    torn = Decoder()
    assert [key.name for byte in piece for key in torn.feed(bytes([byte]))] == names


def test_a_lone_escape_is_a_key_only_when_nothing_follows() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.pending
    assert decoder.flush() == [Key("esc")]
    assert not decoder.pending
    assert decoder.feed(b"\x1b[") == []
    assert [key.name for key in decoder.flush()] == ["esc", "["]
    assert decoder.flush() == []


def test_what_is_pasted_is_one_key_and_never_a_command() -> None:
    decoder = Decoder()
    keys = decoder.feed(b"\x1b[200~rm -rf\r\nq\x1b[A\x07C\x1b[20") + decoder.feed(b"1~y")
    assert [(key.name, key.text) for key in keys] == [("paste", "rm -rf\nqC"), ("y", "y")]


def test_a_paste_without_end_is_bounded() -> None:
    decoder = Decoder()
    decoder.feed(b"\x1b[200~")
    for _ in range(20):
        assert decoder.feed(b"x" * 100_000) == []
    assert not decoder.pending
    (key,) = decoder.feed(b"\x1b[201~")
    assert len(key.text) == PASTE_MAX


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20))
def test_whatever_comes_is_decoded_and_never_moves_a_cursor(typed: bytes, cuts: list[int]) -> None:
    decoder, rest, keys = Decoder(), typed, []
    for cut in cuts:
        keys += decoder.feed(rest[:cut])
        rest = rest[cut:]
    for key in [*keys, *decoder.feed(rest), *decoder.flush()]:
        assert key.name
        assert not any(ord(character) < 0x20 and character not in "\n\t" for character in key.text)
