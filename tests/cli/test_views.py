"""What people see, as whole texts: given records and a time, always the same."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from agentcom.cli.waiting import Progress, ending, transition
from agentcom.diagnosis import Finding, Order, Snapshot
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.messages import Beat, DeadLetter, Line
from agentcom.model.task import Attempt, Outcome, ReadRecord, TaskRecord, TaskSpec, Usage
from agentcom.monitor import plain, pool_view, task_view
from agentcom.monitor.explain_view import judge, lines
from agentcom.monitor.look import Now
from agentcom.monitor.table import Column, lay_out, said

AT = 1_760_000_000_000
"""09:53:20 one day, half a day before which nothing happens in these tests."""

NOW = Now(AT, lambda _: 3_600)
S, M, H = 1_000, 60_000, 3_600_000


def id_of(number: int) -> str:
    return f"0199c8ab-0000-7000-8000-0000000{number:05x}"


def attempt(agent: str, generation: int, assigned_at: int, **more: object) -> Attempt:
    return Attempt(generation, f"{generation}.00", agent, "sc-1", assigned_at, **more)  # type: ignore[arg-type]


def record(number: int, state: str, submitted_at: int, spec: dict[str, object], **more: object) -> ReadRecord:
    made = TaskSpec(**{"id": id_of(number), "text": "Do it."} | spec)  # type: ignore[arg-type]
    attempts = more.get("attempts") or ()
    facts = {"changed_at": submitted_at, "generation": len(attempts)} | more  # type: ignore[arg-type]
    return TaskRecord(spec=made, seq=number, state=state, submitted_at=submitted_at, **facts)  # type: ignore[arg-type]


WORKING = record(
    0x9F21C,
    "working",
    AT - 5 * M,
    {"title": "Retry policy", "requires": "python >= 3"},
    attempts=(attempt("cedar", 1, AT - 5 * M, accepted_at=AT - 4 * M),),
)
URGENT = record(0x1BBBB, "queued", AT - 3 * M, {"title": "Fix the login", "priority": "urgent"}, ready_at=AT - 3 * M)
STRANDED = record(
    0x1CCCC, "queued", AT - 2 * H, {"text": "Port it\nto COBOL"}, note="0 of 2 agents: 2 no cobol", ready_at=AT - 2 * H
)
BLOCKED = record(0x1DDDD, "blocked", AT - 10 * S, {"title": "Write the docs"}, waiting_for=(id_of(0x9F21C),))
RETRIED = record(
    0x1EEEE,
    "retry_wait",
    AT - 20 * M,
    {"title": "A flaky test that fails now and then on a machine without a network", "after": (id_of(0x9F21C),)},
    changed_at=AT - 9 * S,
    ready_at=AT + 21 * S,
    reason="exit_code",
    detail="exit code 3: tests/test_net.py failed",
    attempts=(
        attempt(
            "oak",
            1,
            AT - 19 * M,
            accepted_at=AT - 19 * M + 400,
            ended_at=AT - 9 * S,
            outcome=Outcome(
                "failed", "exit_code", "exit code 3: tests/test_net.py failed", 3, usage=Usage(1200, 90, cost_usd=0.02)
            ),
        ),
    ),
)
DONE = record(
    0x1FFFF,
    "completed",
    AT - 50 * H,
    {"title": "Rename the flag", "priority": "high"},
    changed_at=AT - 49 * H,
    ended_at=AT - 49 * H,
    attempts=(
        attempt(
            "oak",
            1,
            AT - 49 * H - 12 * S,
            ended_at=AT - 49 * H,
            outcome=Outcome("completed", exit_code=0, summary="renamed it\neverywhere", changed=("cli.py", "docs.md")),
        ),
    ),
)
ALL = [DONE, BLOCKED, WORKING, STRANDED, RETRIED, URGENT]

OAK = AgentRecord(
    name="oak",
    incarnation="sc-1",
    card=Card(attributes={"python": 3, "review": 1, "os": "linux"}, slots=2, host="h1"),
    running={"1.00": id_of(0x9F21C)},
    completed=7,
    failed=1,
    success=0.93,
)
ELM = AgentRecord(name="elm", incarnation="sc-2", card=Card(attributes={"python": 2}, host="h2"), link="offline")
BEATS = {"oak": Beat(agent="oak", incarnation="sc-1", count=4, at=AT - 7 * S, state="working")}


def agent_of(name: str, **more: object) -> AgentRecord:
    return AgentRecord(name=name, incarnation="sc-1", card=Card(), **more)  # type: ignore[arg-type]


def text(lines: Iterable[Text]) -> str:
    return "\n".join(line.plain for line in lines)


def golden(expected: str) -> str:
    """A text as it stands in a test: without the empty lines around it."""
    return expected.strip("\n")


# -------------------------------------------------------------------- tasks


def test_tasks_come_by_priority_then_state_then_age_and_what_ended_last() -> None:
    ordered = [record.spec.heading for record in task_view.by_urgency(ALL)]
    assert ordered == [
        "Fix the login",
        "Retry policy",
        "A flaky test that fails now and then on a machine without a network",
        "Port it",
        "Write the docs",
        "Rename the flag",
    ]


def test_tasks_without_a_terminal_are_shown_whole() -> None:
    assert text(task_view.table(task_view.by_urgency(ALL), NOW, None)) == golden("""
