"""Receivers of alerts that a test can do without: an HTTP server that is slow, refuses and comes back, and a hook."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import anyio

from agentcom.diagnosis.finding import Finding
from tests.patience import PATIENCE_S

Mode = Literal["ok", "refuses", "hangs"]

HOOK = """
import json, sys
alert = json.load(sys.stdin)
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(alert) + "\\n")
"""


class Inbox:
    """An HTTP server on loopback for Apprise's json:// URLs. What it answered with 200 is in `got`.

    While it `hangs`, it takes a message and answers nothing; while it is not `up`, it refuses connections.
    """

    def __init__(self) -> None:
        self.mode: Mode = "ok"
        self.got: list[dict[str, Any]] = []
        self.asked = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._released = threading.Event()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/secret-path"

    def up(self) -> None:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.asked += 1
                mode = inbox.mode
                if mode == "hangs":
                    inbox._released.wait(60)
                    return
                if mode == "ok":
                    inbox.got.append(json.loads(body))
                self.send_response(200 if mode == "ok" else 500)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def down(self) -> None:
        self._released.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = None
        self._released = threading.Event()

    def titles(self) -> list[str]:
        return [message["title"] for message in self.got]

    def count(self, words: str) -> int:
        """How many of its messages have these words in the title."""
        return sum(words in title for title in self.titles())


@contextmanager
def inbox() -> Iterator[Inbox]:
    """An HTTP receiver that is up."""
    made = Inbox()
    made.up()
    try:
        yield made
    finally:
        made.down()


def hook(file: Path) -> tuple[str, ...]:
    """A command that appends each alert that it gets to a file."""
    return (sys.executable, "-c", HOOK, str(file))


def hooked(file: Path) -> list[dict[str, Any]]:
    """What the command got."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def kinds(file: Path) -> Counter[tuple[str, str]]:
    """How many of each kind of alert about each rule the command got."""
    return Counter((alert["kind"], alert["rule"]) for alert in hooked(file))


def down(agent: str = "oak") -> Finding:
    """That an agent is down."""
    return Finding(
        rule="agent_down",
        severity="critical",
        subject=f"agent:{agent}",
        text=f"{agent} is silent",
        evidence=("its last beat was at noon",),
        next_step="look at it",
    )


async def until(holds: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    with anyio.fail_after(within_s):
        while not holds():
            await anyio.sleep(0.05)
