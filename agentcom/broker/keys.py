"""The names of a pool's keys. All carry one hash tag, so that they live in one slot and a commit stays atomic."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct


class Keys:
    """Key names of one pool. The table in docs/architecture.md says what each holds, who owns it and its bound."""

    def __init__(self, pool: str) -> None:
        self._prefix = f"ac:{{{pool}}}:"
        self.inbox = f"{self._prefix}inbox"
        self.reports = f"{self._prefix}reports"
        self.open = f"{self._prefix}open"
        self.agents = f"{self._prefix}agents"
        self.keys = f"{self._prefix}keys"
        self.costs = f"{self._prefix}costs"
        self.journal = f"{self._prefix}journal"
        self.dead = f"{self._prefix}dead"
        self.head = f"{self._prefix}head"
        self.leader = f"{self._prefix}leader"
        self.alerts = f"{self._prefix}alerts"

    def task(self, task: str) -> str:
        """The record of a task."""
        return f"{self._prefix}task:{task}"

    def orders(self, agent: str) -> str:
        """The stream of orders to one agent."""
        return f"{self._prefix}orders:{agent}"

    def beat(self, agent: str) -> str:
        """An agent's last beat."""
        return f"{self._prefix}beat:{agent}"

    def output(self, task: str) -> str:
        """The tail of a task's output."""
        return f"{self._prefix}output:{task}"

    def refused(self, entry: str) -> str:
        """Why an inbox entry was not taken on."""
        return f"{self._prefix}refused:{entry}"

    def named(self, name: str) -> str:
        """The key of this name behind the pool's prefix."""
        return f"{self._prefix}{name}"

    def name_of(self, key: str) -> str:
        """The name of one of this pool's keys, without the prefix."""
        return key.removeprefix(self._prefix)

    @property
    def every(self) -> str:
        """A glob pattern of all of this pool's keys."""
        return f"{self._literal_prefix}*"

    @property
    def tasks_pattern(self) -> str:
        """A glob pattern of the keys of all of this pool's task records."""
        return f"{self._literal_prefix}task:*"

    @property
    def _literal_prefix(self) -> str:
        return self._prefix.replace("{", "[{]").replace("}", "[}]")


ORDERS_GROUP = "sidecar"
"""The consumer group of every orders stream; its consumers are incarnations of the sidecar, and `SWEEPER`."""

SWEEPER = "scheduler"
"""The consumer as which the scheduler claims what is stuck."""

BODY = b"m"
"""The field of an entry of inbox, reports and orders that holds its message."""

LINES = b"l"
"""The field of a journal entry that holds its lines."""


REQUEUED = "requeued"
"""The field of the hash `head` that says when work went round since the last completion."""


def sign(name: str) -> str:
    """The field of the hash `head` that holds a sign of the pool, such as since when there is a livelock."""
    return f"sign:{name}"


KeyType = Literal["stream", "string", "hash", "zset"]
Bound = Literal["empty at rest", "capped", "passes", "open or passes", "of an agent", "one"]


class Kept(Struct, frozen=True):
    """One kind of key.

    Attributes:
        name: behind the pool's prefix; a part in capitals stands for an id or a name.
        type: as TYPE says it.
        owner: who writes it.
        bound: what keeps it small. `empty at rest`: it holds only what is not done yet; `capped`: never more than the
            setting `cap` says, where there is one; `passes`: it has an end of life; `open or passes`: it is of a task
            in the index of open ones, or has an end of life; `of an agent`: there is one for each agent, empty at rest;
            `one`: there is one of it, with a few fields.
        holds, bounded: both in words, for the table in docs/architecture.md.
        cap: the setting that bounds its length, where one does.
    """

    name: str
    type: KeyType
    owner: str
    bound: Bound
    holds: str
    bounded: str
    cap: str = ""

    def fits(self, name: str) -> bool:
        """Whether a key of this name is one of this kind."""
        kind, colon, part = self.name.partition(":")
        return re.fullmatch(re.escape(kind + colon) + (PARTS[part] if part else ""), name) is not None


