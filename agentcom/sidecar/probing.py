"""Runs a program to see whether something works. However it behaves, it is ended with all that it started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from agentcom.ending import MARK, end_orphan, end_tree

POLL_S = 0.02
READ_BYTES = 65_536
LAST_WORDS_BYTES = 400


async def probe(argv: Sequence[str], environ: Mapping[str, str], cwd: Path, mark: str) -> str:
    """Run it to its end; empty if that is exit code 0, else in one line how it ended, and the last that it printed.

    Args:
        argv: the program and its arguments.
        environ: all of its environment but the mark.
        cwd: where it runs.
        mark: by which its processes are found; no two may run with the same at once.
    """
    ended = await _run(argv, environ, cwd, mark)
    if isinstance(ended, str):
        return ended
    code, said = ended
    if code == 0:
        return ""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"{how}: {_in_one_line(said)}"


async def asked(argv: Sequence[str], environ: Mapping[str, str], cwd: Path, mark: str) -> str:
    """The last line that it prints, of a program that ends with exit code 0; else empty. Arguments as of `probe`."""
    ended = await _run(argv, environ, cwd, mark)
    lines = [] if isinstance(ended, str) or ended[0] else ended[1].decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


async def _run(argv: Sequence[str], environ: Mapping[str, str], cwd: Path, mark: str) -> tuple[int, bytes] | str:
    """Its exit code and the last that it printed; or why it cannot be started."""
    await end_orphan(None, mark, 0)  # a sidecar that was killed may have left one hanging
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - it takes about a millisecond
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**environ, MARK: mark},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"cannot be started: {error}"
    assert process.stdout is not None
    try:
        with process.stdout as output:
            os.set_blocking(output.fileno(), False)
            said = b""
            while (code := process.poll()) is None:
                said = _read(output.fileno(), said)
                await anyio.sleep(POLL_S)
            said = _read(output.fileno(), said)
    finally:
        with anyio.CancelScope(shield=True):
            await end_tree(process, mark, 0)
    return code, said


def _read(output: int, said: bytes) -> bytes:
    """What was printed by now, after what had been; of too much, the end."""
    try:
        printed = os.read(output, READ_BYTES)
    except BlockingIOError:
        return said
    return (said + printed)[-LAST_WORDS_BYTES:]


def _in_one_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return " / ".join(line.strip() for line in lines if line.strip()) or "it printed nothing"
