"""The top of the screen: Redis, who leads, what there is of everything, the last hour, and what is wrong with the pool.

What does not fit is left out by rank, never by chance. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.text import Text

from agentcom.model.lifecycle import ENDED, NEXT, WAITING, TaskState
from agentcom.model.task import PRIORITIES, ReadRecord
from agentcom.monitor.findings_view import MARKS
from agentcom.monitor.findings_view import STYLES as SEVERITY_STYLES
from agentcom.monitor.live.history import Measure
from agentcom.monitor.live.picture import Picture
from agentcom.monitor.live.pictures import sparkline
from agentcom.monitor.live.state import VIEWS, State, View
from agentcom.monitor.look import STYLES, Now
from agentcom.monitor.plain import scheduler
from agentcom.monitor.pool_view import dead_now
from agentcom.monitor.table import cut, said
from agentcom.wording import compact, count, one_line, size

SEPARATOR = " · "
ARROW = " ▸ "
SPARK_LEAST = 60
SPARK_CELLS = 8
FLOW: tuple[TaskState, ...] = tuple(state for state in NEXT if state not in ENDED and state != "submitted")
SHORT = {"retry_wait": "retry", "input_required": "ask you"}
ALWAYS = ("queued", "working")
GAP = "   "
FLOWS: tuple[Measure, ...] = ("completed", "failed", "tokens")


class Away(Struct, frozen=True):
    """Redis does not answer.

    Attributes:
        since_at: since when, in Unix ms.
        why: what it said instead.
    """

    since_at: int
    why: str


class _Part(Struct, frozen=True):
    """A piece of a line.

    Attributes:
        rank: of several that do not fit, the one of the highest goes first, and one of 0 never.
        text: what it says; one without text is left out.
        behind: what parts it from the piece before it.
    """

    rank: int
    text: Text
    behind: str = SEPARATOR


def _joined(parts: Sequence[_Part], width: int) -> Text:
    kept = [part for part in parts if part.text.plain]
    while sum(part.text.cell_len + len(part.behind) for part in kept) - len(kept[0].behind if kept else "") > width:
        optional = [part for part in kept if part.rank]
        if not optional:
            break
        kept.remove(max(optional, key=lambda part: part.rank))
    line = Text()
    for part in kept:
        line.append_text(Text(part.behind) if line else Text()).append_text(part.text)
    return cut(line, width)


# ------------------------------------------------------------------- line one


def head(picture: Picture | None, state: State, away: Away | None, now: Now, width: int) -> Text:
    """Who and how it is, in one line."""
    name = Text("AgentCom", "bold")
    if picture is None:
        if away is None:
            return Text.assemble(name, "  looking for the first time …")
        return cut(Text.assemble(name, "  ", said(f"redis away: {away.why}", STYLES["failed"])), width)
    seen = picture.snapshot
    parts = [
        _Part(5, Text.assemble(name, " ", said(seen.pool))),
        _Part(0, _redis(picture, away, now)),
        _Part(6, said(_server(picture), "dim")),
        _Part(4, said(f"scheduler {scheduler(seen)}") if seen.leader else Text()),
        _Part(0, Text() if seen.leader else said("no scheduler leads", STYLES["failed"])),
        _Part(3, said(_agents(picture))),
        _Part(0, said(f"paused {now.since(seen.at)} ago", "bold") if state.paused else Text()),
        _Part(0, _attention(picture)),
    ]
    return _joined(parts, width)


def _redis(picture: Picture, away: Away | None, now: Now) -> Text:
    if away is not None:
        return said(f"redis away since {now.clock(away.since_at)}", STYLES["failed"])
    return said(f"redis ok {picture.snapshot.latency_ms:.1f} ms")


def _server(picture: Picture) -> str:
    server = picture.snapshot.server
    if server is None:
        return ""
    most = f"/{size(server.memory_max_bytes)}" if server.memory_max_bytes else ""
    memory = f"memory {size(server.memory_bytes)}{most}" if server.memory_bytes is not None else ""
    ok = server.aof_write in ("", "ok") and server.aof_rewrite in ("", "ok")
    aof = "" if server.aof is None else f"AOF {'off' if not server.aof else 'ok' if ok else 'failing'}"
    return SEPARATOR.join(part for part in (memory, aof) if part)


def _agents(picture: Picture) -> str:
    gone = sum(agent.link != "online" and not agent.left for agent in picture.snapshot.agents)
    total = count(len(picture.snapshot.agents), "agent")
    return f"{total} ({gone:,} silent)" if gone else total


def _attention(picture: Picture) -> Text:
    """How much a person should look at."""
    grave = [finding.severity for finding in picture.findings if finding.severity != "notice"]
    if not grave:
        return said("all well")
    needs = "needs" if len(grave) == 1 else "need"
    style = SEVERITY_STYLES["critical" if "critical" in grave else "warning"]
    return said(f"{len(grave):,} {needs} attention", style)


# ------------------------------------------------------------------- line two


def totals(picture: Picture, now: Now, width: int) -> Text:
    """What waits, what runs, what is done: `queued 12 (oldest 3m) ▸ working 3 ▸ done 148 · dead 1`."""
    seen = picture.snapshot
    states = seen.states()
    done = sum(agent.completed for agent in seen.agents)
    parts = [_state(picture, state, states[state], now, width) for state in FLOW if states[state] or state in ALWAYS]
    parts.append(_Part(2, said(f"done {done:,}"), ARROW))
    if not seen.whole:
        parts.append(_Part(1, said(f"first {len(seen.tasks):,} of {count(seen.open, 'open task')}", "bold")))
    if dead := dead_now(seen):
        parts.append(_Part(0, said(f"dead {dead}", STYLES["failed"])))
    if seen.inbox:
        parts.append(_Part(5, said(f"{seen.inbox:,} unread in the inbox")))
    if seen.reports:
        parts.append(_Part(6, said(f"{seen.reports:,} unread reports")))
    return _joined(parts, width)


def _state(picture: Picture, state: TaskState, number: int, now: Now, width: int) -> _Part:
    ready = [record.ready_at for record in picture.snapshot.tasks if record.state == state and record.ready_at]
    told = state == "queued" and ready and width >= SPARK_LEAST
    oldest = f" (oldest {now.since(min(ready))})" if told else ""
    style = STYLES.get(state, "") if number and state not in WAITING else ""
    words = said(f"{SHORT.get(state, state)} {number:,}{oldest}", style)
    return _Part(0 if state in ALWAYS else 4 if state == "blocked" else 3, words, ARROW)


# ----------------------------------------------------------------- line three


def last_hour(picture: Picture, width: int) -> Text:
    """How it went in the last hour, as small pictures; and from when on that is known, if not all of it is."""
    history, at = picture.history, picture.snapshot.at
    named: list[tuple[Measure, str]] = [("waiting", compact(picture.waiting))]
    for measure in FLOWS:
        if measure != "tokens" or any(history.series(measure, at)):
            named.append((measure, f"{compact(history.within_hour(measure, at))}/h"))
    since_at = history.since_at
    known = "" if since_at and at - since_at >= 3_500_000 else f"known for {max(0, at - since_at) // 60_000}m"
    words = sum(len(name) + len(told) + 2 for name, told in named) + 3 * len(named) + len(known)
    cells = min(30, max(SPARK_CELLS, (width - words) // len(named)))
    parts = [
        _Part(rank, _picture(name, history.series(name, at), cells, told), GAP)
        for rank, (name, told) in enumerate(named)
    ]
    return _joined([*parts, _Part(9, said(known, "dim"), GAP)], width)


def _picture(name: str, values: Sequence[float | None], cells: int, told: str) -> Text:
    return Text.assemble((f"{name} ", "dim"), (sparkline(values, cells), STYLES["assigned"]), f" {told}")


def lanes(picture: Picture, now: Now, width: int) -> Text:
    """What waits, by what it asks for and how urgent it is; the longest lane first, as far as there is room."""
    waiting: dict[str, list[ReadRecord]] = {}
    for record in picture.snapshot.tasks:
        if record.state == "queued":
            waiting.setdefault(record.spec.requires or "anything", []).append(record)
    ordered = sorted(waiting.items(), key=lambda lane: (-len(lane[1]), lane[0]))
    parts = [_Part(0, said("waiting by lane", "dim"))]
    parts += [_Part(rank, _lane(name, records, now)) for rank, (name, records) in enumerate(ordered, start=1)]
    return _joined(parts, width) if ordered else Text()


def _lane(name: str, records: Sequence[ReadRecord], now: Now) -> Text:
    urgent = [f"{number} {priority}" for priority in PRIORITIES if (number := _count(records, priority))]
    oldest = now.since(min(record.ready_at or record.submitted_at for record in records))
    kinds = f"{', '.join(urgent)}, " if urgent != [f"{len(records)} normal"] else ""
    return Text.assemble(said(one_line(name, 30), "bold"), said(f" {len(records):,} ({kinds}oldest {oldest})"))


def _count(records: Sequence[ReadRecord], priority: str) -> int:
    return sum(record.spec.priority == priority for record in records)


# ---------------------------------------------------------- what is wrong, tabs


def of_pool(picture: Picture, most: int, width: int) -> list[Text]:
    """What is wrong with the pool as a whole, at most so many lines; the gravest always."""
    findings = [finding for finding in picture.of_pool if finding.severity != "notice"]
    shown = findings[:most]
    lines = []
    for place, finding in enumerate(shown):
        hidden = len(findings) - most
        more = f" (+{hidden} more: 6)" if place == most - 1 and hidden > 0 else ""
        text = f"{MARKS[finding.severity]} {finding.text}"
        room = width - len(more)
        lines.append(Text.assemble(cut(said(text, SEVERITY_STYLES[finding.severity]), room), said(more, "dim")))
    return lines


def tabs(state: State, picture: Picture | None, shown: int, width: int) -> Text:
    """The views with their keys, the present one marked; and what of it is left out on purpose."""
    numbers = _numbers(picture, shown, state.view) if picture is not None else {}
    long = [_tab(view, place, state, numbers.get(view, "")) for place, view in enumerate(VIEWS, start=1)]
    short = [_tab(view, place, state, "") for place, view in enumerate(VIEWS, start=1)]
    here = [_tab(state.view, VIEWS.index(state.view) + 1, state, numbers.get(state.view, ""))]
    chosen = [
        f"sorted by {state.sorted_by(state.view)}" if state.sort.get(state.view) else "",
        "only problems" if state.problems else "",
        f"filter {state.filter!r}" if state.filter and not state.typing else "",
    ]
    aside = said("  ".join(filter(None, chosen)), "bold")
    for row in (long, short, here):
        line = Text("  ").join([*row, aside] if aside else row)
        if line.cell_len <= width:
            return line
    return cut(line, width)


def _tab(view: View, place: int, state: State, number: str) -> Text:
    words = f"{place} {view}{f' {number}' if number else ''}"
    return Text(f"[{words}]", "bold") if view == state.view else Text(words, "dim")


def _numbers(picture: Picture, shown: int, view: View) -> dict[View, str]:
    seen = picture.snapshot
    whole: dict[View, int] = {
        "agents": len(seen.agents),
        "tasks": seen.open,
        "dead": len(seen.letters),
        "findings": len(picture.findings),
    }
    numbers = {name: f"{total:,}" for name, total in whole.items() if total}
    if view in whole and shown < whole[view]:
        numbers[view] = f"{shown:,} of {whole[view]:,}"
    return numbers
