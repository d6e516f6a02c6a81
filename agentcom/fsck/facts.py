"""What was read of a pool, as far as the rules need it.

What is not in one of these tables was not looked at, and nothing can be said of it; what was looked for and is not
there is in them with the type `none`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from agentcom.model.messages import Fix

NO_KEY = "none"
NO_END = -1


class TaskFacts(Struct, frozen=True, gc=False):
    """The key of one record.

    Attributes:
        type: of the key.
        ttl_ms: how long it will still be there; `NO_END` means for ever.
        readable: whether it is a record; the rest is what it says.
        foreign: its spec was written by another version of AgentCom, or by hand.
        token: of its latest attempt, which `agent` made.
        key: its idempotency key; empty if it has none, or is foreign.
        submitted_at: when it was taken on.
    """

    type: str
    ttl_ms: int = NO_END
    readable: bool = False
    foreign: bool = False
    state: str = ""
    seq: int = 0
    token: str = ""
    agent: str = ""
    waiting_for: tuple[str, ...] = ()
    key: str = ""
    submitted_at: int = 0


class AgentFacts(Struct, frozen=True):
    """One field of the hash of agents; `incarnation`, `running` and `reserved` are what its record says, if it is
    readable."""

    readable: bool = False
    incarnation: str = ""
    running: dict[str, str] = {}
    reserved: tuple[str, ...] = ()


class OrderFacts(Struct, frozen=True):
    """One entry of a stream of orders. `kind` is empty if it cannot be read."""

    kind: Literal["", "assign", "stop", "ask"]
    task: str = ""
    token: str = ""


class StreamFacts(Struct, frozen=True):
    """The stream of orders of one agent.

    Attributes:
        type: of the key.
        last: the highest id that it ever had.
        delivered: the highest id that was delivered; `0-0` before the first.
        orders: by entry.
        pending: entry → who has it; empty if the scheduler has taken it back.
        alive: there is a beat of its agent.
        whole: all of it was read.
    """

    type: str
    last: str = "0-0"
    delivered: str = "0-0"
    orders: dict[str, OrderFacts] = {}
    pending: dict[str, str] = {}
    alive: bool = False
    whole: bool = True


class KeyFacts(Struct, frozen=True):
    """Any other key.

    Attributes:
        type: of the key.
        wanted: which type it should have; empty if it is no key of a pool.
        ttl_ms: how long it will still be there; `NO_END` means for ever.
        passes: it should have an end of life.
        stays: it should have none.
        last: of a stream, the highest id that it ever had.
    """

    type: str
    wanted: str
    ttl_ms: int = NO_END
    passes: bool = False
    stays: bool = False
    last: str = "0-0"


class Facts(Struct):
    """A look at a pool.

    Attributes:
        tasks: by id.
        open: the index of open tasks, id → place.
        agents: by name; whoever is not in it is no agent.
        orders: by agent.
        keys: any other key, by its name behind the pool's prefix.
        bindings: idempotency key → what is kept of it.
        keys_since_at: idempotency keys of tasks from before this may have passed.
        max_keys: so many are kept.
        costs: field of the hash of costs → whether it can be read.
        dead: ids of tasks that there are dead letters of.
        damaged_letters: how many dead letters cannot be read.
        outputs: ids of tasks of which output is kept.
        inbox_at, reports_at: positions that the head names.
        damaged_head: fields of the head that cannot be read.
        reported: tokens of attempts whose end was reported, and not read yet.
        greeted: agents that said hello, and were not heard yet.
    """

    tasks: dict[str, TaskFacts] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)
    agents: dict[str, AgentFacts] = field(default_factory=dict)
    orders: dict[str, StreamFacts] = field(default_factory=dict)
    keys: dict[str, KeyFacts] = field(default_factory=dict)
    bindings: dict[str, str] = field(default_factory=dict)
    keys_since_at: int = 0
    max_keys: int = 0
    costs: dict[str, bool] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)
    damaged_letters: int = 0
    outputs: list[str] = field(default_factory=list)
    inbox_at: str = "0-0"
    reports_at: str = "0-0"
    damaged_head: tuple[str, ...] = ()
    reported: frozenset[str] = frozenset()
    greeted: frozenset[str] = frozenset()


class Discrepancy(Struct, frozen=True, kw_only=True):
    """Two things of a pool that cannot both be right.

    Attributes:
        kind: its name, always the same.
        subject: what it is about: `task:ID`, `agent:NAME`, `agent:NAME ENTRY` or `key:NAME`.
        text: what is wrong, in one line.
        remedy: what a repair does about it; or what a person has to do, if there is no `fix`.
        fix: what a repair asks of the scheduler.
        tasks, agents, keys: what has to be looked at again to see whether it is still so.
    """

    kind: str
    subject: str
    text: str
    remedy: str
    fix: Fix | None = None
    tasks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


def stream_id(entry: str) -> tuple[int, int]:
    """An id of a stream's entry, so that it can be compared."""
    milliseconds, _, number = entry.partition("-")
    try:
        return int(milliseconds), int(number or 0)
    except ValueError:
        return 0, 0
