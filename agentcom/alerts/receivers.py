"""Who is told, and how each of them is reached: by a program that gets the message on stdin and tells by its exit code.

For a URL that program is this Python with Apprise, in a process of its own: a receiver that answers slowly, or a
library that waits where it should not, is ended like any other program when its time is up, and Apprise costs a
scheduler no memory.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agentcom.alerts.message import Alert
from agentcom.settings import AlertSettings
from agentcom.settings.rendering import scheme_only

APPRISE = (sys.executable, "-P", str(Path(__file__).with_name("apprise_program.py")))
"""As a file, so that it begins quickly: it needs nothing else of AgentCom. -P: nor what lies beside it."""

COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Receiver:
    """One that is told.

    Args:
        id: the same in every process that has the same receiver; nothing of its URL can be read from it.
        shown: how it is called for people; without its secrets.
        argv: of the program that tells it.
        url: where Apprise is to send to; empty if the program is the receiver itself.
    """

    id: str
    shown: str
    argv: tuple[str, ...]
    url: str = ""

    def body(self, alert: Alert, timeout_s: float) -> bytes:
        """What the program gets on stdin."""
        if not self.url:
            return msgspec.json.encode(alert)
        told: dict[str, Any] = {"url": self.url, "timeout_s": timeout_s, "kind": alert.kind}
        told |= {"severity": alert.severity, "title": alert.title, "text": alert.text}
        return msgspec.json.encode(told)


def receivers_of(settings: AlertSettings) -> list[Receiver]:
    """All that are to be told, in the order of the settings; each once."""
    receivers = {}
    for number, url in enumerate(settings.urls, 1):
        digest = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        receivers[digest] = Receiver(digest, f"receiver {number} ({scheme_only(url)})", APPRISE, url)
    if settings.command:
        receivers[COMMAND] = Receiver(COMMAND, f"command {settings.command[0]}", settings.command)
    return list(receivers.values())


def question(urls: Sequence[str]) -> bytes:
    """What asks the program that speaks Apprise which of these URLs it does not understand."""
    return msgspec.json.encode({"understands": urls})
