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

    def feed(self, body: bytes) -> str:
        """The whole lines that there are now; the rest is kept back."""
        text = self._rest + self._decoder.decode(body)
        # A carriage return at the very end may be the first half of a line end.
        held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        whole, newline, self._rest = text.rpartition("\n")
        if len(self._rest) > LINE_MAX:
            whole, newline, self._rest = text, "", ""
        self._rest += held
        return clean(whole + newline, keep_lines=True)

    def flush(self) -> str:
        """What was kept back."""
        rest, self._rest = self._rest, ""
        return clean(rest, keep_lines=True)
