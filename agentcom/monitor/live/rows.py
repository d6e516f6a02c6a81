"""The rows of each view as columns; which of them are shown follows from the width. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace
from rich.text import Text

from agentcom.diagnosis import Finding
from agentcom.model.agent import AgentRecord
from agentcom.model.costs import Costs
from agentcom.model.lifecycle import RUNNING
from agentcom.model.messages import DeadLetter, Line
from agentcom.model.task import ReadRecord, Usage
from agentcom.monitor.costs_view import messages_a_task, overhead
from agentcom.monitor.findings_view import MARKS, WORD_CELLS
from agentcom.monitor.findings_view import STYLES as SEVERITY_STYLES
from agentcom.monitor.live.listing import Item, state_of
from agentcom.monitor.live.picture import Picture, begun_at
from agentcom.monitor.live.pictures import bar
from agentcom.monitor.live.state import View
from agentcom.monitor.look import STYLES, Now
from agentcom.monitor.pool_view import journal_line, skills, why
from agentcom.monitor.table import Column, lay_out, said
from agentcom.monitor.task_view import agent_of, since
from agentcom.monitor.task_view import why as why_task
from agentcom.wording import age, compact, dollars, one_line

CURSOR = "▸"
BAR_CELLS = 6
WORTH_READING = (16, 60)
"""The column that says what is wrong gets half of what is left behind the names, but no less and no more than this."""

NAMES_CELLS = 24
TIMES_SHOWN = 2
"""From so many times its estimate on, that is said as a number."""

LONG = 300


def table(
    view: View, items: Sequence[Item], selected: str, picture: Picture, now: Now, width: int
) -> tuple[Text, list[Text]]:
    """The heading, and a line for each row."""
    if view == "journal":
        return Text(), [_journal(item, selected, now, width) for item in items]
    columns, row = VIEWS[view]
    wide = max(WORTH_READING[0], min(WORTH_READING[1], (width - NAMES_CELLS) // 2))
    fitted = [replace(column, least=wide) if column.name in ("DIAGNOSIS", "WHY") else column for column in columns]
    cells = [[_mark(item, selected), *row(item, picture, now)] for item in items]
    heading, *lines = lay_out([Column("", least=2), *fitted], cells, width)
    return heading, [
        _chosen(line, width) if item.id == selected else line for item, line in zip(items, lines, strict=True)
    ]


def _mark(item: Item, selected: str) -> Text:
    """Whether it is selected, and how bad it is: seen without colours, too."""
    cursor = CURSOR if item.id == selected else " "
    if not item.findings:
        return Text(f"{cursor} ")
    severity = item.findings[0].severity
    return Text(f"{cursor}{MARKS[severity]}", SEVERITY_STYLES[severity])


def _chosen(line: Text, width: int) -> Text:
    line.pad_right(max(0, width - line.cell_len))
    line.stylize("reverse")
    return line


def _wrong(findings: Sequence[Finding], otherwise: str = "") -> Text:
    """What is wrong, without its subject; and if nothing is, what else there is to say."""
    if not findings:
        return said(otherwise, "dim")
    first, *more = findings
    return said(f"{first.gist or first.text}{f' (+{len(more)})' if more else ''}", SEVERITY_STYLES[first.severity])


# -------------------------------------------------------------------- agents

AGENT_COLUMNS = (
    Column("AGENT", least=8),
    Column("STATE"),
    Column("TASK", rank=1),
    Column("TITLE", rank=6, least=12),
    Column("TRY", rank=5, right=True),
    Column("AGE/EST", rank=2, right=True),
    Column("", rank=4),
    Column("BEAT", rank=3, right=True),
    Column("LEASE", rank=9, right=True),
    Column("DONE", rank=7, right=True),
    Column("FAILED", rank=7, right=True),
    Column("TODAY", rank=8, right=True),
    Column("DIAGNOSIS"),
    Column("SKILLS", rank=10, least=16),
    Column("HOST", rank=11, least=6),
)


def _agent(item: Item, picture: Picture, now: Now) -> list[Text]:
    agent: AgentRecord = item.about
    state = state_of(picture, agent)
    running = picture.running(agent)
    record = running[0] if running else None
    renewed = [order.idle_ms for order in picture.orders.get(agent.name, ()) if order.consumer]
    age_ms = picture.beat_age_ms(agent)
    cost = picture.costs.today.get(agent.name)
    return [
        said(agent.name, "bold"),
        said(state, STYLES.get(state, "")),
        said(_held(agent, record, picture)),
        said(record.spec.heading if record is not None else "", "dim"),
        said(record.generation if record is not None else ""),
        said(_pace(record, now) if record is not None else ""),
        said(progress(record, now) if record is not None else ""),
        said(age(age_ms / 1000) if age_ms is not None else ""),
        said(age(max(renewed) / 1000) if renewed else ""),
        said(agent.completed or ""),
        said(agent.failed or ""),
        said(tokens(cost.usage) if cost is not None else ""),
        _wrong(item.findings, why(agent, now)),
        said(skills(agent), "dim"),
        said(agent.card.host, "dim"),
    ]


def _held(agent: AgentRecord, record: ReadRecord | None, picture: Picture) -> str:
    """Which task it has; of several, the one that most is wrong with, and how many more."""
    held = len(set(agent.running.values()))
    if not held:
        return ""
    shown = record.spec.id if record is not None else min(agent.running.values())
    return f"{picture.name(shown)}{f' +{held - 1}' if held > 1 else ''}"


def _pace(record: ReadRecord, now: Now) -> str:
    """How long it has been worked on, of how long its submitter thought: `45m/5m`."""
    expected = f"/{age(record.spec.expect_s)}" if record.spec.expect_s else ""
    return f"{now.since(begun_at(record))}{expected}"


def progress(record: ReadRecord, now: Now) -> str:
    """The time that work has taken against its estimate; nothing without one, or for work that is not under way."""
    if not record.spec.expect_s or record.state not in RUNNING:
        return ""
    share = max(0.0, (now.ms - begun_at(record)) / 1000 / record.spec.expect_s)
    times = f" {int(share)}×" if share >= TIMES_SHOWN else ""
    return f"{bar(share, BAR_CELLS)}{times}"


def tokens(usage: Usage) -> str:
    """How many tokens, in three digits; empty for none."""
    return compact(usage.tokens) if usage.tokens else ""


# --------------------------------------------------------------------- tasks

TASK_COLUMNS = (
    Column("ID"),
    Column("PRIO", rank=3),
    Column("STATE", least=9),
    Column("FOR", rank=1, right=True),
    Column("AGENT", rank=2, least=5),
    Column("TRY", rank=6, right=True),
    Column("", rank=7),
    Column("AGE", rank=8, right=True),
    Column("LANE", rank=5, least=8),
    Column("TITLE", rank=4, least=12),
    Column("TOKENS", rank=9, right=True),
    Column("WHY"),
)


def _task(item: Item, picture: Picture, now: Now) -> list[Text]:
    record: ReadRecord = item.about
    priority = record.spec.priority
    return [
        said(picture.name(record.spec.id), "bold"),
        said("" if priority == "normal" else priority, "bold" if priority == "urgent" else ""),
        said(record.state, STYLES.get(record.state, "")),
        said(now.since(since(record))),
        said(agent_of(record)),
        said(record.generation or ""),
        said(progress(record, now)),
        said(now.since(record.submitted_at)),
        said(record.spec.requires, "dim"),
        said(record.spec.heading),
        said(tokens(record.spent)),
        _wrong(item.findings, why_task(record, now)),
    ]


# -------------------------------------------------------------- dead letters

DEAD_COLUMNS = (
    Column("ID"),
    Column("DIED", rank=1),
    Column("TRIES", rank=3, right=True),
    Column("REASON"),
    Column("TITLE", rank=2, least=12),
    Column("WHY"),
)


def _dead(item: Item, picture: Picture, now: Now) -> list[Text]:
    letter: DeadLetter = item.about
    return [
        said(picture.name(letter.task), "bold"),
        said(now.ago(letter.at)),
        said(letter.attempts),
        said(letter.reason, STYLES["failed"]),
        said(letter.title),
        said(one_line(letter.detail, LONG), "dim"),
    ]


# --------------------------------------------------------------------- costs

COST_COLUMNS = (
    Column("DAY"),
    Column("AGENT", rank=1, least=5),
    Column("TRIES", rank=3, right=True),
    Column("DONE", right=True),
    Column("TOKENS", right=True),
    Column("READ", rank=5, right=True),
    Column("WRITTEN", rank=5, right=True),
    Column("CACHED", rank=6, right=True),
    Column("COST", right=True),
    Column("A TASK", rank=2, right=True),
    Column("OVERHEAD", rank=4, right=True),
    Column("MESSAGES", rank=7, right=True),
    Column("WORKED", rank=4, right=True),
)


def _cost(item: Item, _picture: Picture, _now: Now) -> list[Text]:
    day, agent, cost = item.about
    usage = cost.usage
    return [
        said(day, "bold" if not agent else ""),
        said(agent),
        said(f"{cost.attempts:,}"),
        said(f"{cost.completed:,}"),
        said(tokens(usage)),
        said(tokens(Usage(usage.input_tokens))),
        said(tokens(Usage(usage.output_tokens))),
        said(tokens(Usage(usage.cache_read_tokens + usage.cache_write_tokens))),
        said(dollars(usage.cost_usd)),
        said(dollars(usage.cost_usd / cost.completed) if cost.completed else ""),
        said(_overhead(cost)),
        said(_messages(cost)),
        said(age(cost.seconds) if cost.seconds else ""),
    ]


def _overhead(cost: Costs) -> str:
    share = overhead(cost)
    return "" if share is None else f"{share:.0%}"


def _messages(cost: Costs) -> str:
    number = messages_a_task(cost)
    return f"{number:.1f}" if number else ""


# ------------------------------------------------------------------ findings

FINDING_COLUMNS = (
    Column("SEVERITY", rank=1, least=WORD_CELLS),
    Column("FINDING"),
    Column("SINCE", rank=2, right=True),
    Column("DIAGNOSIS"),
)


def _finding(item: Item, _picture: Picture, now: Now) -> list[Text]:
    finding: Finding = item.about
    return [
        said(finding.severity, SEVERITY_STYLES[finding.severity]),
        said(finding.rule, "bold"),
        said(now.since(finding.since_at)),
        said(finding.text),
    ]


def _journal(item: Item, selected: str, now: Now, width: int) -> Text:
    line: Line = item.about
    chosen = item.id == selected
    text = Text.assemble(CURSOR if chosen else " ", " ", journal_line(line, now, width - 2))
    return _chosen(text, width) if chosen else text


Row = Callable[[Item, Picture, Now], list[Text]]

VIEWS: dict[View, tuple[tuple[Column, ...], Row]] = {
    "agents": (AGENT_COLUMNS, _agent),
    "tasks": (TASK_COLUMNS, _task),
    "dead": (DEAD_COLUMNS, _dead),
    "costs": (COST_COLUMNS, _cost),
    "findings": (FINDING_COLUMNS, _finding),
}
