"""Runs a program that tells somebody: a message on stdin, a time limit, and the end of all that it started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO

import anyio
import msgspec

from agentcom.alerts.message import Alert
from agentcom.alerts.receivers import APPRISE, Receiver, question
from agentcom.ending import end_tree
from agentcom.errors import ConfigurationError
from agentcom.settings.rendering import mask_url
from agentcom.wording import age, one_line

POLL_S = 0.05
GRACE_S = 1.0
WORDS_BYTES = 2_000
WORDS_WIDTH = 300
READS_MAX = 64
"""Who prints faster waits until the next look at it."""

NO_MARK = "\0"
"""A mark that no process can have: its session is enough to find what a program started."""

CHECK_S = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code, negative for a signal, None if its time was up; and the end of its output."""

    code: int | None
    output: str


async def deliver(receiver: Receiver, alert: Alert, timeout_s: float) -> str:
    """Tell one receiver. Returns what went wrong, in one line; empty if it was told."""
    try:
        ended = await run_program(receiver.argv, receiver.body(alert, timeout_s), timeout_s)
    except (OSError, ValueError) as error:
        return f"{receiver.argv[0]} cannot be started: {error}"
    if ended.code == 0:
        return ""
    words = one_line(mask_url(ended.output.replace(receiver.url or "\0", "…")), WORDS_WIDTH)
    if ended.code is None:
        return f"no success within {age(timeout_s)}{f': {words}' if words else ''}"
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    return words if receiver.url and words else f"{how}{f': {words}' if words else ''}"


async def check_urls(urls: Sequence[str]) -> None:
    """Make sure that Apprise understands these URLs.

    Raises:
        ConfigurationError: it does not understand one of them, or cannot be used at all.
    """
    if not urls:
        return
    ended = await run_program(APPRISE, question(urls), CHECK_S)
    try:
        wrong = msgspec.json.decode(ended.output.strip().rpartition("\n")[2], type=list[int])
    except msgspec.MsgspecError:
        words = one_line(ended.output.strip().rpartition("\n")[2], WORDS_WIDTH) or "it does not answer"
        raise ConfigurationError(f"alerts.urls: Apprise cannot be used: {words}", "Install AgentCom again") from None
    if wrong:
        raise ConfigurationError(
            f"alerts.urls: expected Apprise URLs, but Apprise does not understand number {wrong[0] + 1}",
            "See https://github.com/caronc/apprise/wiki",
        )


async def run_program(argv: Sequence[str], body: bytes, timeout_s: float) -> Ended:
    """Run a program in a session of its own, to its end or the end of its time; nothing that it started is left over.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    process, stdin, output = _spawn(argv)
    rest = memoryview(body)
    words = bytearray()
    code: int | None = None
    try:
        with anyio.move_on_after(timeout_s):
            while (code := process.poll()) is None:
                rest = _fed(stdin, rest)
                _read(output, words)
                await anyio.sleep(POLL_S)
        _read(output, words)
    finally:
        stdin.close()
        os.close(output)
        with anyio.CancelScope(shield=True):
            await end_tree(process, NO_MARK, GRACE_S)
    return Ended(code, words.decode("utf-8", "replace"))


def _spawn(argv: Sequence[str]) -> tuple[subprocess.Popen[bytes], FileIO, int]:
    """Start a program; it, its stdin, and from where to read what it prints: neither of them ever blocks."""
    given, gives = os.pipe()
    output, prints = os.pipe()
    try:
        os.set_blocking(gives, False)
        os.set_blocking(output, False)
        process = subprocess.Popen(argv, stdin=given, stdout=prints, stderr=prints, start_new_session=True)
    except BaseException:
        os.close(gives)
        os.close(output)
        raise
    finally:
        os.close(given)
        os.close(prints)
    return process, FileIO(gives, "wb"), output


def _fed(stdin: FileIO, rest: memoryview) -> memoryview:
    """Give a program what it takes by now; what is left. Once all is given, or it takes no more, its stdin ends."""
    while rest:
        try:
            taken = stdin.write(rest)
        except BrokenPipeError:
            rest = rest[:0]
            break
        if taken is None:  # the pipe is full
            return rest
        rest = rest[taken:]
    stdin.close()
    return rest


def _read(output: int, words: bytearray) -> None:
    """What was printed by now; only the end of it is kept."""
    for _ in range(READS_MAX):
        try:
            printed = os.read(output, WORDS_BYTES)
        except BlockingIOError:
            return
        if not printed:
            return
        words += printed
        del words[:-WORDS_BYTES]
