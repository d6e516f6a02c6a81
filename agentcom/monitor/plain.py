"""A snapshot as plain text, once: for `agentcom monitor --once`, pipes and scripts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.text import Text

from agentcom.diagnosis import Finding, Order, Snapshot
from agentcom.ids import short, shorten
from agentcom.model.task import ReadRecord
from agentcom.monitor import findings_view, pool_view, task_view
from agentcom.monitor.look import STYLES, Now
from agentcom.monitor.table import Column, lay_out, said
from agentcom.wording import age, count

LINES_SHOWN = 10
FINDINGS_SHOWN = 12
AGENTS_SHOWN = 500
ORDERS_SHOWN = 500
MARGIN = 2
STATES_SHOWN = ("queued", "blocked", "retry_wait", "assigned", "working", "verifying")

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


def lines(
    snapshot: Snapshot, findings: Sequence[Finding], now: Now, width: int | None, *, whole: bool = False
) -> list[Text]:
    """All of it, section by section; a section with nothing in it is not shown. `whole`: every finding is."""
    told = [head(snapshot), queue(snapshot, now)]
    cells = width - MARGIN if width is not None else None
    agents = pool_view.most_telling(snapshot.agents, AGENTS_SHOWN)
    sections = (
        (
            f"findings: {findings_view.summary(findings)}",
            findings_view.lines(findings, cells, None if whole else FINDINGS_SHOWN),
        ),
        ("agents", pool_view.agents(agents, snapshot.beats, now, cells) if agents else []),
        (_orders_title(len(snapshot.orders)), orders(snapshot, now, cells) if snapshot.orders else []),
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
    shown = f" ({AGENTS_SHOWN:,} shown)" if len(links) > AGENTS_SHOWN else ""
    agents = ", ".join([count(len(links), "agent") + shown, *gone])
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
        f"{dead} {'dead letter' if dead == '1' else 'dead letters'}" if (dead := pool_view.dead_now(snapshot)) else "",
    ]
    return said(" · ".join([" ▸ ".join(parts), *filter(None, aside)]))


def _oldest(snapshot: Snapshot, state: str, now: Now) -> str:
    """Since when the oldest that is queued could have been worked on."""
    ready = [record.ready_at for record in snapshot.tasks if record.state == state and record.ready_at]
    return f" (oldest {now.since(min(ready))})" if state == "queued" and ready else ""


def _orders_title(total: int) -> str:
    shown = f", first {ORDERS_SHOWN:,} of {total:,}" if total > ORDERS_SHOWN else ""
    return f"orders (pending-entries lists{shown})"


def orders(snapshot: Snapshot, now: Now, width: int | None) -> list[Text]:
    """One line for each order that an agent's stream holds, of a bounded number."""
    records = {record.spec.id: record for record in snapshot.tasks}
    return order_lines(snapshot.orders[:ORDERS_SHOWN], records, now, width)


def order_lines(shown: Sequence[Order], records: Mapping[str, ReadRecord], now: Now, width: int | None) -> list[Text]:
    """One line for each of these orders."""
    names = shorten({order.task for order in shown if order.task})
    rows = [_order_row(order, names.get(order.task, "?"), records.get(order.task), now) for order in shown]
    return lay_out(ORDER_COLUMNS, rows, width)


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


def document(snapshot: Snapshot, findings: Sequence[Finding]) -> dict[str, Any]:
    """The snapshot for scripts, and what is wrong with it. Times are Unix ms; 0 means never."""
    return {
        "pool": snapshot.pool,
        "at": snapshot.at,
        "redis_latency_ms": round(snapshot.latency_ms, 3),
        "redis": msgspec.to_builtins(snapshot.server) if snapshot.server is not None else None,
        "clock_skew_ms": snapshot.skew_ms,
        "findings": [findings_view.document(finding) for finding in findings],
        "leader": snapshot.leader,
        "epoch": snapshot.epoch,
        "seq": snapshot.seq,
        "inbox": snapshot.inbox,
        "inbox_since_at": snapshot.inbox_since_at,
        "reports": snapshot.reports,
        "reports_since_at": snapshot.reports_since_at,
        "signs": snapshot.signs,
        "open": snapshot.open,
        "counted": len(snapshot.tasks),
        "states": dict(snapshot.states()),
        "dead": snapshot.dead,
        "agents_total": len(snapshot.agents),
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
