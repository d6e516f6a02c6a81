"""Bytes of a terminal to keys: escape sequences, UTF-8 and bracketed paste, whatever pieces they come in. Pure."""

from __future__ import annotations

import codecs
import re

from msgspec import Struct

from agentcom.wording import clean

PASTE_MAX = 65_536
"""Characters; what is pasted beyond is dropped."""

SEQUENCE_MAX = 64
"""Bytes of an escape sequence; a longer one is no key."""

CONTROLS = {0x08: "backspace", 0x09: "tab", 0x0A: "enter", 0x0D: "enter", 0x7F: "backspace"}
FINAL = {"A": "up", "B": "down", "C": "right", "D": "left", "F": "end", "H": "home", "Z": "backtab"}
TILDE = {"1": "home", "3": "delete", "4": "end", "5": "pgup", "6": "pgdn", "7": "home", "8": "end"}
PASTE_BEGINS, PASTE_ENDS = b"\x1b[200~", b"\x1b[201~"
SEQUENCE = re.compile(rb"\x1b(?:\[([0-9;:<=>?]*)([ -/]*)([@-~])|O([@-~]))")
UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;:<=>?]*[ -/]*|O)?")


class Key(Struct, frozen=True):
    """A key that was pressed.

    Attributes:
        name: the character that it writes, or `up`, `enter`, `esc`, `ctrl-l`, `paste`, …
        text: what it writes; empty for a key that writes nothing.
    """

    name: str
    text: str = ""


class Decoder:
    """Keeps what is no whole key yet."""

    def __init__(self) -> None:
        self._rest = b""
        self._pasting = False
        self._pasted = bytearray()
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def pending(self) -> bool:
        """Whether a lone escape, or the beginning of a sequence, waits for what follows it."""
        return bool(self._rest) and not self._pasting

    def feed(self, piece: bytes) -> list[Key]:
        """The keys that are whole now."""
        self._rest += piece
        keys: list[Key] = []
        while self._rest:
            before = len(self._rest), self._pasting
            keys += self._paste() if self._pasting else self._next()
            if (len(self._rest), self._pasting) == before:
                break
        return keys

    def flush(self) -> list[Key]:
        """Nothing followed: the escape was the key of that name, and what came after it were keys, too."""
        if not self.pending:
            return []
        rest, self._rest = self._rest[1:], b""
        return [Key("esc"), *self.feed(rest)]

    def _next(self) -> list[Key]:
        first = self._rest[0]
        if first != 0x1B:
            self._rest = self._rest[1:]
            return self._plain(first)
        if self._rest.startswith(PASTE_BEGINS):
            self._rest, self._pasting = self._rest[len(PASTE_BEGINS) :], True
            return []
        found = SEQUENCE.match(self._rest)
        if found is not None:
            self._rest = self._rest[found.end() :]
            name = _named(found)
            return [Key(name)] if name else []
        if UNFINISHED.fullmatch(self._rest) and len(self._rest) < SEQUENCE_MAX:
            return []
        # An escape, and then a key of its own.
        self._rest = self._rest[1:]
        return [Key("esc")]

    def _plain(self, byte: int) -> list[Key]:
        if byte in CONTROLS:
            return [Key(CONTROLS[byte])]
        if byte < 0x20:
            return [Key(f"ctrl-{chr(byte + 0x60)}")]
        characters = clean(self._characters.decode(bytes([byte])))
        return [Key(character, character) for character in characters]

    def _paste(self) -> list[Key]:
        body, end, rest = self._rest.partition(PASTE_ENDS)
        if end:
            self._pasted += body
            self._rest, self._pasting = rest, False
            text = self._pasted.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")[:PASTE_MAX]
            self._pasted.clear()
            return [Key("paste", clean(text, keep_lines=True))]
        # The end may be torn in two.
        kept = len(PASTE_ENDS) - 1
        self._pasted += self._rest[:-kept]
        self._rest = self._rest[-kept:]
        del self._pasted[PASTE_MAX * 4 :]
        return []


def _named(found: re.Match[bytes]) -> str:
    """The key of a sequence; empty for one that nothing is bound to, whose modifiers are ignored."""
    if found[4] is not None:
        return FINAL.get(found[4].decode(), "enter" if found[4] == b"M" else "")
    number, final = found[1].decode().partition(";")[0], found[3].decode()
    return TILDE.get(number, "") if final == "~" else FINAL.get(final, "")
