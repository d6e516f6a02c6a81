"""Looks at the pool's keys while a run goes on, and gathers them in the end. It writes nothing."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import redis

from tests.chaos.evidence import KeyFound, Line, Look, Record
from tests.chaos.programs import AGENTS, ROOT
from tests.chaos.workload import PREFIX

EVERY_S = 0.25
PAGE = 5_000
MAX_LOOKS = 20_000

_LINES = msgspec.json.Decoder(list[Line])
_RECORD = msgspec.json.Decoder(Record)

# One script is one moment: what an agent's record says that it runs, and the assignments in its orders stream.
_LOOK = """
local found = {}
for at = 2, #KEYS do
  local tokens = {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[at], '-', '+', 'COUNT', 1000)) do
    local order = cjson.decode(entry[2][2])
    if order['type'] == 'assign' then tokens[#tokens + 1] = order['token'] end
  end
  found[#found + 1] = tokens
end
return {redis.call('HGETALL', KEYS[1]), found}
"""


class Observer:
    """Follows the journal, and samples what the agents hold."""

    def __init__(self, client: redis.Redis, now_ms: Callable[[], int]) -> None:
        self.looks: list[Look] = []
        self.seen: list[str] = []
        """Ids of the journal's entries as they were seen, oldest first."""
        self._redis = client
        self._now_ms = now_ms
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="observer")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Come to an end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self._read_journal()
                if len(self.looks) < MAX_LOOKS:
                    self.looks.append(self._look())
            except redis.RedisError:
                continue

    def _read_journal(self) -> None:
        last = self.seen[-1] if self.seen else "-"
        entries: Any = self._redis.xrange(f"{PREFIX}journal", f"({last}" if self.seen else last, "+", count=PAGE)
        self.seen += [entry.decode() for entry, _ in entries]

    def _look(self) -> Look:
        names = [f"{PREFIX}agents", *(f"{PREFIX}orders:{agent}" for agent in AGENTS)]
        pairs, orders = self._redis.eval(_LOOK, len(names), *names)
        records = {name.decode(): json.loads(body) for name, body in zip(pairs[::2], pairs[1::2], strict=True)}
        taken = {name: list(record.get("running", {})) for name, record in records.items() if name in AGENTS}
        ordered = {name: [token.decode() for token in found] for name, found in zip(AGENTS, orders, strict=True)}
        return Look(self._now_ms(), taken, ordered)

    # ------------------------------------------------------------- the end

    def open_ends(self) -> list[str]:
        """What has not come to its end; raises redis.RedisError while Redis is away."""
        look = self._look()
        open_tasks: Any = self._redis.zcard(f"{PREFIX}open")
        ends = [f"{open_tasks} tasks are open"] if open_tasks else []
        for stream in ("inbox", "reports", *(f"orders:{agent}" for agent in AGENTS)):
            length: Any = self._redis.xlen(f"{PREFIX}{stream}")
            if length:
                ends.append(f"{stream} has {length} entries")
        for agent in AGENTS:
            pending: Any = self._redis.xpending(f"{PREFIX}orders:{agent}", "sidecar")
            if pending["pending"]:
                ends.append(f"{agent} has {pending['pending']} orders pending")
        return ends + [f"{agent} has {len(tokens)} slots taken" for agent, tokens in look.taken.items() if tokens]

    def journal(self) -> tuple[list[Line], set[str]]:
        """All lines, and the ids of their entries."""
        lines: list[Line] = []
        ids: set[str] = set()
        start = "-"
        while True:
            entries: Any = self._redis.xrange(f"{PREFIX}journal", start, "+", count=PAGE)
            for entry, fields in entries:
                ids.add(entry.decode())
                lines += _LINES.decode(fields[b"l"])
            if len(entries) < PAGE:
                return lines, ids
            start = f"({entries[-1][0].decode()}"

    def records(self) -> dict[str, Record]:
        """All task records by id."""
        return {name.removeprefix("task:"): _RECORD.decode(self._body(name)) for name in self._names(f"{_GLOB}task:*")}

    def keys(self) -> list[KeyFound]:
        """Every key of the pool."""
        found = []
        for name in self._names(f"{_GLOB}*"):
            ttl_ms: Any = self._redis.pttl(f"{PREFIX}{name}")
            if ttl_ms != -2:
                found.append(KeyFound(name, ttl_ms))
        return sorted(found, key=lambda key: key.name)

    def _names(self, pattern: str) -> list[str]:
        return [key.decode().removeprefix(PREFIX) for key in self._redis.scan_iter(pattern, count=1000)]

    def _body(self, name: str) -> bytes:
        body: Any = self._redis.get(f"{PREFIX}{name}")
        return bytes(body)


_GLOB = PREFIX.replace("{", "[{]").replace("}", "[}]")


def known_keys() -> list[str]:
    """Patterns of the keys that have a row, and so an owner and a bound, in the table of docs/architecture.md."""
    table = Path(ROOT, "docs/architecture.md").read_text(encoding="utf-8")
    names = re.findall(r"^\| (`[a-z]+(?::[A-Z]+)?`(?:, `[a-z]+(?::[A-Z]+)?`)*) \|", table, re.MULTILINE)
    return [re.sub(r"[A-Z]+$", "*", name) for row in names for name in re.findall(r"`([^`]+)`", row)]
