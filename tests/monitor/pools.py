"""A pool with one of every finding, and what is seen of it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agentcom.diagnosis import RULES, Snapshot, diagnose
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.costs import Costs
from agentcom.model.messages import DeadLetter, Line
from agentcom.model.task import ReadRecord, Usage
from agentcom.monitor.live.costs import Known
from agentcom.monitor.live.history import History, Totals
from agentcom.monitor.live.picture import Opened, Picture
from agentcom.monitor.look import Now
from tests.diagnosis.pools import AT, BUSY, POLICY, SERVER, H, M, S, agent, attempt, beat, failed, id_of, order, task

NOW = Now(AT, lambda _: 3_600)
"""09:53:20."""

LONG_TITLE = "Port the settlement job from cron to the queue, with its alarms"
PYTHON = Card(attributes={"python": 3, "os": "linux"}, host="h2")


def running(name: str, generation: int, age_ms: int, **more: Any) -> Any:
    at = AT - age_ms
    return attempt(name, generation, at, accepted_at=at, **more)


STUCK = task(
    0x31A, "working", AT - 50 * M, {"title": "Retry policy", "expect_s": 300.0}, attempts=(running("cedar", 1, 45 * M),)
)
SLOW = task(
    0x32A,
    "working",
    AT - 80 * M,
    {"title": "Split the broker", "expect_s": 480.0},
    attempts=(replace(running("elm", 1, 26 * M), token="1.0e"),),
)
LOOPING = task(
    0x35A,
    "working",
    AT - 90 * M,
    {"title": "Write the docs", "expect_s": 600.0},
    attempts=(failed("oak", 1, AT - 80 * M), failed("elm", 2, AT - 40 * M), running("birch", 3, 4 * M)),
    generation=3,
)
LOST = task(
    0x28A,
    "working",
    AT - 20 * M,
    {"title": "A flaky test", "expect_s": 600.0},
    attempts=(running("oak", 2, 7 * M),),
    generation=2,
)
ASKS = task(
    0x40A,
    "input_required",
    AT - 2 * H,
    {"title": "Rotate the keys"},
    attempts=(failed("oak", 1, AT - 100 * M, "auth_failed"),),
    reason="auth_failed",
    detail="401 from the provider",
)
STARVED = task(0x41A, "queued", AT - 30 * M, {"title": LONG_TITLE, "requires": "cobol"})
UNASSIGNED = task(0x42A, "queued", AT - 3 * M, {"title": "Tidy the imports", "requires": "docs", "priority": "urgent"})
BACKLOG = task(0x43A, "queued", AT - 70 * M, {"title": "Profile the import", "requires": "python >= 3, birches"})
WAITS = task(0x44A, "blocked", AT - 20 * M, {"title": "Release notes"}, waiting_for=(id_of(0x31A),), ready_at=0)
DELAYED = task(
    0x45A,
    "retry_wait",
    AT - 9 * M,
    {"title": "Bump ruff"},
    attempts=(failed("elm", 1, AT - 3 * M),),
    ready_at=AT + 20 * S,
    reason="exit_code",
    detail="exit code 2",
)
ORPHAN = task(0x46A, "assigned", AT - 5 * M, {"title": "Sort the backlog"}, attempts=(attempt("fir", 1, AT - 5 * M),))
TASKS: list[ReadRecord] = [
    STUCK, SLOW, LOOPING, LOST, ASKS, STARVED, UNASSIGNED, BACKLOG, WAITS, DELAYED, ORPHAN,
]  # fmt: skip


def _with(name: str, record: ReadRecord | None, **more: Any) -> AgentRecord:
    held = {record.attempts[-1].token: record.spec.id} if record is not None else {}
    facts = {"card": PYTHON, "running": held, "activity": "working" if held else "idle"}
    return agent(name, **facts | more)


FULL = "the disk of /srv/agents has 12 MB left"
AGENTS: list[AgentRecord] = [
    _with("alder", None, link="offline", seen_at=AT - 20 * M, since_at=AT - 18 * M),
    _with(
        "birch",
        LOOPING,
        completed=41,
        failed=3,
        success=0.9,
        card=Card(attributes={"python": 3, "birches": 1}, host="h3"),
    ),
    _with("cedar", STUCK, completed=31, failed=1, success=0.97),
    _with("elm", SLOW, completed=52, failed=2, success=0.96),
    _with("fir", ORPHAN, completed=7),
    _with(
        "hazel",
        None,
        health="degraded",
        degraded_until=AT + 2 * M,
        degraded_why="3 attempts in a row failed",
        broken=True,
    ),
    _with("holly", None, cordoned=True, health="cordoned", health_why="taken out of service by a person"),
    _with("larch", None, draining=True, health="draining", health_why="is being drained by a person"),
    _with("maple", None, health="rate_limited", limited_until=AT + 5 * M, limited_why="429", health_why="429"),
    _with("oak", LOST, link="stale", seen_at=AT - 100 * S, since_at=AT - 10 * S, completed=17, failed=4, success=0.8),
    _with(
        "rowan", None, unfit="git fetch: no route to host", health="degraded", health_why="git fetch: no route to host"
    ),
    _with(
        "willow",
        None,
        starts=tuple(AT - n * M for n in (9, 7, 5, 3, 1)),
        card=Card(attributes={"python": 1}, host="h4"),
        damage="journal/runs/1-0.corrupt",
    ),
    _with("yew", None, card=Card(attributes={"docs": 2}, host="h4")),
]

EVERYTHING = replace(
    BUSY,
    leader="h1:812:beef",
    open=len(TASKS),
    dead=1,
    admitted=160,
    agents=AGENTS,
    beats={each.name: beat(each.name, state=each.activity, at=AT - 2 * S) for each in AGENTS if each.link == "online"}
    | {"elm": beat("elm", state="working", at=AT + 40 * M, context={SLOW.attempts[-1].token: 88})},
    beat_left_ms={each.name: 900_000 - 2 * S for each in AGENTS if each.link == "online"},
    tasks=TASKS,
    orders=[
        order("cedar", STUCK.spec.id),
        order("elm", SLOW.spec.id),
        order("birch", LOOPING.spec.id),
        order("oak", LOST.spec.id, idle_ms=50 * S),
        order("fir", ORPHAN.spec.id, consumer="sc-1", idle_ms=3 * M),
    ],
    lines=[
        Line(AT - 5 * M, "task", "finished", "working", "completed", id_of(0x50A), 1, "elm"),
        Line(
            AT - 4 * M,
            "task",
            "finished",
            "working",
            "retry_wait",
            DELAYED.spec.id,
            1,
            "elm",
            "exit_code",
            "exit code 2",
        ),
        Line(AT - 90 * S, "agent", "silence", "online", "stale", agent="oak", axis="link"),
        Line(AT - 80 * S, "refused", "finished", task=LOST.spec.id, agent="oak", reason="not the current attempt"),
    ],
    letters=[
        DeadLetter(id_of(0x60A), "Rewrite it in Rust", AT - 2 * H, "exit_code", "exit code 137: out of memory", 4)
    ],
    printed_at={STUCK.spec.id: AT - 22 * M, SLOW.spec.id: AT - 3 * S, LOOPING.spec.id: AT - S},
    signs={"livelock": AT - 6 * M},
    inbox=90_000,
    inbox_since_at=AT - 2 * M,
    reports=3,
)
"""All that can be wrong at once with agents and tasks, and some of what can be wrong with the pool."""

DOOM = replace(
    EVERYTHING,
    leader="",
    at=AT - 70 * S,
    server_at=AT - 60 * S,
    open=850_000,
    agents=[replace(each, unfit=FULL, health="degraded") if each.link == "online" else each for each in AGENTS],
    server=replace(
        SERVER,
        eviction="allkeys-lru",
        aof_write="err",
        rdb_save="err",
        memory_bytes=990_000_000,
        loading=True,
        clients=9_900,
        role="slave",
    ),
)
"""What else can be wrong, with the server and the pool."""

NO_AOF = replace(BUSY, server=replace(SERVER, aof=False))


def history() -> History:
    """An hour in which most went well."""
    kept = History()
    begun = Totals(AT - H, 4, 0, 0, 0)
    kept.recall(begun, [], whole=True)
    for minute in range(1, 61):
        waiting = 4 + (minute * 7) % 11
        kept.add(Totals(AT - H + minute * M, waiting, minute * 2 + minute % 3, minute // 6, minute * minute * 800))
    return kept


COSTS = Known(
    Costs(180, 148, 540, 90_000, Usage(4_000_000, 600_000, 9_000_000, 300_000, 0, 61.5), 90_000.0),
    {
        "2025-10-09": Costs(40, 31, 118, 20_000, Usage(900_000, 140_000, 2_000_000, 0, 0, 14.25), 19_000.0),
        "2025-10-08": Costs(140, 117, 422, 70_000, Usage(3_100_000, 460_000, 7_000_000, 300_000, 0, 47.25), 71_000.0),
    },
    {
        "cedar": Costs(10, 9, 30, 5_000, Usage(300_000, 40_000, 500_000, 0, 0, 4.2), 8_000.0),
        "elm": Costs(30, 22, 88, 15_000, Usage(600_000, 100_000, 1_500_000, 0, 0, 10.05), 11_000.0),
    },
)


def picture(snapshot: Snapshot = EVERYTHING, opened: Opened | None = None) -> Picture:
    findings = diagnose(snapshot, POLICY, AT)
    return Picture(snapshot, findings, POLICY, history(), COSTS, opened or Opened())


ALL_RULES = {rule.id for rule in RULES}
