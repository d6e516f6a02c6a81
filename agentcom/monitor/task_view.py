"""Tasks as people and scripts see them. Pure: records in, lines and documents out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from rich.text import Text

from agentcom.ids import short, shorten
from agentcom.model.lifecycle import ENDED, RUNNING, TaskState
from agentcom.model.reasons import ASKED_OF_A_PERSON
from agentcom.model.task import PRIORITIES, Attempt, Outcome, ReadRecord
from agentcom.monitor.look import STYLES, Now, took
from agentcom.monitor.outcome_view import budget, checks, evidence, pull_request, spent
from agentcom.monitor.table import Column, lay_out, said
from agentcom.scheduler.work import CONTEXT_SHARE
from agentcom.wording import age, clean, dollars, one_line

STATE_ORDER: tuple[TaskState, ...] = (
    "working",
    "verifying",
    "assigned",
    "input_required",
    "retry_wait",
    "queued",
    "blocked",
    "submitted",
    "failed",
    "rejected",
    "canceled",
    "completed",
)
"""Of equal priority, those on which something happens come first; those that ended come last."""

COLUMNS = (
    Column("ID"),
    Column("PRIO", rank=2),
    Column("STATE"),
    Column("FOR", right=True),
    Column("AGENT", rank=1, least=8),
    Column("TRY", rank=3, right=True),
    Column("AGE", rank=4, right=True),
    Column("TITLE", least=16),
    Column("WHY", rank=5, least=24),
)


def by_urgency(records: Iterable[ReadRecord]) -> list[ReadRecord]:
    """The most urgent first: open before ended, by priority, by state, the oldest first; of the ended the newest."""

    def rank(record: ReadRecord) -> tuple[bool, int, int, int]:
        if record.state in ENDED:
            return True, 0, 0, -record.ended_at
        return False, PRIORITIES.index(record.spec.priority), STATE_ORDER.index(record.state), record.seq

    return sorted(records, key=rank)


def agent_of(record: ReadRecord) -> str:
    """The agent that works on it, or worked on it last; empty before that, and while it waits for another."""
    if not record.attempts or record.state not in ENDED | RUNNING:
        return ""
    return record.attempts[-1].agent


def was_with(record: ReadRecord, agent: str) -> bool:
    """Whether this agent works on it, or ever worked on it, as far as its record still has its attempts."""
    return any(attempt.agent == agent for attempt in record.attempts)


def table(records: Sequence[ReadRecord], now: Now, width: int | None) -> list[Text]:
    """One line for each task."""
    names = shorten({record.spec.id for record in records})
    return lay_out(COLUMNS, [_row(record, names, now) for record in records], width)


def _row(record: ReadRecord, names: dict[str, str], now: Now) -> list[Text]:
    priority = record.spec.priority
    return [
        said(names[record.spec.id], "bold"),
        said("" if priority == "normal" else priority, "bold" if priority == "urgent" else ""),
        said(record.state, STYLES.get(record.state, "")),
        said(now.since(since(record))),
        said(agent_of(record)),
        said(record.generation or ""),
        said(now.since(record.submitted_at)),
        said(record.spec.heading),
        said(why(record, now), "dim"),
    ]


def since(record: ReadRecord) -> int:
    """Since when it has been in its state; work begins with the agent's first sign of life."""
    last = record.attempts[-1] if record.attempts else None
    return last.accepted_at if record.state == "working" and last and last.accepted_at else record.changed_at


def why(record: ReadRecord, now: Now) -> str:
    """Why it is as it is, in one line; empty if there is nothing to explain."""
    if record.state == "blocked":
        return "waits for " + ", ".join(short(other) for other in record.waiting_for)
    if record.note and record.state not in ENDED:
        return record.note
    if record.state == "retry_wait" and record.ready_at:
        return f"tried again {now.ago(record.ready_at)}; {reason_of(record)}"
    told = (
        f"asks: {one_line(record.question, 500)}" if record.waits_for_answer and record.question else reason_of(record)
    )
    return "; ".join(part for part in (told, asked_of_a_person(record)) if part)


def asked_of_a_person(record: ReadRecord) -> str:
    """What a person has to do so that it goes on; empty if it waits for none."""
    if record.state != "input_required":
        return ""
    reason = "input_required" if record.waits_for_answer else record.reason
    return ASKED_OF_A_PERSON.get(reason, "do what it waits for, then `agentcom retry` the task")


def reason_of(record: ReadRecord) -> str:
    """The reason that it is in its state, with its detail; empty for none."""
    return ": ".join(part for part in (record.reason, record.detail) if part)


# ------------------------------------------------------------------ one task

ATTEMPT_COLUMNS = (
    Column("TRY", right=True),
    Column("AGENT", least=8),
    Column("ASSIGNED"),
    Column("STARTED", rank=2),
    Column("TOOK", right=True),
    Column("RESULT"),
    Column("REASON"),
    Column("EXIT", rank=4, right=True),
    Column("TOKENS", rank=3, right=True),
    Column("COST", rank=3, right=True),
    Column("NOTE", rank=2),
    Column("DETAIL", rank=1, least=20),
)