ID         PRIO    STATE        FOR  AGENT  TRY   AGE  TITLE                                                                WHY
tk-01bbbb  urgent  queued        3m                3m  Fix the login
tk-09f21c          working       4m  cedar    1    5m  Retry policy
tk-01eeee          retry_wait    9s           1   20m  A flaky test that fails now and then on a machine without a network  tried again in 21s; exit_code: exit code 3: tests/test_net.py failed
tk-01cccc          queued        2h                2h  Port it                                                              0 of 2 agents: 2 no cobol
tk-01dddd          blocked      10s               10s  Write the docs                                                       waits for tk-09f21c
tk-01ffff  high    completed   2d1h  oak      1  2d2h  Rename the flag
""")  # noqa: E501


def test_tasks_at_110_cells() -> None:
    assert text(task_view.table(task_view.by_urgency(ALL), NOW, 110)) == golden("""
ID         PRIO    STATE        FOR  AGENT  TRY   AGE  TITLE                   WHY
tk-01bbbb  urgent  queued        3m                3m  Fix the login
tk-09f21c          working       4m  cedar    1    5m  Retry policy
tk-01eeee          retry_wait    9s           1   20m  A flaky test that fai…  tried again in 21s; exit_code:…
tk-01cccc          queued        2h                2h  Port it                 0 of 2 agents: 2 no cobol
tk-01dddd          blocked      10s               10s  Write the docs          waits for tk-09f21c
tk-01ffff  high    completed   2d1h  oak      1  2d2h  Rename the flag
""")


def test_tasks_at_60_cells() -> None:
    assert text(task_view.table(task_view.by_urgency(ALL), NOW, 60)) == golden("""
ID         PRIO    STATE        FOR  AGENT  TITLE
tk-01bbbb  urgent  queued        3m         Fix the login
tk-09f21c          working       4m  cedar  Retry policy
tk-01eeee          retry_wait    9s         A flaky test th…
tk-01cccc          queued        2h         Port it
tk-01dddd          blocked      10s         Write the docs
tk-01ffff  high    completed   2d1h  oak    Rename the flag
""")


def test_no_line_is_wider_than_the_terminal_down_to_what_cannot_be_left_out() -> None:
    for width in range(46, 200):
        table = task_view.table(ALL, NOW, width)
        assert max(line.cell_len for line in table) <= width


# --------------------------------------------------------------------- show


def test_a_waiting_task_shown_whole() -> None:
    page = task_view.page(RETRIED, {WORKING.spec.id: WORKING}, ["1 of 2 agents: 1 offline"], NOW, 110)
    assert text(page) == golden("""
tk-01eeee  A flaky test that fails now and then on a machine without a network
  id         0199c8ab-0000-7000-8000-00000001eeee
  state      retry_wait for 9s
  reason     tried again in 21s; exit_code: exit code 3: tests/test_net.py failed
  agents     1 of 2 agents: 1 offline
  submitted  09:33:20 (20m ago)
  priority   normal
  after      tk-09f21c (working)

