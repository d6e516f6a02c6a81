"""What a terminal gets: no line wider than it is, colours unless NO_COLOR forbids them, and a status while waiting."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from tests.cli.harness import Terminal
from tests.cli.pool_at_work import POOL

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[3[0-7]")
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(url: str, columns: int, *arguments: str, **environ: str) -> tuple[int, str]:
    """Exit code and all that a command writes to a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "agentcom", *arguments],
        env=inherited | {"AGENTCOM_REDIS": url, "AGENTCOM_POOL": POOL, "TERM": "xterm-256color"} | environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = bytearray()
    with suppress(OSError):  # EIO: which is how Linux says that the other side is closed
        while piece := os.read(ours, 65_536):
            written += piece
    os.close(ours)
    return process.wait(20), written.decode()


@pytest.mark.process
@pytest.mark.parametrize("columns", [110, 60])
def test_lists_fit_the_terminal_and_are_coloured(agentcom: Terminal, pool: str, columns: int) -> None:
    title = "A title that is much longer than any terminal would be so that something has to be cut off of it " * 2
    task = agentcom("submit", "sleep", "--title", title[:190], "--json").document["tasks"][0]["short"]
    for command in (("tasks",), ("monitor", "--once"), ("agents",)):
        code, written = in_terminal(pool, columns, *command)
        assert code == 0
        plain = SEQUENCE.sub("", written)
        assert task in plain or command == ("agents",)
        assert max(map(len, plain.splitlines())) <= columns
    assert COLOUR.search(in_terminal(pool, columns, "tasks")[1])
    assert not COLOUR.search(in_terminal(pool, columns, "tasks", NO_COLOR="1")[1])
    assert agentcom("cancel", task).code == 0


@pytest.mark.process
def test_while_it_waits_a_terminal_shows_a_status_and_then_only_the_end(pool: str) -> None:
    code, written = in_terminal(pool, 80, "submit", "print this", "--wait", NO_COLOR="1")
    assert code == 0
    assert re.search(r"tk-[0-9a-f]+  completed by \w+ in [^:]+: did print this\r\n", SEQUENCE.sub("", written))
    assert written.endswith("did print this\r\n")