PARTS = {"ID": r"[\w-]+", "NAME": r"[\w.-]+", "ENTRY": r"\d+-\d+"}

TABLE: tuple[Kept, ...] = (
    Kept(
        "inbox", "stream", "anybody", "empty at rest",
        "requests: submit, cancel, retry, and what is asked of agents. Any program that can XADD can submit",
        "trimmed by the commit that takes an entry into account; while `max_inbox` wait unread, or `max_open_bytes` of "
        "them, clients refuse further submissions, and other requests when a tenth more do",
        cap="max_inbox",
    ),
    Kept(
        "reports", "stream", "sidecars", "empty at rest",
        "hello, accepted, finished, goodbye",
        "trimmed by the commit that takes an entry into account; while `max_inbox` wait unread, only those that settle "
        "an order are taken, which are no more than there are orders",
        cap="max_inbox",
    ),
    Kept(
        "orders:NAME", "stream", "commits", "of an agent",
        "assign, stop, ask; group `sidecar`. **Its pending-entries list is the lease table**: an order is pending from "
        "delivery until its attempt ended",
        "at most the agent's slots, and what it was told to stop; deleted when settled, and with its agent",
    ),
    Kept(
        "beat:NAME", "string", "sidecar", "passes",
        "the sidecar's last beat: incarnation, activity, running tokens",
        "overwritten; TTL",
    ),
    Kept(
        "task:ID", "string", "commits", "open or passes",
        "the task's record",
        "while open: `max_open_tasks`; after its end: TTL `retention_s`",
    ),
    Kept(
        "output:ID", "stream", "sidecar", "passes",
        "the tail of what the agent printed",
        "`output_entries` and `output_bytes`; TTL `retention_s`",
        cap="output_entries",
    ),
    Kept(
        "open", "zset", "commits", "capped",
        "ids of open tasks by order of admission; what a new leader loads",
        "`max_open_tasks`, past which the inbox is left unread",
        cap="max_open_tasks",
    ),
    Kept(
        "agents", "hash", "commits", "capped",
        "agent records",
        "100,000; agents offline for `retention_s` are forgotten",
    ),
    Kept(
        "keys", "hash", "commits", "capped",
        "idempotency keys",
        "`max_keys`, `key_retention_s`",
        cap="max_keys",
    ),
    Kept(
        "costs", "hash", "commits", "capped",
        "what ended attempts took, by day, by day and agent, and all in all: how many, messages, tokens, cost, time",
        "the last `costs_days` days with work, of 1,000 agents each; those beyond are counted together",
    ),
    Kept(
        "journal", "stream", "commits", "capped",
        "every transition: at, what, before, after, trigger, task, generation, agent, reason",
        "`journal_entries`, of at most 32 lines each",
        cap="journal_entries",
    ),
    Kept(
        "dead", "stream", "commits", "capped",
        "tasks that used up their attempts",
        "`dead_entries`",
        cap="dead_entries",
    ),
    Kept(
        "refused:ENTRY", "string", "commits", "passes",
        "why an inbox entry was not taken on, for its sender",
        "TTL one hour",
    ),
    Kept(
        "head", "hash", "commits", "one",
        "epoch, owner, how much may wait in the inbox, seq, id of the last commit, positions in inbox and reports, "
        "how many tasks were ever taken on, when work went round, signs of trouble",
        "one",
    ),
    Kept("leader", "string", "scheduler", "passes", "who leads", "TTL `lease_s`"),
    Kept(
        "alerts", "hash", "schedulers", "passes",
        "incidents, and who was told of them; only where `[alerts]` names a receiver",
        "500 incidents; TTL 7 days",
    ),
)  # fmt: skip
"""Every kind of key that a pool has. A key that fits none of these has no owner, and `agentcom fsck` says so."""


def kind_of(name: str) -> Kept | None:
    """What a key of this name, behind the pool's prefix, is."""
    return next((kept for kept in TABLE if kept.fits(name)), None)
