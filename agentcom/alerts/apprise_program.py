"""Sends one message by Apprise, as a program of its own: it comes as JSON on stdin, and exit 0 says that it was sent.

What went wrong is printed. Asked instead which of several URLs Apprise understands, it prints where the first stands
that it does not.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from itertools import islice
from typing import Any

import apprise

MARKED = {"over": apprise.NotifyType.SUCCESS, "note": apprise.NotifyType.WARNING, "test": apprise.NotifyType.INFO}
PROBLEMS = {"critical": apprise.NotifyType.FAILURE}


def main() -> int:
    """Do what stdin asks for."""
    asked = json.loads(sys.stdin.buffer.read())
    if "understands" in asked:
        wrong = (place for place, url in enumerate(asked["understands"]) if _opened(url) is None)
        print(json.dumps(list(islice(wrong, 1))))  # noqa: T201 - the answer
        return 0
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    return 0 if _send(asked) else 1


def _opened(url: str) -> Any:
    return apprise.Apprise.instantiate(url, asset=apprise.AppriseAsset(app_id="AgentCom"))


def _send(asked: Mapping[str, Any]) -> bool:
    service = _opened(asked["url"])
    if service is None:
        logging.error("Apprise does not understand its URL")
        return False
    # What the URL says of its own time limits holds; the time of the whole is limited by who started this.
    if "rto=" not in asked["url"]:
        service.socket_read_timeout = asked["timeout_s"]
    if "cto=" not in asked["url"]:
        service.socket_connect_timeout = asked["timeout_s"]
    sender = apprise.Apprise()
    sender.add(service)
    kind = MARKED.get(asked["kind"]) or PROBLEMS.get(asked["severity"], apprise.NotifyType.WARNING)
    return bool(
        sender.notify(title=asked["title"], body=asked["text"], notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    )


if __name__ == "__main__":
    sys.exit(main())
