"""The agent of the chaos runs: a real command with a side effect, an entry in a ledger at its begin and at its end.

It is run as a plain script in an interpreter without site-packages, so that it starts quickly. The task's text says
what it does: a kind and for how many seconds.
"""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

EXIT_RETRY_LATER = 75
DAEMON_S = 300


def main() -> int:
    kind, seconds = sys.stdin.read().split()
    task = os.environ["AGENTCOM_TASK_ID"]
    # An attempt's folder carries its task and its token in its name.
    token = Path(os.environ["AGENTCOM_TASK_FILE"]).parent.name.removeprefix(f"{task}.")
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    who = {"task": task, "token": token, "agent": os.environ["AGENTCOM_AGENT"], "pid": os.getpid()}
    write({"mark": "begin", **who, "at": now_ms(), "kind": kind})
    if kind != "mute":
        print(f"{kind} for {seconds} s", flush=True)
    if kind == "daemon":
        subprocess.Popen(["sleep", str(DAEMON_S)], start_new_session=True)
    time.sleep(float(seconds))
    code = exit_code(kind, token)
    write({"mark": "end", **who, "at": now_ms(), "code": code})
    return code


def exit_code(kind: str, token: str) -> int:
    """What this kind ends with; the flaky one's fate hangs on its attempt, so that another may go well."""
    if kind == "flaky":
        return zlib.crc32(token.encode()) % 2
    return {"failing": 1, "later": EXIT_RETRY_LATER}.get(kind, 0)


def write(entry: dict[str, object]) -> None:
    """One write to a file opened for appending: neither a crash nor another process can split the line."""
    ledger = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND)
    os.write(ledger, json.dumps(entry).encode() + b"\n")
    os.close(ledger)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