text
  Do it.

TRY  AGENT  ASSIGNED  STARTED   TOOK  RESULT  REASON     EXIT    TOKENS   COST  DETAIL
  1  oak    09:34:20  09:34:20   18m  failed  exit_code     3  1,200+90  $0.02  exit code 3: tests/test_net.p…
""")


def test_a_completed_task_shown_whole() -> None:
    assert text(task_view.page(DONE, {}, [], NOW, None)) == golden("""
tk-01ffff  Rename the flag
  id         0199c8ab-0000-7000-8000-00000001ffff
  state      completed by oak in 12s
  summary    renamed it
             everywhere
  changed    cli.py, docs.md
  submitted  Tue 07:53 (2d2h ago)
  ended      Tue 08:53 (2d1h ago)
  priority   high

text
  Do it.

TRY  AGENT  ASSIGNED   TOOK  RESULT     EXIT  DETAIL
  1  oak    Tue 08:53   12s  completed     0  renamed it everywhere
""")


# --------------------------------------------------------------------- pool


def test_agents() -> None:
    assert text(pool_view.agents([ELM, OAK], BEATS, NOW, 110)) == golden("""
AGENT  LINK     HEALTH     ACTIVITY  SLOTS  BEAT  DONE  FAILED  SUCCESS  TASKS      SKILLS                HOST
elm    offline                         0/1                                          python 2              h2
oak    online   available  working     1/2    7s     7       1      93%  tk-09f21c  python 3, review 1,…  h1
""")


def test_agents_that_get_no_work_say_why_and_until_when() -> None:
    listed = [
        agent_of("ash", link="offline", left=True),
        agent_of("box", health="degraded", degraded_until=AT + 5 * M, health_why="3 attempts in a row failed"),
        agent_of("elm", health="rate_limited", limited_until=AT + M, health_why="429"),
        agent_of("fir", health="cordoned", cordoned=True, health_why="taken out of service by a person"),
        agent_of("oak", probation=True),
        agent_of("yew", health="degraded", unfit="disk", degraded_until=AT + M, health_why="disk: 3 MB free"),
    ]
    assert text(pool_view.agents(listed, {}, NOW, None)) == golden("""
AGENT  LINK     HEALTH        ACTIVITY  SLOTS  WHY
ash    offline                            0/1  it said goodbye
box    online   degraded      unknown     0/1  until 09:58:20: 3 attempts in a row failed
elm    online   rate_limited  unknown     0/1  until 09:54:20: 429
fir    online   cordoned      unknown     0/1  taken out of service by a person
oak    online   available     unknown     0/1  proves itself with one task at a time
yew    online   degraded      unknown     0/1  disk: 3 MB free
""")


def test_scripts_are_told_all_three_axes_of_an_agent() -> None:
    told = pool_view.agent_document(agent_of("elm", health="rate_limited", limited_until=AT, health_why="429"), None)
    axes = ("link", "health", "health_why", "limited_until_at", "activity")
    assert [told[axis] for axis in axes] == ["online", "rate_limited", "429", AT, "unknown"]


def test_of_very_many_agents_those_that_work_are_shown_and_then_those_that_can_be_heard() -> None:
    crowd = [agent_of(f"a{n}", link="offline") for n in range(3)] + [agent_of("b"), agent_of("c", running={"1": "t"})]
    assert [agent.name for agent in pool_view.most_telling(crowd, 3)] == ["a0", "b", "c"]


def test_a_beat_of_an_earlier_sidecar_tells_nothing_of_this_one() -> None:
    old = {"oak": Beat(agent="oak", incarnation="sc-0", count=4, at=AT, state="idle")}
    assert pool_view.activity_of(OAK, old["oak"]) == "unknown"


def test_scripts_are_told_how_many_reports_an_agent_has_not_sent_yet() -> None:
    behind = Beat(agent="oak", incarnation="sc-1", count=4, at=AT, state="idle", unsent=3)
    assert pool_view.agent_document(OAK, behind)["unsent"] == 3
    assert pool_view.agent_document(ELM, None)["unsent"] == 0


def test_the_journal() -> None:
    lines = [
        Line(AT - 26 * H, "task", "submit", "submitted", "queued", id_of(1)),
        Line(AT - 3 * S, "task", "match", "queued", "assigned", id_of(1), 2, "oak"),
        Line(
            AT - 2 * S, "task", "finished", "working", "retry_wait", id_of(1), 2, "oak", "exit_code", "exit code 3: no"
        ),
        Line(AT - 2 * S, "agent", "silence", "online", "stale", agent="oak"),
        Line(AT - S, "refused", "request", task=id_of(1), detail="its id stands twice in the submission"),
        Line(AT, "pool", "lead", detail="h1:812 leads with epoch 3, 12 open tasks"),
    ]
    assert text(pool_view.journal_line(line, NOW, 100) for line in lines) == golden("""
