"""A pool at one moment, as plain data. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from agentcom.model.agent import AgentRecord
from agentcom.model.messages import Beat, DeadLetter, Line
from agentcom.model.task import ReadRecord


class Order(Struct, frozen=True):
    """An order that an agent's stream holds.

    Attributes:
        agent: whose stream it is.
        entry: its id.
        ordered_at: when it was ordered, in Unix ms by the server's clock.
        task: what it is about; empty if that cannot be told.
        consumer: who holds it; empty if nobody has read it yet.
        idle_ms: how long ago its lease was last renewed.
        deliveries: how often it was delivered.
        reclaimed: the scheduler holds it, as its agent went silent.
    """

    agent: str
    entry: str
    ordered_at: int
    task: str
    consumer: str
    idle_ms: int
    deliveries: int
    reclaimed: bool = False


class Server(Struct, frozen=True, kw_only=True):
    """What the server says of itself. None, and empty for a text, means that it did not say.

    Attributes:
        product: redis or valkey.
        memory_bytes, memory_max_bytes: what it uses, and may use; 0 means as much as there is.
        eviction: its maxmemory-policy.
        aof: whether it writes an append-only file.
        aof_write, aof_rewrite, rdb_save: how the last one went: `ok`, or something else.
        loading: it is reading its data from disk, or from its primary.
        clients, clients_max: connections, and how many it lets in.
        role: master or slave.
        replicas: how many are connected.
    """

    product: str = ""
    version: str = ""
    memory_bytes: int | None = None
    memory_max_bytes: int | None = None
    eviction: str = ""
    aof: bool | None = None
    aof_write: str = ""
    aof_rewrite: str = ""
    rdb_save: str = ""
    loading: bool | None = None
    clients: int | None = None
    clients_max: int | None = None
    role: str = ""
    replicas: int | None = None


class Snapshot(Struct, frozen=True, kw_only=True):
    """What one look saw.

    Attributes:
        at: Unix time in ms, by the clock of the machine that looked.
        latency_ms: of one trip to Redis.
        leader: name of the leading scheduler; empty if none leads.
        epoch, seq: of the leadership and of the last commit.
        inbox, reports: entries that no scheduler has taken into account yet.
        open: how many tasks are open.
        dead: how many dead letters are kept.
        agents: by name.
        beats: by agent; of very many agents, only those that have most to tell were asked.
        beat_left_ms: by agent, how long the server will still keep its beat.
        admitted: how many tasks were ever taken on.
        asked: how many agents were asked for beat and orders: all, or of very many those that have most to tell.
        tasks: the oldest open tasks, and all that run.
        orders: by agent, the oldest first; of the same agents as the beats.
        lines: the end of the journal, the newest last.
        server: what the server says of itself; None if it was not to be had.
        server_at: the server's clock at that moment, in Unix ms; 0 means unknown.
        signs: since when the pool shows a sign, such as `livelock`, in Unix ms; 0 where that cannot be read.
        inbox_since_at, reports_since_at: when the oldest unread entry was written, by the server's clock; 0: none is.
        letters: the latest letter of each task that is dead now, of the last that were written.
        letters_from_at: no letter that is older than this was looked at; 0: all were.
        printed_at: by task, when the agent that runs it last printed something, by the server's clock; those that never
            did are not in it.
    """

    at: int
    pool: str
    latency_ms: float
    leader: str
    epoch: int
    seq: int
    inbox: int
    reports: int
    open: int
    dead: int
    agents: list[AgentRecord]
    beats: dict[str, Beat]
    tasks: list[ReadRecord]
    orders: list[Order]
    lines: list[Line]
    server: Server | None = None
    server_at: int = 0
    signs: dict[str, int] = {}
    inbox_since_at: int = 0
    reports_since_at: int = 0
    letters: list[DeadLetter] = []
    letters_from_at: int = 0
    printed_at: dict[str, int] = {}
    beat_left_ms: dict[str, int] = {}
    admitted: int = 0
    asked: int = 0

    @property
    def whole(self) -> bool:
        """Whether all open tasks are in `tasks`, so that counting them counts all."""
        return len(self.tasks) >= self.open

    @property
    def skew_ms(self) -> int:
        """How far the clock of the machine that looked is ahead of the server's; 0 if that is unknown."""
        return self.at - self.server_at if self.server_at else 0

    def states(self) -> Counter[str]:
        """How many of `tasks` are in each state."""
        return Counter(record.state for record in self.tasks)


def server_of(told: Mapping[str, Any]) -> Server | None:
    """What the server says of itself, of the fields of its INFO; None of none."""
    if not told:
        return None
    product = "valkey" if "valkey_version" in told else "redis"
    loading = [flag for flag in (_flag(told, "loading"), _flag(told, "async_loading")) if flag is not None]
    return Server(
        product=product,
        version=_text(told, f"{product}_version"),
        memory_bytes=_number(told, "used_memory"),
        memory_max_bytes=_number(told, "maxmemory"),
        eviction=_text(told, "maxmemory_policy"),
        aof=_flag(told, "aof_enabled"),
        aof_write=_text(told, "aof_last_write_status"),
        aof_rewrite=_text(told, "aof_last_bgrewrite_status"),
        rdb_save=_text(told, "rdb_last_bgsave_status"),
        loading=any(loading) if loading else None,
        clients=_number(told, "connected_clients"),
        clients_max=_number(told, "maxclients"),
        role=_text(told, "role"),
        replicas=_number(told, "connected_slaves"),
    )


def _text(told: Mapping[str, Any], name: str) -> str:
    return str(told.get(name, ""))


def _number(told: Mapping[str, Any], name: str) -> int | None:
    value = told.get(name)
    return value if isinstance(value, int) else None


def _flag(told: Mapping[str, Any], name: str) -> bool | None:
    number = _number(told, name)
    return None if number is None else bool(number)
