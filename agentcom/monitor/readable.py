"""What agents printed, made safe to print again. Pure."""

from __future__ import annotations

import codecs

from agentcom.wording import clean

LINE_MAX = 65_536


class Readable:
    """Bytes in pieces to text that is safe to print: neither characters nor escape sequences are torn in two.

    Whatever ends a line, a carriage return included, ends it here: a progress bar becomes one line for each step.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._ended = False
        """A carriage return was taken for the end of a line: a newline that follows it is the other half of it."""

    def feed(self, body: bytes) -> str:
        """The whole lines that there are now; the rest is kept back."""
        fresh = self._decoder.decode(body)
        if fresh and self._ended:
            fresh, self._ended = fresh.removeprefix("\n"), False
        text = self._rest + fresh
        # A carriage return at the very end may be the first half of a line end.
        held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        whole, newline, self._rest = text.rpartition("\n")
        if len(self._rest) > LINE_MAX:
            whole, newline, self._rest = text, "", ""
        self._rest += held
        return clean(whole + newline, keep_lines=True)

    def flush(self) -> str:
        """What was kept back: nothing more came, so a carriage return at its end has ended a line."""
        rest, self._rest = self._rest, ""
        if rest.endswith("\r"):
            rest, self._ended = rest[:-1] + "\n", True
        return clean(rest, keep_lines=True)