Wed 07:53  tk-000001  submitted → queued
09:53:17  tk-000001  queued → assigned  on oak · try 2
09:53:18  tk-000001  working → retry_wait  on oak · try 2 · finished · exit_code: exit code 3: no
09:53:18  oak        online → stale  silence
09:53:19  tk-000001  refused  request · its id stands twice in the submission
09:53:20  pool       lead  h1:812 leads with epoch 3, 12 open tasks
""")


def test_dead_letters_are_those_of_tasks_that_are_still_failed() -> None:
    letters = [
        DeadLetter(id_of(1), "Fix it", AT - M, "exit_code", "exit code 3: no", 4),
        DeadLetter(id_of(2), "Sent back", AT - M, "lost", "", 4),
        DeadLetter(id_of(1), "Fix it", AT - H, "lost", "", 4),
        DeadLetter(id_of(3), "Not kept", AT - H, "lost", "", 4),
    ]
    records = {id_of(1): record(1, "failed", AT, {}), id_of(2): record(2, "queued", AT, {})}
    assert text(pool_view.dead(pool_view.still_dead(letters, records), NOW, None)) == golden("""
ID         DIED     ATTEMPTS  REASON     TITLE   DETAIL
tk-000001  60s ago         4  exit_code  Fix it  exit code 3: no
""")


def test_the_monitor_in_plain_text() -> None:
    snapshot = Snapshot(
        at=AT,
        pool="default",
        latency_ms=0.42,
        leader="h1:812:beef",
        epoch=3,
        seq=99,
        inbox=2,
        reports=0,
        open=1_234,
        dead=1,
        agents=[ELM, OAK],
        beats=BEATS,
        tasks=[WORKING, URGENT, STRANDED, BLOCKED],
        orders=[
            Order("oak", f"{AT - 5 * M}-0", AT - 5 * M, WORKING.spec.id, "sc-1", 2_000, 1),
            Order("oak", f"{AT - S}-0", AT - S, "", "", 0, 0),
        ],
        lines=[Line(AT - 3 * S, "task", "match", "queued", "assigned", id_of(1), 1, "oak")],
        letters=[DeadLetter(id_of(9), "Fix it", AT - M, "exit_code", "exit code 3: no", 4)],
    )
    findings = [
        Finding(rule="agent_down", severity="critical", subject="agent:elm", text="elm is down", next_step="start it"),
        Finding(rule="slow", severity="notice", subject="task:x", text="x takes long"),
    ]
    assert text(plain.lines(snapshot, findings, NOW, 110)) == golden("""
AgentCom default · redis 0.4 ms · scheduler h1:812 · 2 agents, 1 offline
queued 2 (oldest 2h) ▸ blocked 1 ▸ working 1 · counted 4 of 1,234 open tasks · 2 unread in the inbox · 1 dead letter

findings: 1 critical, 1 notice
  ! critical  agent_down  elm is down
      start it
  · notice    slow  x takes long

agents
  AGENT  LINK     HEALTH     ACTIVITY  SLOTS  BEAT  DONE  FAILED  SUCCESS  TASKS      SKILLS              HOST
  elm    offline                         0/1                                          python 2            h2
  oak    online   available  working     1/2    7s     7       1      93%  tk-09f21c  python 3, review…   h1

