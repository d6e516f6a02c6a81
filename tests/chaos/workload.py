"""Who gives the pool work, and trouble of the kind that people and strangers give: a thread of its own.

What Redis did not acknowledge is sent again, under the same ids, until it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import redis

from agentcom.ids import IdMaker
from tests.chaos.evidence import Forgery, Submission
from tests.chaos.judge import ENDED, FORGED
from tests.chaos.ledger import now_ms
from tests.chaos.programs import AGENTS, Pool

PREFIX = "ac:{default}:"
MAX_OPEN = 40
"""So much work lies ready at most; more would only lengthen the way to the end."""

KINDS: dict[str, tuple[int, tuple[float, float]]] = {
    "quick": (40, (0.02, 0.3)),
    "slow": (16, (1.0, 4.0)),
    "mute": (8, (0.2, 4.0)),
    "daemon": (6, (0.1, 1.0)),
    "stubborn": (6, (0.2, 2.0)),
    "flaky": (14, (0.1, 1.0)),
    "failing": (5, (0.05, 0.5)),
    "later": (5, (0.05, 0.5)),
}
"""What agents are told to do: how often, relative to the others, and how long it takes at least and at most."""


class Workload:
    """Submits, cancels, sends back, submits again, and forges reports, until told to stop."""

    def __init__(self, pool: Pool, client: redis.Redis, seed: int, *, lossy: bool, people_url: str) -> None:
        self.submissions: list[Submission] = []
        self.forgeries: list[Forgery] = []
        self.counts: Counter[str] = Counter()
        self._pool = pool
        self._redis = client
        self._random = Random(seed)
        self._lossy = lossy
        self._people_url = people_url
        self._ids = IdMaker(now_ms, os.urandom)
        self._specs: dict[str, dict[str, Any]] = {}
        self._unsent: list[list[dict[str, Any]]] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name="workload"),
            threading.Thread(target=self._type_commands, name="people"),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Bring nothing new; what is not acknowledged yet is still sent by `send_rest`."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def send_rest(self) -> bool:
        """Try to have everything acknowledged; whether it is."""
        while self._unsent:
            sent_at = now_ms()
            entry = self._try(lambda: self._add("inbox", {"type": "submit", "tasks": self._unsent[0]}))
            if entry is None:
                return False
            at = now_ms()
            self.submissions += [Submission(spec["id"], sent_at, at) for spec in self._unsent.pop(0)]
        return True

    # ----------------------------------------------------------------- loop

    def _work(self) -> None:
        deeds: dict[Callable[[], None], int] = {
            self._submit: 60, self._cancel: 5, self._retry: 8, self._submit_again: 5, self._forge: 10,
        }  # fmt: skip
        while not self._stopping.wait(self._random.uniform(0.02, 0.3)):
            deed = self._random.choices(list(deeds), list(deeds.values()))[0]
            self._try(deed)
            self.send_rest()

    def _try(self, deed: Callable[[], Any]) -> Any:
        """The answer, or None while Redis is away."""
        try:
            return deed()
        except redis.RedisError as error:
            self.counts[f"refused by Redis: {type(error).__name__}"] += 1
            return None

    def _add(self, stream: str, body: dict[str, Any]) -> str:
        entry: Any = self._redis.xadd(f"{PREFIX}{stream}", {"m": json.dumps(body)})
        return str(entry.decode())

    # ---------------------------------------------------------------- deeds

    def _submit(self) -> None:
        if self._unsent or int(self._redis.zcard(f"{PREFIX}open")) >= MAX_OPEN:
            return
        specs = [self._spec() for _ in range(self._random.randint(1, 5))]
        self._unsent.append(specs)
        self.counts["submitted"] += len(specs)

    def _spec(self) -> dict[str, Any]:
        random = self._random
        kind = random.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
        spec: dict[str, Any] = {"id": self._ids.make(), "text": f"{kind} {random.uniform(*KINDS[kind][1]):.2f}"}
        if random.random() < 0.1 and self._specs:
            spec["after"] = [random.choice(list(self._specs)[-30:])]
        if random.random() < 0.1:
            spec["priority"] = random.choice(["urgent", "low"])
        if random.random() < 0.04:
            spec["timeout_s"] = 0.5
        if random.random() < 0.04:
            spec["expires_s"] = random.choice([2, 20])
        if random.random() < 0.04:
            spec["agent"] = random.choice(AGENTS)
        self._specs[spec["id"]] = spec
        return spec

    def _some(self, among: int) -> str:
        """One of the latest tasks."""
        return self._random.choice(list(self._specs)[-among:]) if self._specs else self._ids.make()

    def _cancel(self) -> None:
        self._add("inbox", {"type": "cancel", "task": self._some(15), "why": "chaos"})
        self.counts["cancel"] += 1

    def _retry(self) -> None:
        for _ in range(4):
            self._add("inbox", {"type": "retry", "task": self._some(200)})
            self.counts["retry"] += 1

    def _submit_again(self) -> None:
        known = [one.task for one in self.submissions[-50:] if one.task in self._specs]
        if known and not self._lossy:
            again = self._random.sample(known, min(3, len(known)))
            self._add("inbox", {"type": "submit", "tasks": [self._specs[task] for task in again]})
            self.counts["submitted again"] += len(again)

    def _forge(self) -> None:
        """Report an end with a token that is not current: of an older attempt, of a completed task, or invented."""
        task = self._some(40)
        body: Any = self._redis.get(f"{PREFIX}task:{task}")
        record: dict[str, Any] = json.loads(body) if body else {}
        attempts = record.get("attempts", [])
        token, agent, incarnation = f"{max(1, record.get('generation', 1))}.0123456789abcdef", AGENTS[0], "sc-0"
        # Where writes get lost, an attempt that has ended may become the current one again.
        stale = [] if self._lossy else attempts if record.get("state") == "completed" else attempts[:-1]
        # What its agent may still be at is over when that says so, which is no forgery: its slot is then free.
        stale = [attempt for attempt in stale if attempt["token"] not in self._running(attempt["agent"])]
        if stale:
            token, agent, incarnation = (stale[-1][name] for name in ("token", "agent", "incarnation"))
        result = "failed" if record.get("state") in ENDED else "completed"
        outcome = {"result": result, "reason": "" if result == "completed" else "exit_code", "summary": FORGED}
        report = {"type": "finished", "agent": agent, "incarnation": incarnation, "task": task, "token": token}
        entry = self._add("reports", {**report, "outcome": outcome})
        self.forgeries.append(Forgery(task, token, entry, now_ms()))
        self.counts["forged reports"] += 1

    def _running(self, agent: str) -> dict[str, str]:
        body: Any = self._redis.hget(f"{PREFIX}agents", agent)
        found: dict[str, str] = json.loads(body).get("running", {}) if body else {}
        return found

    # --------------------------------------------------------------- people

    def _type_commands(self) -> None:
        """The command line, too, is used meanwhile. What it says it has submitted has been acknowledged."""
        while not self._stopping.wait(8.0):
            self.counts["commands typed"] += 1
            sent_at = now_ms()
            try:
                told = self._pool.command("submit", "--json", "quick 0.1", url=self._people_url)
            except subprocess.TimeoutExpired:
                self._pool.exits.append("agentcom submit did not come to an end")
                continue
            if told.returncode == 0:
                at = now_ms()
                self.submissions += [Submission(task["id"], sent_at, at) for task in json.loads(told.stdout)["tasks"]]
            else:
                self.counts[f"commands that failed with {told.returncode}"] += 1
            if "Traceback" in told.stderr:
                said = " / ".join(told.stderr.strip().splitlines())[-3_000:]
                self._pool.exits.append(f"agentcom submit said a traceback: {said}")
