"""For every rule: a pool that has the trouble, and the nearest one that has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from agentcom.diagnosis import Snapshot
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.messages import DeadLetter, Line
from agentcom.model.task import Outcome, ReadRecord
from tests.diagnosis.pools import (
    AT,
    BUSY,
    ELM,
    FIR,
    OAK,
    RUNNING,
    SECOND_TRY,
    WAITING,
    H,
    M,
    S,
    agent,
    attempt,
    beat,
    failed,
    id_of,
    order,
    task,
    with_agents,
    with_server,
    with_tasks,
)


class Case(NamedTuple):
    """What distinguishes the two, a pool of each, and what the finding is to be about and to say."""

    rule: str
    which: str
    ill: Snapshot
    well: Snapshot
    subject: str
    says: str = ""


def silent(length_ms: int, **more: object) -> AgentRecord:
    return agent("yew", **{"link": "offline", "seen_at": AT - length_ms, "since_at": AT - length_ms + 90 * S} | more)


def of_agents() -> Iterator[Case]:
    yield Case(
        "agent_down",
        "silent for over five minutes",
        with_agents(silent(301 * S)),
        with_agents(silent(300 * S)),
        "agent:yew",
        "nothing was heard of it for 5m",
    )
    for which, more in (
        ("it had not said goodbye", {"left": True}),
        ("nobody had cordoned it", {"cordoned": True, "health": "cordoned"}),
        ("nobody was draining it", {"draining": True, "health": "draining"}),
    ):
        yield Case("agent_down", which, with_agents(silent(H)), with_agents(silent(H, **more)), "agent:yew")
    stale = agent("yew", link="stale", seen_at=AT - 95 * S, since_at=AT - 5 * S, running={"9.00": id_of(1)})
    yield Case(
        "lost",
        "its beats stopped",
        with_agents(stale),
        with_agents(replace(stale, link="online")),
        "agent:yew",
        "is stale: its last beat was seen 95s ago",
    )
    unfit = agent("yew", unfit="git fetch: no route", health="degraded", health_why="git fetch: no route")
    yield Case(
        "unfit",
        "its self-test found something",
        with_agents(unfit),
        with_agents(replace(unfit, unfit="", health="available", health_why="")),
        "agent:yew",
        "git fetch: no route",
    )
    damaged = agent("yew", damage="/srv/journal/runs/5-0.corrupt and 1 more")
    yield Case(
        "damaged",
        "files were set aside",
        with_agents(damaged),
        with_agents(replace(damaged, damage="")),
        "agent:yew",
        "set aside /srv/journal/runs/5-0.corrupt and 1 more",
    )
    full = [
        replace(each, unfit="the disk of /srv has 12 bytes left", health="degraded", health_at=AT - M)
        for each in (ELM, FIR, OAK)
    ]
    yield Case("disk", "all are full", with_agents(*full), with_agents(*full[:2]), "pool", "3 agents")
    long, lately = (replace(full[0], health_at=AT - minutes * M) for minutes in (6, 4))
    yield Case(
        "disk",
        "one is full for long",
        with_agents(long),
        with_agents(lately),
        f"agent:{ELM.name}",
        "has not been able to work for 6m: the disk of /srv has 12 bytes left",
    )
    degraded = agent("yew", health="degraded", degraded_until=AT + 2 * M, degraded_why="3 attempts in a row failed")
    yield Case(
        "degraded",
        "the breaker opened",
        with_agents(degraded),
        with_agents(replace(degraded, health="available", degraded_until=0)),
        "agent:yew",
        "gets no work for another 2m: 3 attempts in a row failed",
    )
    yield Case(
        "degraded",
        "its time has passed without a healthy self-test",
        with_agents(replace(degraded, degraded_until=AT - M)),
        with_agents(replace(degraded, degraded_until=AT - M, unfit="no workspace")),
        "agent:yew",
        "until a self-test finds it fit",
    )
    limited = agent("yew", health="rate_limited", limited_until=AT + 5 * M, limited_why="429")
    yield Case(
        "rate_limited",
        "until later",
        with_agents(limited),
        with_agents(replace(limited, limited_until=AT)),
        "agent:yew",
        "for another 5m: 429",
    )
    cordoned = agent("yew", cordoned=True, health="cordoned")
    yield Case(
        "cordoned", "by a person", with_agents(cordoned), with_agents(replace(cordoned, cordoned=False)), "agent:yew"
    )
    draining = agent("yew", draining=True, health="draining")
    yield Case(
        "draining",
        "empty",
        with_agents(draining),
        with_agents(replace(draining, draining=False)),
        "agent:yew",
        "it holds nothing more",
    )
    for side, at in (("ahead of", AT + M), ("behind", AT - 2 * M)):
        beats = BUSY.beats | {"oak": beat("oak", at=at)}
        yield Case(
            "agent_skew", side, replace(BUSY, beats=beats), replace(BUSY, beats=beats, server_at=0), "agent:oak", side
        )
    starts = tuple(AT - n * M for n in (55, 9, 7, 5, 3, 1))
    yield Case(
        "crash_loop",
        "five starts within ten minutes",
        with_agents(agent("yew", starts=starts)),
        with_agents(agent("yew", starts=tuple(at - 2 * M for at in starts))),
        "agent:yew",
        "started 5 times within 9m",
    )


def of_tasks() -> Iterator[Case]:
    def long(age_ms: int, expect_s: float = 300.0) -> ReadRecord:
        tried = attempt("oak", 1, AT - age_ms, accepted_at=AT - age_ms)
        return task(1, "working", AT - H, {"expect_s": expect_s}, attempts=(tried,))

    def printed(ago_ms: int) -> dict[str, dict[str, int]]:
        return {"printed_at": {id_of(1): AT - ago_ms}}

    hung = with_tasks(long(20 * M), **printed(11 * M))
    yield Case("stuck", "silent", hung, with_tasks(long(20 * M), **printed(10 * M - S)), "task:" + id_of(1), "4× its")
    yield Case("stuck", "overdue", hung, with_tasks(long(14 * M), **printed(11 * M)), "task:" + id_of(1))
    yield Case("stuck", "estimated", hung, with_tasks(long(20 * M, 0.0), **printed(11 * M)), "task:" + id_of(1))
    yield Case("stuck", "it printed once", hung, with_tasks(long(20 * M), printed_at={}), "task:" + id_of(1))
    yield Case(
        "stuck", "it printed in this attempt", hung, with_tasks(long(20 * M), **printed(21 * M)), "task:" + id_of(1)
    )
    yield Case(
        "stuck",
        "silent for longer than its estimate",
        with_tasks(long(90 * M, 1500.0), **printed(26 * M)),
        with_tasks(long(90 * M, 1500.0), **printed(24 * M)),
        "task:" + id_of(1),
        "3× its estimate of 25m, silent for 26m",
    )
    yield Case(
        "slow",
        "it still talks",
        with_tasks(long(15 * M), **printed(3 * S)),
        with_tasks(long(15 * M - 1), **printed(3 * S)),
        "task:" + id_of(1),
        "long, but alive: it printed something 3s ago",
    )
    yield Case(
        "slow",
        "it never talked",
        with_tasks(long(15 * M), printed_at={}),
        with_tasks(long(15 * M, 0.0), printed_at={}),
        "task:" + id_of(1),
        "unknown",
    )
    tried = (failed("oak", 1, AT - H), failed("elm", 2, AT - 40 * M), attempt("oak", 3, AT - M, accepted_at=AT - M))
    looping = task(1, "working", AT - 2 * H, attempts=tried)
    yield Case(
        "looping", "third attempt", with_tasks(looping), with_tasks(replace(looping, handbacks=1)), "task:" + id_of(1)
    )
    idle_now = replace(looping, state="queued", ready_at=AT)
    yield Case(
        "looping",
        "it waits",
        with_tasks(idle_now),
        with_tasks(replace(idle_now, waits=1)),
        "task:" + id_of(1),
        "had 3 attempts; how the last one ended: exit_code",
    )
    yield Case(
        "looping", "since sent back", with_tasks(looping), with_tasks(replace(looping, granted=2)), "task:" + id_of(1)
    )
    stray = order("oak", id_of(1), consumer="sc-1", idle_ms=91 * S)
    for which, other in (
        ("not the current sidecar's", replace(stray, consumer="sc-2")),
        ("not the scheduler's", replace(stray, consumer="scheduler", reclaimed=True)),
        ("read by somebody", replace(stray, consumer="")),
    ):
        yield Case(
            "orphan",
            which,
            replace(BUSY, orders=[stray]),
            replace(BUSY, orders=[other]),
            "task:" + id_of(1),
            "held by sc-1, which is no current sidecar of oak",
        )
    renewed = replace(BUSY, orders=[replace(stray, idle_ms=2 * S)])
    fresh = with_agents(replace(OAK, starts=(AT - 5 * H, AT - 10 * S)), orders=renewed.orders)
    yield Case("orphan", "the current sidecar has been there for long", renewed, fresh, "task:" + id_of(1))
    asks = task(7, "input_required", AT - H, reason="auth_failed", detail="401", attempts=(failed("oak", 1, AT - H),))
    yield Case(
        "waits_for_person",
        "for a login",
        with_tasks(asks),
        with_tasks(replace(asks, state="working", attempts=(attempt("oak", 1, AT - M),))),
        "task:" + id_of(7),
        "waits for a person: auth_failed: 401",
    )
    question = Outcome("failed", "input_required", question="tabs or spaces?")
    waits = task(
        7, "input_required", AT - H, reason="input_required", question="tabs or spaces?", answer_by=AT + 5 * M,
        attempts=(attempt("oak", 1, AT - H, outcome=question),),
    )  # fmt: skip
    yield Case(
        "waits_for_person",
        "for an answer",
        with_tasks(waits),
        with_tasks(replace(waits, state="queued", answer="spaces")),
        "task:" + id_of(7),
        "asks: tabs or spaces?",
    )
    nearly = replace(RUNNING, attempts=(replace(RUNNING.attempts[0], context=81),))
    full = replace(
        SECOND_TRY, state="retry_wait", attempts=(failed("oak", 1, AT - H, context_used=90, context_size=100),)
    )
    beats = BUSY.beats | {"oak": beat("oak", state="working", context={"1.00": 95})}
    for which, ill, well in (
        ("as its record keeps", with_tasks(nearly), with_tasks(RUNNING)),
        ("as a beat says", replace(BUSY, beats=beats), replace(BUSY, beats={"oak": beat("oak", context={"1.00": 80})})),
        ("as its end told", with_tasks(full), with_tasks(replace(full, state="retry_wait", attempts=()))),
    ):
        about = "task:" + (id_of(2) if which == "as its end told" else id_of(1))
        yield Case("context_full", which, ill, well, about, "% of the context window of oak")
    letter = DeadLetter(id_of(8), "Port it", AT - 23 * H, "exit_code", "exit code 1", 4)
    yield Case(
        "dead",
        "lately",
        replace(BUSY, letters=[letter]),
        replace(BUSY, letters=[replace(letter, at=AT - 25 * H)]),
        "task:" + id_of(8),
        "is dead after 4 attempts: exit_code",
    )


def of_waiting() -> Iterator[Case]:
    idle = agent("yew", since_at=AT - 5 * M, running={})
    subject = "task:" + id_of(3)
    old = replace(WAITING, ready_at=AT - 6 * M)
    nobody = replace(old, spec=replace(old.spec, requires="cobol"))
    yield Case(
        "starved",
        "nobody has the skill",
        with_tasks(nobody),
        with_tasks(old),
        subject,
        "0 of 4 agents: 4 no cobol",
    )
    yield Case("starved", "for long", with_tasks(nobody), with_tasks(replace(nobody, ready_at=AT - 4 * M)), subject)
    away = with_agents(
        *(replace(each, health="degraded", health_why="x", unfit="x") for each in (ELM, OAK)),
        tasks=[old],
        open=1,
    )
    yield Case("starved", "the able are out of service", away, replace(away, agents=BUSY.agents), subject, "2 degraded")
    free = with_agents(idle)
    yield Case(
        "unassigned", "an idle agent", free, with_agents(replace(idle, since_at=AT - 29 * S)), subject, "yew is idle"
    )
    yield Case(
        "unassigned", "ready for long", free, replace(free, tasks=[replace(WAITING, ready_at=AT - 29 * S)]), subject
    )
    yield Case("unassigned", "a scheduler leads", free, replace(free, leader=""), subject)
    yield Case("unassigned", "fit", free, with_agents(replace(idle, card=Card(attributes={"python": 1}))), subject)
    news = Line(AT - 5 * S, "task", "finished", "working", "completed", id_of(40), 1, "yew")
    yield Case("unassigned", "idle all the time", free, replace(free, lines=[*BUSY.lines, news]), subject)
    late = replace(BUSY.lines[0], at=AT - 20 * S)
    yield Case("unassigned", "the journal reaches back", free, replace(free, lines=[late]), subject)
    avoided = replace(WAITING, attempts=(failed("yew", 1, AT - 5 * M),), generation=1)
    yield Case("unassigned", "it did not fail it before", free, replace(free, tasks=[avoided]), subject)
    yield Case(
        "backlog",
        "for over an hour",
        with_tasks(replace(WAITING, ready_at=AT - 61 * M)),
        with_tasks(replace(WAITING, ready_at=AT - 59 * M)),
        subject,
        "as all who could take it are busy: 0 of 4 agents",
    )


def of_pool() -> Iterator[Case]:
    yield Case(
        "livelock", "its sign", replace(BUSY, signs={"livelock": AT - 6 * M}), replace(BUSY, signs={}), "pool", "6m"
    )
    headless = replace(BUSY, leader="")
    empty = replace(headless, agents=[agent("ash", left=True, link="offline")], tasks=[], open=0, inbox=0, reports=0)
    yield Case("leaderless", "there is work", headless, BUSY, "pool")
    for which, more in (
        ("something is open", {"open": 1}),
        ("a request waits", {"inbox": 1}),
        ("a report waits", {"reports": 1}),
        ("an agent is there", {"agents": [agent("oak")]}),
    ):
        yield Case("leaderless", which, replace(empty, **more), empty, "pool")  # type: ignore[arg-type]
    for name in ("inbox", "reports"):
        waits = replace(BUSY, **{f"{name}_since_at": BUSY.server_at - 31 * S})  # type: ignore[arg-type]
        recent = replace(BUSY, **{f"{name}_since_at": BUSY.server_at - 29 * S})  # type: ignore[arg-type]
        yield Case(
            "behind", f"{name} unread for long", waits, recent, f"pool:{name}", f"of the {name} has waited for 31s"
        )
        yield Case("behind", f"{name}, and somebody leads", waits, replace(waits, leader=""), f"pool:{name}")
    yield Case("inbox_full", "80 %", replace(BUSY, inbox=80_000), replace(BUSY, inbox=79_999), "pool", "80,000")
    yield Case("open_full", "80 %", replace(BUSY, open=800_000), replace(BUSY, open=799_999), "pool", "800,000")
    yield Case(
        "clock_skew",
        "ahead",
        replace(BUSY, server_at=AT - 6 * S),
        replace(BUSY, server_at=AT - 5 * S),
        "clock",
        "6s ahead of",
    )
    yield Case(
        "clock_skew", "behind", replace(BUSY, server_at=AT + 6 * S), replace(BUSY, server_at=0), "clock", "6s behind"
    )
    yield Case("stale", "seen long ago", replace(BUSY, at=AT - 61 * S, server_at=0), BUSY, "pool", "61s old")


def of_server() -> Iterator[Case]:
    told = with_server
    yield Case(
        "aof_failing", "writing", told(aof_write="err"), told(aof_write=""), "redis", "the last write to it: err"
    )
    yield Case(
        "aof_failing", "rewriting", told(aof_rewrite="err"), told(aof_rewrite="err", aof=None), "redis", "rewrite"
    )
    yield Case("rdb_failing", "saving", told(rdb_save="err"), told(rdb_save="ok"), "redis")
    yield Case("no_aof", "off", told(aof=False), told(aof=None), "redis")
    yield Case(
        "memory",
        "90 %",
        told(memory_bytes=900_000_001),
        told(memory_bytes=900_000_000),
        "redis",
        "90 % of the 1.0 GB",
    )
    yield Case(
        "memory", "bounded", told(memory_bytes=900_000_001), told(memory_bytes=10**12, memory_max_bytes=0), "redis"
    )
    yield Case("eviction", "lru", told(eviction="allkeys-lru"), told(eviction=""), "redis", "allkeys-lru")
    yield Case("loading", "still", told(loading=True), told(loading=None), "redis")
    yield Case("clients", "90 %", told(clients=9_001), told(clients=9_000), "redis", "9,001 of the 10,000")
    yield Case("replica", "slave", told(role="slave"), told(role=""), "redis")


CASES = [*of_agents(), *of_tasks(), *of_waiting(), *of_pool(), *of_server()]
