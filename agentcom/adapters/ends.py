"""What it means that a program that prints events ended without its terminal one."""

from __future__ import annotations

import re

from agentcom.adapters.base import Over
from agentcom.adapters.trouble import failure

USAGE_CODE = 2
"""The exit code of many programs that refuse their arguments."""

SIGNALS_FROM = 128
"""Exit codes over this are a shell's or a runtime's way to say that a signal ended something."""

_LINES = re.compile(r"\n| / ")


def ended_without_result(code: int, last_words: str) -> Over:
    """Exit code 0 is no success without a terminal event: the program may have been told to end."""
    if code == 0:
        return Over(ok=False, reason="bad_result", detail=_with("it ended with exit code 0 and no result", last_words))
    if code < 0 or code > SIGNALS_FROM:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Over(ok=False, reason="exit_code", detail=_with(how, last_words))
    over = failure(_plain(last_words), otherwise="misconfigured" if code == USAGE_CODE else "exit_code")
    return Over(over.ok, over.reason, _with(f"exit code {code}", last_words), over.resets_after_s, over.resets_at_s)


def _plain(last_words: str) -> str:
    """What is no event, nor a piece of one: an event may quote anything, such as a tool's output."""
    lines = (line.strip() for line in _LINES.split(last_words))
    return "\n".join(line for line in lines if not line.startswith("{") and not line.endswith("}"))


def _with(how: str, last_words: str) -> str:
    return f"{how}: {last_words}" if last_words else how