orders (pending-entries lists)
  AGENT  ORDERED  RENEWED  DELIVERIES  TASK       STATE    TITLE         HELD BY
  oak     5m ago   2s ago           1  tk-09f21c  working  Retry policy  sc-1
  oak     1s ago                       ?                                 not read yet

journal
  09:53:17  tk-000001  queued → assigned  on oak
""")


# ------------------------------------------------------------------ explain


def test_an_explanation_names_every_agent() -> None:
    spec = TaskSpec(text="x", requires="python >= 3")
    birch = AgentRecord(name="birch", incarnation="sc-3", card=Card(attributes={"python": 4}))
    judged = judge(spec, None, [ELM, OAK, birch])
    assert text(lines(judged, None, NOW, None)) == golden("""
2 of 3 agents: 1 python 2 < 3
AGENT  COULD  WHY NOT
birch  now
oak    now
elm    no     python 2 < 3
""")


def test_an_agent_that_failed_a_task_is_passed_over_while_another_could_take_it() -> None:
    lost = attempt("oak", 1, AT - M, ended_at=AT, outcome=Outcome("lost", "lost"))
    retried = record(1, "queued", AT - H, {"requires": "python >= 2"}, attempts=(lost,))
    birch = AgentRecord(
        name="birch", incarnation="sc-3", card=Card(attributes={"python": 4}, slots=1), running={"t": "x"}
    )
    assert {agent.name: agent.now for agent in judge(retried.spec, retried, [OAK, birch])} == {
        "oak": "failed it before, and another could take it",
        "birch": "busy",
    }
    assert [agent.now for agent in judge(retried.spec, retried, [OAK])] == [""]


# --------------------------------------------------------------------- wait


def test_progress_counts_what_ended_and_what_is_to_come() -> None:
    heard: list[Line] = []
    progress = Progress([id_of(n) for n in (1, 2, 3)], heard.append)
    assert progress.sentence() == "0 of 3 tasks ended · 3 not taken on yet"
    progress.read({id_of(1): record(1, "queued", AT, {}), id_of(2): record(2, "blocked", AT, {})})
    progress.hear(Line(AT, "task", "match", "queued", "assigned", id_of(1), 1, "oak"))
    progress.hear(Line(AT, "task", "match", "queued", "assigned", id_of(9), 1, "oak"))
    assert progress.hear(Line(AT, "task", "finished", "assigned", "completed", id_of(1), 1, "oak")) is True
    assert len(progress.read({id_of(1): record(1, "completed", AT, {})})) == 1
    assert progress.sentence() == "1 of 3 tasks ended · 1 blocked · 1 not taken on yet"
    assert [line.after for line in heard] == ["assigned", "completed"]


def test_of_a_single_task_progress_names_the_agent() -> None:
    progress = Progress([id_of(1)], lambda _: None)
    progress.hear(Line(AT, "task", "accepted", "assigned", "working", id_of(1), 1, "oak"))
    assert progress.sentence() == "working on oak"


def test_transitions_and_endings_are_one_line_each() -> None:
    line = Line(AT, "task", "finished", "working", "retry_wait", id_of(1), 1, "oak", "exit_code")
    assert transition(line, "tk-000001").plain == "tk-000001  retry_wait: exit_code"
    assert ending(DONE, "tk-01ffff").plain == "tk-01ffff  completed by oak in 12s: renamed it everywhere"
    failed = record(1, "failed", AT, {}, reason="expired", detail="it was not done in time")
    assert ending(failed, "tk-000001").plain == "tk-000001  failed: expired: it was not done in time"


# -------------------------------------------------------------------- table


def test_columns_leave_by_rank_and_wide_characters_count_twice() -> None:
    columns = (Column("A"), Column("B", rank=1), Column("C", rank=2), Column("D", least=4))
    rows = [[said("aa"), said("bb"), said("cc"), said("日本語日本語")]]
    assert text(lay_out(columns, rows, 24)) == "A   B   C   D\naa  bb  cc  日本語日本語"
    assert text(lay_out(columns, rows, 16)) == "A   B   C   D\naa  bb  cc  日…"
    assert text(lay_out(columns, rows, 12)) == "A   B   D\naa  bb  日…"
    assert text(lay_out(columns, rows, 8)) == "A   D\naa  日…"
