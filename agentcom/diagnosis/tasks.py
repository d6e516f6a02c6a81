"""What may be wrong with tasks that are worked on, or were. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from agentcom.diagnosis.finding import Finding
from agentcom.diagnosis.look import Look, Trouble, milliseconds, spoken
from agentcom.diagnosis.snapshot import Order, Snapshot
from agentcom.model.lifecycle import RUNNING
from agentcom.model.reasons import ASKED_OF_A_PERSON
from agentcom.model.task import Attempt, ReadRecord
from agentcom.scheduler.work import CONTEXT_SHARE
from agentcom.wording import one_line

OVERDUE = 3
"""So many times its estimate is long."""

SILENT_MS = 600_000
LOOPING = 3
DEAD_MS = 86_400_000
"""A dead letter is news for so long; after that `agentcom dead` still lists it."""

ORPHAN_MS = 60_000
"""A sidecar that was started anew takes over what the one before held within less."""

EARLIER_SHOWN = 5


class _Run(Struct, frozen=True):
    """An attempt that goes on.

    Attributes:
        age_ms: since the agent showed life first, or since the assignment.
        estimate_ms: of the submitter; 0 means that there is none.
        silent_ms: since the agent last printed something in this attempt; None means that it is not known to have.
    """

    record: ReadRecord
    attempt: Attempt
    age_ms: int
    estimate_ms: int
    silent_ms: int | None

    @property
    def overdue(self) -> bool:
        return 0 < OVERDUE * self.estimate_ms <= self.age_ms

    @property
    def stuck(self) -> bool:
        quiet_ms = max(SILENT_MS, self.estimate_ms)
        return self.overdue and self.silent_ms is not None and self.silent_ms > quiet_ms

    @property
    def times(self) -> str:
        return f"{self.age_ms // self.estimate_ms}× its estimate of {spoken(self.estimate_ms)}"


def stuck(look: Look) -> Iterator[Trouble]:
    """Far over its estimate, and silent: it probably does nothing any more."""
    for run in _runs(look):
        if run.stuck and run.silent_ms is not None:
            task = look.name(run.record.spec.id)
            yield _of_run(
                look,
                run,
                f"is probably stuck: {run.times}, silent for {spoken(run.silent_ms)}",
                f"agentcom logs {task} shows what it did last; to give it to another: agentcom requeue {task}",
            )


def slow(look: Look) -> Iterator[Trouble]:
    """Far over its estimate, but not known to be silent."""
    for run in _runs(look):
        if run.overdue and not run.stuck:
            known = run.silent_ms is not None
            alive = f"long, but alive: it printed something {spoken(run.silent_ms or 0)} ago"
            said = alive if known else "whether it still does anything is unknown: it has printed nothing"
            task = look.name(run.record.spec.id)
            yield _of_run(look, run, f"takes {run.times}; {said}", f"agentcom logs -f {task}")


def looping(look: Look) -> Iterator[Trouble]:
    """Tried again and again."""
    for record in look.snapshot.tasks:
        counted = record.counted - record.granted
        if counted >= LOOPING:
            earlier = [attempt for attempt in record.attempts if attempt.outcome is not None][-EARLIER_SHOWN:]
            tries = f"is at attempt {counted}" if record.state in RUNNING else f"had {counted} attempts"
            last = f"; how the last one ended: {_ended(earlier[-1])}" if earlier else ""
            task = look.name(record.spec.id)
            yield Trouble(
                f"task:{record.spec.id}",
                f"{look.titled(record)} {tries}{last}",
                f"agentcom show {task}; to end it: agentcom cancel {task}",
                record.submitted_at,
                tuple(f"attempt {attempt.generation} on {attempt.agent}: {_ended(attempt)}" for attempt in earlier),
                look.titled(record),
            )


def orphan(look: Look) -> Iterator[Trouble]:
    """An order held by nobody who would do it: a sidecar that was followed by another, and by no scheduler."""
    for order in look.snapshot.orders:
        agent = look.agents.get(order.agent)
        current = agent.incarnation if agent is not None else ""
        if not order.consumer or order.reclaimed or order.consumer == current:
            continue
        if agent is None or order.idle_ms > look.stale_ms(agent) or _followed_ms(look, order) > ORPHAN_MS:
            what = look.name(order.task) if order.task else f"order {order.entry}"
            yield Trouble(
                f"task:{order.task}" if order.task else f"agent:{order.agent}",
                f"{what} is held by {order.consumer}, which is no current sidecar of {order.agent}",
                "agentcom fsck explains what does not fit; the sidecar, started again, takes over what it can",
                look.snapshot.at - order.idle_ms,
                (f"order {order.entry}", f"renewed {spoken(order.idle_ms)} ago", f"current: {current or 'none'}"),
                what,
            )


def waits_for_person(look: Look) -> Iterator[Trouble]:
    """Only a person can help it on."""
    for record in look.snapshot.tasks:
        if record.state == "input_required":
            name = look.name(record.spec.id)
            yield Trouble(
                f"task:{record.spec.id}",
                f"{look.titled(record)} {_wanted(record)}",
                _to_do(record, name),
                record.changed_at,
                (
                    *(f"on {attempt.agent}" for attempt in record.attempts[-1:]),
                    *((f"it fails in {look.until(record.answer_by)}",) if record.answer_by else ()),
                ),
                look.titled(record),
            )


def _wanted(record: ReadRecord) -> str:
    if record.waits_for_answer and record.question:
        return f"asks: {one_line(record.question, 200)}"
    why = ": ".join(part for part in (record.reason, record.detail) if part)
    return f"waits for a person: {why or 'it does not say for what'}"


def _to_do(record: ReadRecord, name: str) -> str:
    reason = "input_required" if record.waits_for_answer else record.reason
    what = ASKED_OF_A_PERSON.get(reason, "see what it needs, then `agentcom retry` the task")
    told = what.replace("`agentcom answer`", f"agentcom answer {name} TEXT")
    return told.replace("`agentcom retry` the task", f"agentcom retry {name}")


def context_full(look: Look) -> Iterator[Trouble]:
    """The agent that works on it, or did last, has little room left for what is to come."""
    for record in look.snapshot.tasks:
        attempt = record.attempts[-1] if record.attempts else None
        percent = _context_percent(look, attempt) if attempt is not None else 0
        if attempt is not None and percent > 100 * CONTEXT_SHARE:
            task = look.name(record.spec.id)
            yield Trouble(
                f"task:{record.spec.id}",
                f"{look.titled(record)} filled {percent} % of the context window of {attempt.agent}",
                f"cut it into smaller tasks, or give it to an agent with a larger window; agentcom explain {task}",
                attempt.accepted_at or attempt.assigned_at,
                (f"attempt {attempt.generation}, part {record.part}",),
                look.titled(record),
            )


def _context_percent(look: Look, attempt: Attempt) -> int:
    """The fullest its context window was, as far as a beat or its end told."""
    beat = look.snapshot.beats.get(attempt.agent)
    beats = beat.context.get(attempt.token, 0) if beat is not None else 0
    ends = attempt.outcome.context_percent if attempt.outcome is not None else 0
    return max(beats, attempt.context, ends)


def dead(look: Look) -> Iterator[Trouble]:
    """It used up its attempts, lately, and nobody sent it back."""
    for letter in look.snapshot.letters:
        if look.now - letter.at <= DEAD_MS:
            task = look.name(letter.task)
            named = f"{task} ({one_line(letter.title, 60)})"
            yield Trouble(
                f"task:{letter.task}",
                f"{named} is dead after {letter.attempts} attempts: {letter.reason}",
                f"agentcom show {task}; mended: agentcom dead retry {task}",
                letter.at,
                (letter.detail,) if letter.detail else (),
                named,
            )


def out_of_sight(snapshot: Snapshot, finding: Finding, now: int) -> bool:
    """Whether this, which was found once, is not looked for any more: that it is not found says nothing of it."""
    since_at = finding.since_at
    return finding.rule == "dead" and (now - since_at > DEAD_MS or since_at < snapshot.letters_from_at)


def _runs(look: Look) -> Iterator[_Run]:
    for record in look.snapshot.tasks:
        if record.state in RUNNING and record.attempts:
            attempt = record.attempts[-1]
            printed_at = look.snapshot.printed_at.get(record.spec.id, 0)
            told = printed_at > 0 and printed_at >= attempt.assigned_at
            yield _Run(
                record,
                attempt,
                look.now - (attempt.accepted_at or attempt.assigned_at),
                milliseconds(record.spec.expect_s),
                look.server_now - printed_at if told else None,
            )


def _of_run(look: Look, run: _Run, what: str, next_step: str) -> Trouble:
    since_at = run.attempt.accepted_at or run.attempt.assigned_at
    named = f"{look.titled(run.record)} on {run.attempt.agent}"
    limit_ms = milliseconds(run.record.spec.timeout_s or look.policy.timeout_s)
    return Trouble(
        f"task:{run.record.spec.id}",
        f"{named} {what}",
        next_step,
        since_at,
        (
            f"attempt {run.attempt.generation}, {run.record.state} for {look.since(since_at)}",
            f"its time limit of {spoken(limit_ms)} ends the attempt {look.until_or_now(since_at + limit_ms)}",
        ),
        named,
    )


def _ended(attempt: Attempt) -> str:
    outcome = attempt.outcome
    if outcome is None:
        return "no outcome"
    return ": ".join(part for part in (outcome.reason or outcome.result, one_line(outcome.detail, 120)) if part)


def _followed_ms(look: Look, order: Order) -> int:
    """For how long there has been another sidecar of this agent; 0 if that is unknown."""
    starts = look.agents[order.agent].starts
    return look.now - starts[-1] if starts else 0
