"""A pool that is busy and well, and ways to change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from agentcom.diagnosis import Order, Server, Snapshot
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.messages import Beat, Line
from agentcom.model.task import Attempt, Outcome, ReadRecord, TaskRecord, TaskSpec
from agentcom.settings import Policy

AT = 1_760_000_000_000
S, M, H = 1_000, 60_000, 3_600_000
POLICY = Policy()


def id_of(number: int) -> str:
    return f"0199c8ab-0000-7000-8000-0000000{number:05x}"


def attempt(agent: str, generation: int, assigned_at: int, **more: Any) -> Attempt:
    return Attempt(generation, f"{generation}.00", agent, "sc-2", assigned_at, **more)


def failed(agent: str, generation: int, at: int, reason: str = "exit_code", **more: Any) -> Attempt:
    outcome = Outcome("failed", reason, "exit code 137", 137, **more)
    return attempt(agent, generation, at, accepted_at=at, ended_at=at + M, outcome=outcome)


def task(number: int, state: str, submitted_at: int, spec: dict[str, Any] | None = None, **more: Any) -> ReadRecord:
    made = TaskSpec(**{"id": id_of(number), "text": f"Work {number}.", "requires": "python >= 2"} | (spec or {}))
    facts = {"changed_at": submitted_at, "generation": len(more.get("attempts", ())), "ready_at": submitted_at} | more
    return TaskRecord(spec=made, seq=number, state=state, submitted_at=submitted_at, **facts)  # type: ignore[arg-type]


def agent(name: str, **more: Any) -> AgentRecord:
    card = more.pop("card", Card(attributes={"python": 3}, host="h1"))
    facts = {
        "incarnation": "sc-2",
        "link": "online",
        "since_at": AT - 5 * H,
        "seen_at": AT - 20 * S,
        "activity": "idle",
        "starts": (AT - 9 * H, AT - 5 * H),
        "tests": 12,
    }
    return AgentRecord(name=name, card=card, **facts | more)


def beat(name: str, **more: Any) -> Beat:
    return Beat(**{"agent": name, "incarnation": "sc-2", "count": 40, "at": AT - 12 * S, "state": "idle"} | more)


def order(name: str, task_: str, **more: Any) -> Order:
    facts = {"entry": f"{AT - 4 * M}-0", "ordered_at": AT - 4 * M, "consumer": "sc-2", "idle_ms": 9 * S}
    return Order(**{"agent": name, "task": task_, "deliveries": 1} | facts | more)


RUNNING = task(
    1,
    "working",
    AT - 10 * M,
    {"expect_s": 300.0},
    attempts=(attempt("oak", 1, AT - 4 * M, accepted_at=AT - 4 * M + 800),),
)
SECOND_TRY = task(
    2,
    "working",
    AT - 20 * M,
    attempts=(failed("oak", 1, AT - 15 * M), attempt("elm", 2, AT - 3 * M, accepted_at=AT - 3 * M)),
)
WAITING = task(3, "queued", AT - 4 * M)
BLOCKED = task(4, "blocked", AT - 4 * H, waiting_for=(id_of(1),), ready_at=0)
DELAYED = task(5, "retry_wait", AT - 9 * M, attempts=(failed("elm", 1, AT - 3 * M),), ready_at=AT + 20 * S)
PINNED = task(6, "assigned", AT - 30 * S, {"agent": "fir"}, attempts=(attempt("fir", 1, AT - 2 * S),))

OAK = agent("oak", running={"1.00": id_of(1)}, activity="working")
ELM = agent("elm", running={"2.00": id_of(2)}, activity="working")
FIR = agent("fir", card=Card(attributes={"docs": 2}), running={"3.00": id_of(6)}, activity="working")
GONE = agent("ash", link="offline", left=True, since_at=AT - 6 * H, seen_at=AT - 6 * H)

SERVER = Server(
    product="redis",
    version="7.0.15",
    memory_bytes=400_000_000,
    memory_max_bytes=1_000_000_000,
    eviction="noeviction",
    aof=True,
    aof_write="ok",
    aof_rewrite="ok",
    rdb_save="ok",
    loading=False,
    clients=40,
    clients_max=10_000,
    role="master",
    replicas=1,
)

BUSY = Snapshot(
    at=AT,
    pool="p",
    latency_ms=0.4,
    leader="h1:812:beef",
    epoch=3,
    seq=99,
    inbox=3,
    reports=1,
    open=6,
    dead=4,
    agents=[GONE, ELM, FIR, OAK],
    beats={name: beat(name, state="working") for name in ("elm", "fir", "oak")},
    tasks=[RUNNING, SECOND_TRY, WAITING, BLOCKED, DELAYED, PINNED],
    beat_left_ms=dict.fromkeys(("elm", "fir", "oak"), 900_000 - 12 * S),
    orders=[order("elm", id_of(2)), order("fir", id_of(6), consumer="", idle_ms=0), order("oak", id_of(1))],
    lines=[Line(AT - 40 * S, "task", "match", "queued", "assigned", id_of(6), 1, "fir")],
    server=SERVER,
    server_at=AT + 3,
    inbox_since_at=AT - 300,
    reports_since_at=AT - 20,
    printed_at={id_of(1): AT - 11 * M, id_of(2): AT - 5 * S},
)
"""Busy and well: nothing is to be found."""


def with_agents(*changed: AgentRecord, **more: Any) -> Snapshot:
    """The busy pool with these agents in the place of those of the same name, or beside them."""
    names = {agent.name for agent in changed}
    kept = [agent for agent in BUSY.agents if agent.name not in names]
    return replace(BUSY, agents=sorted([*kept, *changed], key=lambda agent: agent.name), **more)


def with_tasks(*changed: ReadRecord, **more: Any) -> Snapshot:
    """The busy pool with these tasks in the place of those of the same id, or beside them."""
    ids = {record.spec.id for record in changed}
    tasks: Sequence[ReadRecord] = [*(record for record in BUSY.tasks if record.spec.id not in ids), *changed]
    return replace(BUSY, tasks=list(tasks), open=len(tasks), **more)


def with_server(**told: Any) -> Snapshot:
    """The busy pool on a server that says this of itself."""
    return replace(BUSY, server=replace(SERVER, **told))


def since(length_ms: int) -> int:
    """So long ago."""
    return AT - length_ms