def detail(record: ReadRecord, others: dict[str, ReadRecord], waits: Sequence[str], now: Now) -> list[tuple[str, str]]:
    """What there is to say of one task, as names and values; empty values are not shown.

    Args:
        record: the task.
        others: records of the tasks that it comes after, as far as they are kept.
        waits: who could take it and who could not, if it waits for an agent.
        now: the present.
    """
    spec = record.spec
    last = record.attempts[-1] if record.attempts else None
    outcome = last.outcome if last is not None else None
    after = [f"{short(id_)} ({others[id_].state})" if id_ in others else short(id_) for id_ in spec.after]
    return [
        ("id", spec.id),
        ("state", _state_line(record, now)),
        ("reason", reason_of(record) if record.state in ("queued", "input_required") else why(record, now)),
        ("to do", asked_of_a_person(record)),
        ("agents", waits[0] if waits else ""),
        ("question", record.question),
        ("answer", record.answer),
        ("answer due", _moment(record.answer_by, now)),
        ("summary", outcome.summary if outcome is not None and record.state in ENDED else ""),
        ("changed", ", ".join(outcome.changed) if outcome is not None else ""),
        ("value", _value(outcome) if outcome is not None else ""),
        ("checks", "\n".join(checks(record))),
        ("evidence", evidence(record)),
        ("branch", record.branch),
        ("pull request", pull_request(record)),
        ("part", f"{record.part}, after agents had run out of context" if record.continued else ""),
        ("part before", record.parts_summary),
        ("spent", spent(record.spent)),
        ("budget", budget(record)),
        ("came late", "\n".join(_late(attempt) for attempt in record.attempts if attempt.late is not None)),
        ("submitted", _moment(record.submitted_at, now)),
        ("ended", _moment(record.ended_at, now)),
        ("expires", _moment(record.expires_at, now) if record.state not in ENDED else ""),
        ("priority", spec.priority),
        ("requires", spec.requires),
        ("prefers", spec.prefer),
        ("only agent", spec.agent),
        ("after", ", ".join(after)),
        ("context", ", ".join(spec.context)),
        ("must pass", "\n".join(spec.checks)),
        ("context size", f"{spec.context_tokens:,} tokens" if spec.context_tokens else ""),
        ("expected", age(spec.expect_s) if spec.expect_s else ""),
        ("time limit", age(spec.timeout_s) if spec.timeout_s else ""),
        ("max attempts", str(spec.max_attempts or "")),
        ("handed back", f"{record.handbacks}×, which counts as no attempt" if record.handbacks else ""),
        ("rate limited", f"{record.waits}×, which counts as no attempt" if record.waits else ""),
        ("key", spec.key),
    ]


def _state_line(record: ReadRecord, now: Now) -> str:
    if record.state in ENDED:
        return f"{record.state}{manner(record)}"
    on = f" on {agent_of(record)}" if record.state in RUNNING else ""
    return f"{record.state}{on} for {now.since(since(record))}"


def manner(record: ReadRecord) -> str:
    """By whom and how fast an ended task ended, if that was an agent's doing: ` by oak in 4s`."""
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.outcome is None or last.outcome.reason != record.reason or record.state == "canceled":
        return ""
    worked = took(last.accepted_at or last.assigned_at, last.ended_at)
    return f" {'by' if record.state == 'completed' else 'on'} {last.agent}" + (f" in {worked}" if worked else "")


def _late(attempt: Attempt) -> str:
    """What came of an attempt when its task had gone on without it, in a line: evidence, for whoever looks for it."""
    late = attempt.late
    if late is None:
        return ""
    told = ": ".join(part for part in (late.reason, one_line(late.summary or late.detail, 500)) if part)
    changed = f" (changed {', '.join(late.changed)})" if late.changed else ""
    return f"attempt {attempt.generation} by {attempt.agent}: {late.result}{f', {told}' if told else ''}{changed}"


def _note(attempt: Attempt) -> str:
    """What is unusual about an attempt."""
    late = f"{attempt.late.result} late" if attempt.late is not None else ""
    percent = _context_percent(attempt)
    full = f"context {percent} % full" if percent > 100 * CONTEXT_SHARE else ""
    return ", ".join(part for part in ("" if attempt.counted else "not counted", late, full) if part)


def _context_percent(attempt: Attempt) -> int:
    """The fullest its context window was, as far as is known."""
    return max(attempt.context, attempt.outcome.context_percent if attempt.outcome is not None else 0)


def _moment(at: int, now: Now) -> str:
    return f"{now.clock(at)} ({now.ago(at)})" if at else ""


def _value(outcome: Outcome) -> str:
    return "" if outcome.value is None else msgspec.json.encode(outcome.value).decode()


def page(
    record: ReadRecord, others: dict[str, ReadRecord], waits: Sequence[str], now: Now, width: int | None
) -> list[Text]:
    """All there is to say of one task, as lines."""
    lines = [heading(record), *facts(record, others, waits, now), Text(), *text_lines(record)]
    if record.attempts:
        lines += [Text(), *attempts(record, now, width)]
    return lines


