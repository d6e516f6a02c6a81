"""A snapshot as plain text, once: for `agentcom monitor --once`, pipes and scripts. Pure."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from agentcom.ids import short, shorten
from agentcom.model.task import ReadRecord
from agentcom.monitor import pool_view, task_view
from agentcom.monitor.look import STYLES, Now
from agentcom.monitor.snapshot import Order, Snapshot
from agentcom.monitor.table import Column, lay_out, said
from agentcom.wording import age, count

LINES_SHOWN = 10
MARGIN = 2
STATES_SHOWN = ("queued", "blocked", "retry_wait", "assigned", "working")

ORDER_COLUMNS = (
    Column("AGENT", least=8),
    Column("ORDERED", right=True),
    Column("RENEWED", rank=2, right=True),
    Column("DELIVERIES", rank=3, right=True),
    Column("TASK"),
    Column("STATE", rank=1),
    Column("TITLE", least=16),
    Column("HELD BY", rank=4, least=12),
)


def lines(snapshot: Snapshot, now: Now, width: int | None) -> list[Text]:
    """All of it, section by section; a section with nothing in it is not shown."""
    told = [head(snapshot), queue(snapshot, now)]
    cells = width - MARGIN if width is not None else None
    sections = (
        ("agents", pool_view.agents(snapshot.agents, snapshot.beats, now, cells) if snapshot.agents else []),
        ("orders (pending-entries lists)", orders(snapshot, now, cells) if snapshot.orders else []),
        ("journal", [pool_view.journal_line(line, now, cells) for line in snapshot.lines[-LINES_SHOWN:]]),
    )
    for name, section in sections:
        if section:
            told += [Text(), Text(name, "bold"), *(Text(" " * MARGIN) + line for line in section)]
    return told


def head(snapshot: Snapshot) -> Text:
    """Redis, the scheduler, the agents: `AgentCom default · redis 0.4 ms · scheduler h1:812 · 5 agents, 1 offline`."""
    links = [agent.link for agent in snapshot.agents]
    gone = [f"{links.count(link):,} {link}" for link in ("stale", "offline") if link in links]
    shown = f" ({len(links):,} shown)" if len(links) < snapshot.agents_total else ""
    agents = ", ".join([count(snapshot.agents_total, "agent") + shown, *gone])
    leader = (
        said(f"scheduler {scheduler(snapshot)}") if snapshot.leader else said("no scheduler leads", STYLES["failed"])
    )
    return Text.assemble(
        said("AgentCom", "bold"),
        said(f" {snapshot.pool} · redis {snapshot.latency_ms:.1f} ms · "),
        leader,
        said(f" · {agents}", STYLES["offline"] if "offline" in links else ""),
    )


def scheduler(snapshot: Snapshot) -> str:
    """The leader as host and process."""
    host, _, rest = snapshot.leader.partition(":")
    return f"{host}:{rest.partition(':')[0]}" if rest else host


def queue(snapshot: Snapshot, now: Now) -> Text:
    """What waits and what runs: `queued 12 (oldest 3m) ▸ working 3 · 2 dead letters`."""
    states = snapshot.states()
    parts = [
        f"{state} {states[state]:,}{_oldest(snapshot, state, now)}"
        for state in STATES_SHOWN
        if states[state] or state in ("queued", "working")
    ]
    aside = [
        "" if snapshot.whole else f"counted {len(snapshot.tasks):,} of {count(snapshot.open, 'open task')}",
        f"{snapshot.inbox:,} unread in the inbox" if snapshot.inbox else "",
        f"{snapshot.reports:,} unread reports" if snapshot.reports else "",
        count(snapshot.dead, "dead letter") if snapshot.dead else "",
    ]
    return said(" · ".join([" ▸ ".join(parts), *filter(None, aside)]))


def _oldest(snapshot: Snapshot, state: str, now: Now) -> str:
    """Since when the oldest that is queued could have been worked on."""
    ready = [record.ready_at for record in snapshot.tasks if record.state == state and record.ready_at]
    return f" (oldest {now.since(min(ready))})" if state == "queued" and ready else ""


def orders(snapshot: Snapshot, now: Now, width: int | None) -> list[Text]:
    """One line for each order that an agent's stream holds."""
    records = {record.spec.id: record for record in snapshot.tasks}
    names = shorten({order.task for order in snapshot.orders if order.task})
    return lay_out(
        ORDER_COLUMNS,
        [_order_row(order, names.get(order.task, "?"), records.get(order.task), now) for order in snapshot.orders],
        width,
    )


def _order_row(order: Order, name: str, record: ReadRecord | None, now: Now) -> list[Text]:
    state = record.state if record is not None else ""
    return [
        said(order.agent, "bold"),
        said(now.ago(order.ordered_at)),
        said(f"{age(order.idle_ms / 1000)} ago" if order.consumer else ""),
        said(order.deliveries or ""),
        said(name, "bold"),
        said(state, STYLES.get(state, "")),
        said(record.spec.heading if record is not None else ""),
        said(order.consumer or "not read yet", "dim"),
    ]


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot for scripts. Times are Unix ms; 0 means never."""
    return {
        "pool": snapshot.pool,
        "at": snapshot.at,
        "redis_latency_ms": round(snapshot.latency_ms, 3),
        "leader": snapshot.leader,
        "epoch": snapshot.epoch,
        "seq": snapshot.seq,
        "inbox": snapshot.inbox,
        "reports": snapshot.reports,
        "open": snapshot.open,
        "counted": len(snapshot.tasks),
        "states": dict(snapshot.states()),
        "dead": snapshot.dead,
        "agents_total": snapshot.agents_total,
        "agents": [pool_view.agent_document(agent, snapshot.beats.get(agent.name)) for agent in snapshot.agents],
        "orders": [
            {
                "agent": order.agent,
                "entry": order.entry,
                "ordered_at": order.ordered_at,
                "task": order.task,
                "short": short(order.task) if order.task else "",
                "consumer": order.consumer,
                "idle_ms": order.idle_ms,
                "deliveries": order.deliveries,
            }
            for order in snapshot.orders
        ],
        "tasks": [task_view.brief(record) for record in task_view.by_urgency(snapshot.tasks)],
        "journal": [pool_view.journal_document("", line) for line in snapshot.lines],
    }
