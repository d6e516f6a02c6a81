"""Whatever is kept in Redis, and whoever wrote it, to look at it raises nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentcom.diagnosis import SEVERITIES, Order, Server, Snapshot, diagnose
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.messages import Beat, DeadLetter, Line
from agentcom.model.task import Attempt, Outcome, ReadRecord, TaskRecord, TaskSpec
from agentcom.monitor import findings_view
from tests.diagnosis.pools import AT, POLICY

NAMES = st.sampled_from(["oak", "elm", "", "\x1b[2J", "x" * 300]) | st.text(max_size=5)
TASKS = st.sampled_from(["0199c8ab-0000-7000-8000-000000000001", "", "no id", "\u202e"]) | st.text(max_size=5)
NUMBERS = (
    st.sampled_from([0, 1, -1, 10**399, -(10**399)])
    | st.integers(-(2**64), 2**64)
    | st.integers(AT - 10**7, AT + 10**7)
)
SIZES = st.sampled_from([0, 1, 4, 10**399, -3]) | st.integers(-(2**64), 2**64)
FLOATS = st.sampled_from([0.0, 1.0, 300.0, -1.0, 1e308, 1e-320]) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = (
    st.sampled_from(["", "python >= 2", "a >>", "disk full", "\ud800", "auth_failed", "ok", "noeviction"]) | st.text()
)
REASONS = st.sampled_from(["exit_code", "auth_failed", "lost", "handed_back", ""]) | st.text(max_size=5)
RESULTS = st.sampled_from(["completed", "failed", "canceled", "lost", "handed_back"])
STATES = st.sampled_from(
    ["submitted", "blocked", "queued", "retry_wait", "assigned", "working", "verifying", "input_required"]
)
RUNNING = st.dictionaries(st.text(max_size=3), TASKS, max_size=3)
MAYBE = st.none() | SIZES

cards = st.builds(
    Card,
    attributes=st.dictionaries(st.sampled_from(["python", "os"]), TEXTS | NUMBERS | FLOATS | st.booleans(), max_size=2),
    slots=SIZES,
    accepts=TEXTS,
    context_tokens=SIZES,
    beat_s=FLOATS,
    host=TEXTS,
)
agents = st.builds(
    AgentRecord,
    name=NAMES,
    incarnation=NAMES,
    card=cards,
    link=st.sampled_from(["online", "stale", "offline"]),
    since_at=NUMBERS,
    seen_at=NUMBERS,
    health=st.sampled_from(["available", "degraded", "rate_limited", "cordoned", "draining"]),
    health_at=NUMBERS,
    health_why=TEXTS,
    cordoned=st.booleans(),
    draining=st.booleans(),
    unfit=TEXTS,
    degraded_until=NUMBERS,
    degraded_why=TEXTS,
    limited_until=NUMBERS,
    limited_why=TEXTS,
    starts=st.lists(NUMBERS, max_size=10).map(tuple),
    left=st.booleans(),
    running=RUNNING,
)
outcomes = st.none() | st.builds(Outcome, result=RESULTS, reason=REASONS, detail=TEXTS)
attempts = st.builds(
    Attempt,
    generation=SIZES,
    token=NAMES,
    agent=NAMES,
    incarnation=NAMES,
    assigned_at=NUMBERS,
    accepted_at=NUMBERS,
    counted=st.booleans(),
    outcome=outcomes,
)
specs = st.builds(
    TaskSpec,
    id=TASKS,
    text=TEXTS,
    title=TEXTS,
    requires=TEXTS,
    prefer=TEXTS,
    expect_s=FLOATS,
    context_tokens=SIZES,
    agent=NAMES,
)
records: st.SearchStrategy[ReadRecord] = st.builds(
    TaskRecord,
    spec=specs,
    seq=SIZES,
    state=STATES,
    submitted_at=NUMBERS,
    changed_at=NUMBERS,
    ready_at=NUMBERS,
    generation=SIZES,
    handbacks=SIZES,
    waits=SIZES,
    granted=SIZES,
    attempts=st.lists(attempts, max_size=3).map(tuple),
    reason=REASONS,
    detail=TEXTS,
    note=TEXTS,
)
orders = st.builds(
    Order,
    agent=NAMES,
    entry=NAMES,
    ordered_at=NUMBERS,
    task=TASKS,
    consumer=NAMES,
    idle_ms=NUMBERS,
    deliveries=SIZES,
    reclaimed=st.booleans(),
)
servers = st.none() | st.builds(
    Server,
    memory_bytes=MAYBE,
    memory_max_bytes=MAYBE,
    eviction=TEXTS,
    aof=st.none() | st.booleans(),
    aof_write=TEXTS,
    aof_rewrite=TEXTS,
    rdb_save=TEXTS,
    loading=st.none() | st.booleans(),
    clients=MAYBE,
    clients_max=MAYBE,
    role=TEXTS,
)
snapshots = st.builds(
    Snapshot,
    at=NUMBERS,
    pool=NAMES,
    latency_ms=st.floats(0, 1e6),
    leader=TEXTS,
    epoch=SIZES,
    seq=SIZES,
    inbox=SIZES,
    reports=SIZES,
    open=SIZES,
    dead=SIZES,
    agents=st.lists(agents, max_size=4),
    beats=st.dictionaries(
        NAMES,
        st.builds(Beat, agent=NAMES, incarnation=NAMES, count=SIZES, at=NUMBERS, state=st.just("idle")),
        max_size=2,
    ),
    tasks=st.lists(records, max_size=4),
    orders=st.lists(orders, max_size=3),
    lines=st.lists(st.builds(Line, at=NUMBERS, what=st.just("task"), trigger=TEXTS, agent=NAMES), max_size=2),
    server=servers,
    server_at=NUMBERS,
    signs=st.dictionaries(st.just("livelock"), NUMBERS),
    inbox_since_at=NUMBERS,
    reports_since_at=NUMBERS,
    letters=st.lists(
        st.builds(DeadLetter, task=TASKS, title=TEXTS, at=NUMBERS, reason=REASONS, detail=TEXTS, attempts=SIZES),
        max_size=2,
    ),
    printed_at=st.dictionaries(TASKS, NUMBERS, max_size=2),
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # a rare example is as large as that
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(snapshot=snapshots, now=NUMBERS, agent_down_s=st.floats(0.1, 604_800))
def test_whatever_is_seen_is_judged_and_can_be_shown(snapshot: Snapshot, now: int, agent_down_s: float) -> None:
    findings = diagnose(snapshot, POLICY, now, agent_down_s=agent_down_s)
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    assert ranks == sorted(ranks)
    for width in (None, 60):
        for line in findings_view.lines(findings, width):
            line.plain.encode()
    json.dumps([findings_view.document(finding) for finding in findings])
