"""Everything there is to say of one agent or one task, as lines to scroll through. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from agentcom.capability import InvalidRequirement
from agentcom.diagnosis import Finding
from agentcom.ids import short
from agentcom.model.agent import AgentRecord
from agentcom.model.lifecycle import ENDED, WAITING
from agentcom.model.messages import Beat
from agentcom.model.task import Attempt, ReadRecord
from agentcom.monitor import plain, pool_view, task_view
from agentcom.monitor.explain_view import Judged, held_for, judge
from agentcom.monitor.explain_view import lines as explain_lines
from agentcom.monitor.explain_view import summary as explained
from agentcom.monitor.findings_view import MARKS
from agentcom.monitor.findings_view import STYLES as SEVERITY_STYLES
from agentcom.monitor.live.listing import state_of
from agentcom.monitor.live.picture import AGENT, TASK, Picture
from agentcom.monitor.live.rows import progress, tokens
from agentcom.monitor.look import STYLES, Now, took
from agentcom.monitor.table import cut, folded, said
from agentcom.wording import age, count, dollars, one_line

OUTPUT_SHOWN = 12
TAKERS_SHOWN = 8
LONG = 500
MARGIN = 14


def page(subject: str, picture: Picture, now: Now, width: int) -> list[Text]:
    """The page of `agent:NAME` or `task:ID`."""
    kind, _, name = subject.partition(":")
    if kind + ":" == AGENT:
        agent = picture.agents.get(name)
        lines = _agent(agent, picture, now, width) if agent is not None else [said(f"{name} is no agent of the pool")]
    else:
        record = picture.records.get(name)
        missing = "is not kept any more, or has not been read yet"
        lines = _task(record, picture, now, width) if record is not None else [said(f"{short(name)} {missing}")]
    return [part for line in lines for part in folded(line, width)]


def _section(name: str, lines: Sequence[Text]) -> list[Text]:
    return [Text(), Text(name, "bold"), *(Text("  ") + line for line in lines)] if lines else []


def _fact(name: str, *words: str, style: str = "") -> list[Text]:
    """A name and what is to be said of it; nothing if nothing is."""
    told = "  ".join(filter(None, words))
    return [Text.assemble((f"  {name:<{MARGIN}}", "dim"), said(told, style))] if told else []


def _trouble(findings: Iterable[Finding], now: Now) -> list[Text]:
    """Each with what says so, and what to do."""
    lines: list[Text] = []
    for finding in findings:
        since = f" (for {now.since(finding.since_at)})" if finding.since_at else ""
        head = f"{MARKS[finding.severity]} {finding.rule}: {finding.gist or finding.text}{since}"
        lines.append(said(head, SEVERITY_STYLES[finding.severity]))
        lines += [said(f"    {line}") for line in finding.evidence]
        lines += [Text.assemble("  → ", said(finding.next_step))] if finding.next_step else []
    return lines


# --------------------------------------------------------------------- agent


def _agent(agent: AgentRecord, picture: Picture, now: Now, width: int) -> list[Text]:
    beat = picture.snapshot.beats.get(agent.name)
    state = state_of(picture, agent)
    running = picture.running(agent)
    findings = [*picture.of_subject.get(AGENT + agent.name, ())]
    findings += [finding for record in running for finding in picture.of_subject.get(TASK + record.spec.id, ())]
    head = Text.assemble(said(agent.name, "bold"), "  ", said(state, STYLES.get(state, "")))
    lines = [head, *_trouble(findings, now), *_axes(agent, beat, picture, now), *_card(agent)]
    lines += _section("works on", _works_on(running, beat, picture, now))
    orders = picture.orders.get(agent.name, [])
    lines += _section("pending entries", plain.order_lines(orders, picture.records, now, width - 2) if orders else [])
    return lines + _section(*_recent(agent, picture, now, width))


def _axes(agent: AgentRecord, beat: Beat | None, picture: Picture, now: Now) -> list[Text]:
    age_ms = picture.beat_age_ms(agent)
    beaten = "" if age_ms is None else f"beat {age(age_ms / 1000)} ago"
    activity = pool_view.activity_of(agent, beat) or "none"
    test = beat.test if beat is not None else None
    tested = "" if test is None or not test.count else f"number {test.count:,}"
    why = pool_view.why(agent, now)
    return [
        *_fact("link", agent.link, _since(agent.since_at, now), beaten, "it said goodbye" if agent.left else ""),
        *_fact("health", agent.health, _since(agent.health_at, now), why if agent.health != "available" else ""),
        *_fact(
            "activity", activity, _since(agent.activity_at, now), f"{len(agent.running)} of {agent.card.slots} slots"
        ),
        *_fact("self-test", "; ".join(test.problems) if test and test.problems else agent.unfit or "fit", tested),
        *_fact("breaker", _breaker(agent, now)),
        *_fact("rate limit", f"until {now.clock(agent.limited_until)}" if agent.limited_until > now.ms else ""),
        *_fact("unsent", count(beat.unsent, "report") if beat is not None and beat.unsent else ""),
        *_fact("started", now.ago(agent.starts[-1]) if agent.starts else "", _starts(agent, now)),
        *_fact(
            "attempts", f"{agent.completed:,} completed", f"{agent.failed:,} failed", f"success {agent.success:.0%}"
        ),
        *_fact("today", *_today(agent, picture)),
    ]


def _since(at: int, now: Now) -> str:
    return f"for {now.since(at)}" if at else ""


def _breaker(agent: AgentRecord, now: Now) -> str:
    if agent.degraded_until > now.ms and agent.broken:
        return f"open until {now.clock(agent.degraded_until)}: {agent.degraded_why}"
    if agent.probation:
        return "half open: one task at a time until one completes"
    return f"closed; {count(agent.strikes, 'strike')}" if agent.strikes else "closed"


def _starts(agent: AgentRecord, now: Now) -> str:
    recent = [at for at in agent.starts if now.ms - at < 3_600_000]
    return f"{len(recent)} starts within the hour" if len(recent) > 1 else ""


def _today(agent: AgentRecord, picture: Picture) -> list[str]:
    cost = picture.costs.today.get(agent.name)
    if cost is None:
        return []
    return [f"{tokens(cost.usage) or 0} tokens", dollars(cost.usage.cost_usd), f"{cost.completed:,} tasks completed"]


def _card(agent: AgentRecord) -> list[Text]:
    card = agent.card
    return [
        *_fact("skills", pool_view.skills(agent)),
        *_fact("accepts", card.accepts),
        *_fact("context", f"{card.context_tokens:,} tokens" if card.context_tokens else ""),
        *_fact("sidecar", card.runner, card.host, card.version, agent.incarnation),
    ]


def _works_on(running: Sequence[ReadRecord], beat: Beat | None, picture: Picture, now: Now) -> list[Text]:
    lines = []
    for record in running:
        token = record.attempts[-1].token if record.attempts else ""
        full = beat.context.get(token) if beat is not None else None
        parts = (
            record.state,
            f"attempt {record.generation}",
            progress(record, now),
            f"context {full} % full" if full is not None else "",
        )
        told = "  ".join(filter(None, parts))
        name = said(picture.name(record.spec.id), "bold")
        lines.append(Text.assemble(name, "  ", said(told), "  ", said(record.spec.heading, "dim")))
    return lines


def _recent(agent: AgentRecord, picture: Picture, now: Now, width: int) -> tuple[str, list[Text]]:
    """What the end of the journal tells of it."""
    lines = [line for line in picture.snapshot.lines if line.agent == agent.name]
    name = f"recently (of the last {count(len(picture.snapshot.lines), 'line')} of the journal)"
    return name, [pool_view.journal_line(line, now, width - 2) for line in reversed(lines)]


# ---------------------------------------------------------------------- task


def _task(record: ReadRecord, picture: Picture, now: Now, width: int) -> list[Text]:
    findings = picture.of_subject.get(TASK + record.spec.id, ())
    lines = [task_view.heading(record), *_trouble(findings, now), *_progress(record, now)]
    lines += task_view.facts(record, picture.records, _waits(record, picture, now), now)
    lines += _section("who could take it", _takers(record, picture, now, width))
    lines += _section("timeline", [cut(line, width - 2) for line in timeline(record, now)])
    output = picture.opened.output[-OUTPUT_SHOWN:]
    lines += _section("output, its end", [said(line) for line in output])
    lines += [Text(), *task_view.text_lines(record)]
    if record.attempts:
        lines += [Text(), *task_view.attempts(record, now, width)]
    return lines


def _progress(record: ReadRecord, now: Now) -> list[Text]:
    drawn = progress(record, now)
    return _fact("estimate", drawn, f"of {age(record.spec.expect_s)}") if drawn else []


def _waits(record: ReadRecord, picture: Picture, now: Now) -> list[str]:
    """Who could take it, if it waits for an agent."""
    if record.state not in WAITING or record.state == "input_required":
        return []
    try:
        return [explained(_judged(record, picture, now))]
    except InvalidRequirement as error:
        return [f"its requirement cannot be read: {error}"]


def _judged(record: ReadRecord, picture: Picture, now: Now) -> list[Judged]:
    """What each agent is to it now."""
    return judge(record.spec, record, picture.snapshot.agents, held_for(record, picture.policy, now.ms))


def _takers(record: ReadRecord, picture: Picture, now: Now, width: int) -> list[Text]:
    """Each agent with why it does not take it, those that could first, of a bounded number."""
    if record.state not in ("queued", "retry_wait"):
        return []
    try:
        _, *lines = explain_lines(_judged(record, picture, now), None, now, width - 2)
    except InvalidRequirement:
        return []
    more = len(lines) - 1 - TAKERS_SHOWN
    return [*lines[: TAKERS_SHOWN + 1], *([said(f"and {count(more, 'more agent')}", "dim")] if more > 0 else [])]


def timeline(record: ReadRecord, now: Now) -> list[Text]:
    """Its life so far, a moment a line."""
    moments: list[tuple[int, str, str]] = [(record.submitted_at, "submitted", "")]
    for attempt in record.attempts:
        moments += _moments(attempt)
    if record.state in ENDED and record.ended_at:
        moments.append((record.ended_at, record.state, record.reason))
    elif record.state in WAITING:
        moments.append((record.changed_at, record.state, record.reason))
    if record.ready_at > now.ms and record.state == "retry_wait":
        moments.append((record.ready_at, "queued", f"due {now.ago(record.ready_at)}"))
    return [
        Text.assemble((f"{now.clock(at):<8}  ", "dim"), said(f"{what:<10}", STYLES.get(what, "")), "  ", said(why))
        for at, what, why in moments
    ]


def _moments(attempt: Attempt) -> list[tuple[int, str, str]]:
    on = f"attempt {attempt.generation} on {attempt.agent}"
    found = [(attempt.assigned_at, "assigned", on)]
    if attempt.accepted_at:
        found.append((attempt.accepted_at, "working", on))
    if attempt.ended_at:
        outcome = attempt.outcome
        result = outcome.result if outcome is not None else "ended"
        lasted = took(attempt.accepted_at or attempt.assigned_at, attempt.ended_at)
        why = ": ".join(part for part in (outcome.reason, one_line(outcome.detail, LONG)) if part) if outcome else ""
        found.append((attempt.ended_at, result, "  ".join(part for part in (f"after {lasted}", why) if part)))
    return found
