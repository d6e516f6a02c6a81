"""`agentcom logs`: what an agent printed, live and from any machine."""

from __future__ import annotations

import sys

from agentcom.broker.connection import until_back
from agentcom.cli.screen import warn
from agentcom.client import Client
from agentcom.model.lifecycle import ENDED
from agentcom.monitor.readable import Readable

LISTEN_MS = 1_000


class Printer:
    """Writes pieces of output to stdout; of several attempts it says on stderr where each begins."""

    def __init__(self, attempt: int | None, *, raw: bool) -> None:
        self.wrote = False
        self._wanted = attempt
        self._raw = raw
        self._attempt: int | None = None
        self._readable = Readable()

    def print(self, attempt: int, body: bytes) -> None:
        """Write a piece, if it is of an attempt that is wanted."""
        if self._wanted is not None and attempt != self._wanted:
            return
        if attempt != self._attempt:
            self.pause()
            if self._attempt is not None:
                sys.stdout.flush()
                warn(f"--- attempt {attempt}")
            self._attempt = attempt
        self.wrote = True
        if self._raw:
            sys.stdout.buffer.write(body)
        else:
            sys.stdout.write(self._readable.feed(body))

    def pause(self) -> None:
        """Nothing follows for now: also write what is no whole line yet."""
        sys.stdout.write(self._readable.flush())
        sys.stdout.flush()


async def tail(client: Client, task: str, printer: Printer, *, follow: bool) -> None:
    """Print what is kept of a task's output; following it, until the task ended and nothing more came for a second."""
    since, ended = "0-0", not follow
    while True:
        block_ms = LISTEN_MS if follow else 0
        pieces = await until_back(lambda: client.store.output(task, since, block_ms), lambda _: None)  # noqa: B023
        for piece in pieces:
            printer.print(piece.attempt, piece.body)
            since = piece.entry
        if pieces:
            sys.stdout.flush()
            continue
        printer.pause()
        if ended:
            return
        record = await until_back(lambda: client.record(task), lambda _: None)
        ended = record is None or record.state in ENDED