def heading(record: ReadRecord) -> Text:
    """Its name and its title."""
    return Text.assemble(said(short(record.spec.id), "bold"), "  ", said(record.spec.heading))


def facts(record: ReadRecord, others: dict[str, ReadRecord], waits: Sequence[str], now: Now) -> list[Text]:
    """What `detail` tells, as lines."""
    pairs = [(name, value) for name, value in detail(record, others, waits, now) if value]
    margin = max(len(name) for name, _ in pairs) + 2
    lines: list[Text] = []
    for name, value in pairs:
        style = STYLES.get(record.state, "") if name == "state" else ""
        lines += _entry(name, value, style, margin)
    return lines


def text_lines(record: ReadRecord) -> list[Text]:
    """What the agent is told."""
    told = clean(record.spec.text, keep_lines=True).expandtabs(4).split("\n")
    return [Text("text", "dim"), *(Text(f"  {line}".rstrip()) for line in told)]


def attempts(record: ReadRecord, now: Now, width: int | None) -> list[Text]:
    """One line for each attempt."""
    return lay_out(ATTEMPT_COLUMNS, [_attempt_row(attempt, now) for attempt in record.attempts], width)


def _entry(name: str, value: str, style: str, margin: int) -> list[Text]:
    """A name and its value, which may have several lines."""
    first, *rest = clean(value, keep_lines=True).strip().expandtabs(4).split("\n")
    head = Text.assemble((f"  {name:<{margin}}", "dim"), (first, style))
    return [head, *(Text(" " * (margin + 2) + line, style) for line in rest)]


def _attempt_row(attempt: Attempt, now: Now) -> list[Text]:
    outcome = attempt.outcome
    usage = outcome.usage if outcome is not None else None
    running = "working" if attempt.accepted_at else "assigned"
    begun = attempt.accepted_at or attempt.assigned_at
    result = (outcome.result if outcome is not None else "ended") if attempt.ended_at else running
    return [
        said(attempt.generation),
        said(attempt.agent),
        said(now.clock(attempt.assigned_at)),
        said(now.clock(attempt.accepted_at)),
        said(took(begun, attempt.ended_at) if attempt.ended_at else now.since(begun)),
        said(result, STYLES.get(result, "")),
        said(outcome.reason if outcome is not None else ""),
        said("" if outcome is None or outcome.exit_code is None else outcome.exit_code),
        said(f"{usage.input_tokens:,}+{usage.output_tokens:,}" if usage is not None else ""),
        said(dollars(usage.cost_usd) if usage is not None else ""),
        said(_note(attempt)),
        said(one_line(outcome.detail or outcome.summary, 2_000) if outcome is not None else ""),
    ]


# ------------------------------------------------------------------ documents


def brief(record: ReadRecord) -> dict[str, Any]:
    """A task for scripts, as `agentcom tasks --json` lists it. Times are Unix ms; 0 means not yet, or never."""
    spec = record.spec
    return {
        "id": spec.id,
        "short": short(spec.id),
        "title": spec.heading,
        "state": record.state,
        "reason": record.reason,
        "detail": record.detail,
        "note": record.note,
        "to_do": asked_of_a_person(record),
        "priority": spec.priority,
        "agent": agent_of(record),
        "attempts": record.generation,
        "waiting_for": list(record.waiting_for),
        "submitted_at": record.submitted_at,
        "changed_at": record.changed_at,
        "ready_at": record.ready_at,
        "expires_at": record.expires_at,
        "ended_at": record.ended_at,
    }


def whole(record: ReadRecord) -> dict[str, Any]:
    """A task for scripts, with its spec and each attempt, as `agentcom show --json` gives it."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(record.spec) if not field.required}
    spec = defaults | msgspec.to_builtins(record.spec)
    return brief(record) | {
        "spec": spec,
        "branch": record.branch,
        "part": record.part,
        "parts_summary": record.parts_summary,
        "spent": msgspec.structs.asdict(record.spent),
        "granted_tokens": record.granted_tokens,
        "granted_usd": record.granted_usd,
        "question": record.question,
        "answer": record.answer,
        "answer_by": record.answer_by,
        "pull_request": None if record.pull_request is None else msgspec.to_builtins(record.pull_request),
        "handbacks": record.handbacks,
        "rate_limits": record.waits,
        "attempts": [_attempt(attempt) for attempt in record.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "generation": attempt.generation,
        "agent": attempt.agent,
        "assigned_at": attempt.assigned_at,
        "accepted_at": attempt.accepted_at,
        "ended_at": attempt.ended_at,
        "counted": attempt.counted,
        "context_percent": _context_percent(attempt),
        "outcome": None if attempt.outcome is None else msgspec.to_builtins(attempt.outcome),
        "late": None if attempt.late is None else msgspec.to_builtins(attempt.late),
    }


def named(record: ReadRecord | None, task: str, names: Collection[str] = ()) -> str:
    """A task in the middle of a sentence: its short id, told apart from those in `names`, and its title."""
    name = shorten({task, *names})[task]
    return f"{name} ({one_line(record.spec.heading, 60)})" if record is not None else name
