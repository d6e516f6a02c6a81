"""What the demonstration shows: while it runs, and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentcom.demo.story import Change, Ending, Kill
from agentcom.model.agent import AgentRecord
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.task import ReadRecord
from agentcom.wording import one_line

WORDS_WIDTH = 100
_STYLES = {
    "completed": "green",
    "working": "bold cyan",
    "assigned": "cyan",
    "verifying": "bold cyan",
    "retry_wait": "yellow",
    "failed": "bold red",
    "rejected": "bold red",
    "canceled": "red",
}
_LINKS = {"online": ("●", "green"), "stale": ("◌", "yellow"), "offline": ("○", "red")}


@dataclass(slots=True)
class View:
    """What is known at one moment. `words` is the last line that each running task printed, by slug."""

    elapsed_s: float
    slugs: Sequence[str]
    records: Mapping[str, ReadRecord] = field(default_factory=dict)
    agents: Sequence[AgentRecord] = ()
    after: Mapping[str, Sequence[str]] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    kill: Kill | None = None
    milestones: Sequence[tuple[float, str]] = ()


def live(view: View) -> RenderableType:
    """The view while tasks run."""
    states = Counter(record.state for record in view.records.values())
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items(), key=lambda pair: pair[0]))
    title = Text.assemble(
        ("AgentCom demo", "bold"), f"   {view.elapsed_s:4.0f} s   {len(view.slugs)} tasks: {counted or 'none yet'}"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    for name, width in (("task", 16), ("state", 10), ("agent", 6), ("try", 3)):
        table.add_column(name, width=width, no_wrap=True, justify="right" if name == "try" else "left")
    table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for slug in view.slugs:
        table.add_row(*_live_row(slug, view))
    told = [
        Text(f"{at:5.1f} s  {words}", style="dim", no_wrap=True, overflow="ellipsis") for at, words in view.milestones
    ]
    return Padding(Group(title, Text(), table, Text(), _agents(view), Text(), *told), (0, 1))


def _live_row(slug: str, view: View) -> tuple[RenderableType, ...]:
    record = view.records.get(slug)
    if record is None:
        return (slug, Text("-", style="dim"), "", "", "")
    last = record.attempts[-1] if record.attempts else None
    shown = last is not None and (record.state in RUNNING or record.state in ENDED)
    return (
        slug,
        Text(record.state, style=_STYLES.get(record.state, "dim")),
        last.agent if last is not None and shown else "",
        str(len(record.attempts)) if record.attempts else "",
        Text(_note(slug, record, view), style="" if record.state in RUNNING else "dim"),
    )


def _note(slug: str, record: ReadRecord, view: View) -> str:
    """The most telling line about a task."""
    if record.state in RUNNING:
        words = view.words.get(slug, "")
    elif record.state == "blocked":
        words = f"after {', '.join(view.after.get(slug, ()))}"
    elif record.outcome is not None:
        words = record.outcome.summary
    else:
        words = f"{record.reason}: {record.detail}" if record.reason else ""
    return one_line(words, WORDS_WIDTH)


def _agents(view: View) -> Text:
    line = Text("agents  ", style="dim")
    for agent in view.agents:
        mark, style = _LINKS[agent.link]
        line.append(f"{mark} {agent.name} ", style=style)
        note = f"{len(agent.running)}/{agent.card.slots}"
        if view.kill is not None and agent.name == view.kill.agent:
            note = "killed, not noticed yet" if agent.link == "online" else f"killed, {agent.link}"
        line.append(f"{note}     ", style="dim" if note[0].isdigit() else "bold red")
    return line


def change_line(slug: str, record: ReadRecord) -> str:
    """One line for those who watch without a terminal: a task is in another state than before."""
    agent = record.attempts[-1].agent if record.attempts and record.state in (RUNNING | ENDED) else ""
    number = f"try {len(record.attempts)}" if len(record.attempts) > 1 else ""
    told = record.outcome.summary if record.outcome is not None else ""
    told = told or (f"{record.reason}: {record.detail}" if record.reason and record.state not in RUNNING else "")
    return f"{slug:<16} {record.state:<10} {agent:<6} {number:<5} {one_line(told, WORDS_WIDTH)}".rstrip()


def summary(
    ending: Ending, told: Sequence[tuple[float, str]], wrong: Sequence[str], elapsed_s: float
) -> RenderableType:
    """What is left to read at the end: every task, the kill, the project's own tests, and the verdict."""
    parts: list[RenderableType] = [_table(ending), Text()]
    if ending.kill is not None:
        parts.append(Text(f"What the journal says of the kill of {ending.kill.agent}", style="bold"))
        parts.append(_indented(told))
        parts.append(Text())
    parts.append(Text.assemble(("The project's own tests", "bold"), f": {ending.before}; now {ending.after}"))
    parts.append(Text())
    if wrong:
        parts.append(Text(f"Not as it should be, after {elapsed_s:.0f} s:", style="bold red"))
        parts += [Text(f"  {line}") for line in wrong]
    else:
        parts.append(Text(f"Every task ended as it should, in {elapsed_s:.0f} s.", style="bold green"))
    return Group(*parts)


def _table(ending: Ending) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("task", "state", "agent", "attempts", "took", "what changed"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("took",) else "left")
    for slug, record in ending.records.items():
        last = record.attempts[-1] if record.attempts else None
        took_s = (record.ended_at - record.attempts[0].assigned_at) / 1000 if record.attempts else 0
        table.add_row(
            slug,
            Text(record.state, style=_STYLES.get(record.state, "")),
            last.agent if last is not None else "",
            _attempts(record),
            f"{took_s:.1f} s",
            _changed(ending.changes.get(slug)),
        )
    return table


def _indented(told: Sequence[tuple[float, str]]) -> Table:
    """Times since the kill, and what happened, which may take several lines."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for at, words in told:
        table.add_row(f"  +{at:.1f} s", words)
    return table


def _attempts(record: ReadRecord) -> str:
    if len(record.attempts) < 2:
        return str(len(record.attempts))
    ends = (f"{attempt.outcome.result if attempt.outcome else '?'}" for attempt in record.attempts[:-1])
    return f"{len(record.attempts)} ({', '.join(ends)} first)"


def _changed(change: Change | None) -> str:
    if change is None:
        return "nothing"
    return f"{change.files} {'file' if change.files == 1 else 'files'}, +{change.added} -{change.deleted}"
