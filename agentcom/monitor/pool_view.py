"""Agents, the journal, dead letters and settings as people and scripts see them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.text import Text

from agentcom.capability import quote
from agentcom.diagnosis.snapshot import Snapshot
from agentcom.ids import short, shorten
from agentcom.model.agent import AgentRecord, Attribute
from agentcom.model.messages import Beat, DeadLetter, Line
from agentcom.model.task import ReadRecord
from agentcom.monitor.look import STYLES, Now
from agentcom.monitor.table import Column, cut, lay_out, said
from agentcom.wording import one_line

# ------------------------------------------------------------------- agents

AGENT_COLUMNS = (
    Column("AGENT", least=8),
    Column("LINK"),
    Column("HEALTH"),
    Column("ACTIVITY"),
    Column("SLOTS", right=True),
    Column("BEAT", rank=1, right=True),
    Column("DONE", rank=3, right=True),
    Column("FAILED", rank=3, right=True),
    Column("SUCCESS", rank=4, right=True),
    Column("TASKS", rank=2, least=9),
    Column("WHY", rank=2, least=16),
    Column("SKILLS", rank=5, least=16),
    Column("HOST", rank=6, least=6),
)


def most_telling(agents: Iterable[AgentRecord], most: int) -> list[AgentRecord]:
    """By name; of more than so many, those that work, and then those that are not offline."""
    kept = sorted(agents, key=lambda agent: (not agent.running, agent.link == "offline"))[:most]
    return sorted(kept, key=lambda agent: agent.name)


def activity_of(agent: AgentRecord, beat: Beat | None) -> str:
    """What its own last beat says that it does; unknown without one that its current sidecar sent."""
    if agent.link == "offline":
        return ""
    return beat.state if beat is not None and beat.incarnation == agent.incarnation else "unknown"


def health_of(agent: AgentRecord) -> str:
    """Whether it should be given work; nothing is to be said of one that is offline and was all right."""
    return "" if agent.link == "offline" and agent.health == "available" else agent.health


def why(agent: AgentRecord, now: Now) -> str:
    """Why it gets no work, or not as much as it could, and until when; empty if nothing is the matter."""
    if agent.left:
        return "it said goodbye"
    if agent.health == "available":
        return "proves itself with one task at a time" if agent.probation else ""
    until = agent.limited_until if agent.health == "rate_limited" else agent.degraded_until
    timed = agent.health in ("rate_limited", "degraded") and not agent.unfit and until > now.ms
    return ": ".join(part for part in (f"until {now.clock(until)}" if timed else "", agent.health_why) if part)


def agents(records: Sequence[AgentRecord], beats: Mapping[str, Beat], now: Now, width: int | None) -> list[Text]:
    """One line for each agent."""
    return lay_out(AGENT_COLUMNS, [_agent_row(agent, beats.get(agent.name), now) for agent in records], width)


def _agent_row(agent: AgentRecord, beat: Beat | None, now: Now) -> list[Text]:
    card = agent.card
    done = agent.completed + agent.failed
    running = sorted(set(agent.running.values()))
    return [
        said(agent.name, "bold"),
        said(agent.link, STYLES.get(agent.link, "")),
        said(health_of(agent), STYLES.get(health_of(agent), "")),
        said(activity_of(agent, beat), STYLES.get(activity_of(agent, beat), "")),
        said(f"{len(agent.running)}/{card.slots}"),
        said(now.since(beat.at) if beat is not None else ""),
        said(agent.completed or ""),
        said(agent.failed or ""),
        said(f"{agent.success:.0%}" if done else ""),
        said(" ".join(short(task) for task in running)),
        said(why(agent, now)),
        said(skills(agent)),
        said(card.host),
    ]


def skills(agent: AgentRecord) -> str:
    """Its attributes in one line, levels first: `python 3, review 1, os linux`."""

    def rank(attribute: tuple[str, Attribute]) -> tuple[bool, str]:
        name, value = attribute
        return isinstance(value, str | bool), name

    ordered = sorted(agent.card.attributes.items(), key=rank)
    return ", ".join(name if value is True else f"{name} {quote(value)}" for name, value in ordered)


def agent_document(agent: AgentRecord, beat: Beat | None) -> dict[str, Any]:
    """An agent for scripts, as `agentcom agents --json` lists it. Times are Unix ms; 0 means never."""
    return {
        "name": agent.name,
        "link": agent.link,
        "link_since_at": agent.since_at,
        "left": agent.left,
        "health": agent.health,
        "health_since_at": agent.health_at,
        "health_why": agent.health_why,
        "cordoned": agent.cordoned,
        "draining": agent.draining,
        "unfit": agent.unfit,
        "damage": agent.damage,
        "degraded_until_at": agent.degraded_until,
        "limited_until_at": agent.limited_until,
        "probation": agent.probation,
        "strikes": agent.strikes,
        "starts": list(agent.starts),
        "activity": activity_of(agent, beat),
        "activity_since_at": agent.activity_at,
        "beat_at": beat.at if beat is not None else 0,
        "unsent": beat.unsent if beat is not None else 0,
        "slots": agent.card.slots,
        "free_slots": agent.free_slots,
        "running": sorted(set(agent.running.values())),
        "completed": agent.completed,
        "failed": agent.failed,
        "success": round(agent.success, 4),
        "attributes": agent.card.attributes,
        "accepts": agent.card.accepts,
        "context_tokens": agent.card.context_tokens,
        "runner": agent.card.runner,
        "host": agent.card.host,
        "version": agent.card.version,
        "incarnation": agent.incarnation,
    }


# ------------------------------------------------------------------ journal


def journal_line(line: Line, now: Now, width: int | None) -> Text:
    """A line of the journal in one line: `12:04:31  tk-9f21c4  queued → assigned  oak  match`."""
    subject = short(line.task) if line.task else line.agent or line.what
    text = Text.assemble(
        (f"{now.clock(line.at):<8}  ", "dim"), said(f"{subject:<9}", "bold"), "  ", *_step(line), said(_aside(line))
    )
    return cut(text, width)


def _step(line: Line) -> list[Text]:
    if line.what == "refused":
        return [said("refused  ", STYLES["rejected"])]
    if not line.after and not line.before:
        return [said(f"{line.trigger}  ")]
    after = line.after or "forgotten"
    before = f"{line.before} → " if line.before else ""
    return [said(before, "dim"), said(f"{after}  ", STYLES.get(after, ""))]


def _aside(line: Line) -> str:
    """Who, why and how it came about, as far as there is anything to say."""
    who = f"on {line.agent}" if line.agent and line.task else ""
    try_ = f"try {line.generation}" if line.generation > 1 and line.task else ""
    trigger = line.trigger if line.what != "pool" and line.trigger not in ("match", "submit") else ""
    why = ": ".join(part for part in (line.reason, one_line(line.detail, 500)) if part)
    return " · ".join(part for part in (who, try_, trigger, why) if part)


def journal_document(entry: str, line: Line) -> dict[str, Any]:
    """A line of the journal for scripts; `id` is the entry of the stream that carries it, with up to 31 others."""
    empty = {field.name: field.default for field in msgspec.structs.fields(Line) if not field.required}
    told: dict[str, Any] = msgspec.to_builtins(line)
    return {"id": entry} | empty | told


# --------------------------------------------------------------- dead letters

DEAD_COLUMNS = (
    Column("ID"),
    Column("DIED"),
    Column("ATTEMPTS", rank=2, right=True),
    Column("REASON"),
    Column("TITLE", least=16),
    Column("DETAIL", rank=1, least=24),
)


LETTERS_MAX = 100
"""So many letters, the last that were written, are looked at."""


def still_dead(letters: Sequence[DeadLetter], records: Mapping[str, ReadRecord]) -> list[DeadLetter]:
    """The latest letter of each task that is failed now: not of those that were sent back, or are not kept any more."""
    latest: dict[str, DeadLetter] = {}
    for letter in letters:
        record = records.get(letter.task)
        if record is not None and record.state == "failed":
            latest.setdefault(letter.task, letter)
    return list(latest.values())


def dead_now(snapshot: Snapshot) -> str:
    """How many tasks are dead now: `3`, or `3+` where there are letters that were not looked at; empty for none."""
    more = "+" if snapshot.dead > LETTERS_MAX else ""
    return f"{len(snapshot.letters):,}{more}" if snapshot.letters else ""


def dead_document(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter for scripts. `died_at` is Unix ms."""
    return {
        "id": letter.task,
        "short": short(letter.task),
        "title": letter.title,
        "died_at": letter.at,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "detail": letter.detail,
    }


def dead(letters: Sequence[DeadLetter], now: Now, width: int | None) -> list[Text]:
    """One line for each dead letter."""
    names = shorten({letter.task for letter in letters})
    rows = [
        [
            said(names[letter.task], "bold"),
            said(now.ago(letter.at)),
            said(letter.attempts),
            said(letter.reason, STYLES["failed"]),
            said(letter.title),
            said(one_line(letter.detail, 500), "dim"),
        ]
        for letter in letters
    ]
    return lay_out(DEAD_COLUMNS, rows, width)


# ------------------------------------------------------------------ settings

CONFIG_COLUMNS = (Column("SETTING"), Column("FROM", least=12), Column("VALUE", least=16))


def config(settings: Sequence[tuple[str, str, str]], width: int | None) -> list[Text]:
    """One line for each setting; what is not at its default stands out."""
    rows = [
        [said(key, "" if source == "default" else "bold"), said(source, "dim"), said(value)]
        for key, value, source in settings
    ]
    return lay_out(CONFIG_COLUMNS, rows, width)
