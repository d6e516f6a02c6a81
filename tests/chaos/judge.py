"""Whether a run kept every promise of docs/architecture.md ("What must always hold"). Pure.

Each rule is a function of its own, and `RULES` names them all. Where the store was made to lose writes (power cuts and
fail-overs), only what was written while it lost them is excused, and what is left must still fit together.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TypeVar

from tests.chaos.evidence import Attempt, Evidence, Line, Look, Record, Run, Span, Violation

K = TypeVar("K")

ENDED = {"completed", "failed", "canceled", "rejected"}
LEFT_BY_NOBODY = {"completed", "rejected"}
HELD = {"assigned", "working", "verifying", "input_required"}
URGENCY = {"urgent": 0, "high": 1, "normal": 2, "low": 3}
HANDED_BACK = {"handed_back", "turned_away", "unfit"}
"""Reasons of an attempt that was not made: its task has not failed, even if it has to wait before the next."""

UNCOUNTED = {"rate_limited"}
"""Reasons for which an attempt burns none of a task's tries; hand-backs do so up to a bound."""

CLOCK_SLACK_MS = 250
"""What two programs of one machine may differ by when they say what time it is."""

LATE_MS = 20_000
"""How long after a loss its consequences may still begin: a frozen sidecar wakes up late."""

STORM = 20
"""So many hand-backs of one agent within a second are no work, but a livelock."""

FORGED = "forged by the chaos harness"

TIMED = ("beat:*", "output:*", "refused:*", "leader")
"""Keys that must have a time to live whenever they exist."""


def judge(evidence: Evidence) -> list[Violation]:
    """Every violation of every rule, in the order of the rules."""
    return [Violation(name, what) for name, rule in RULES.items() for what in rule(evidence)]


# ----------------------------------------------------------- outcomes and states


def one_outcome(evidence: Evidence) -> Iterator[str]:
    """At most one outcome is accepted per task, and only a person's retry leaves an end."""
    completions: Counter[str] = Counter()
    for line in _task_lines(evidence):
        completions[line.task] += line.after == "completed"
        if line.before in LEFT_BY_NOBODY:
            yield f"task {line.task} left {line.before} for {line.after} ({line.trigger})"
        elif line.before in ENDED and line.trigger != "retry":
            yield f"task {line.task} left {line.before} for {line.after} without a person's retry ({line.trigger})"
    for task, count in completions.items():
        if count > 1:
            yield f"task {task} completed {count} times"
    for task, record in evidence.records.items():
        completed = [attempt.token for attempt in record.attempts if _result(attempt) == "completed"]
        if len(completed) > 1:
            yield f"task {task} has {len(completed)} completed attempts: {', '.join(completed)}"


def unbroken(evidence: Evidence) -> Iterator[str]:
    """The journal tells each task's life without a gap, and its record says the same."""
    last: dict[str, Line] = {}
    for line in _task_lines(evidence):
        before = last[line.task].after if line.task in last else "submitted"
        generation = last[line.task].generation if line.task in last else 0
        if line.before != before:
            yield f"task {line.task} went from {line.before} to {line.after}, but was {before}"
        if line.generation != generation + (line.after == "assigned"):
            yield f"task {line.task} went from attempt {generation} to {line.generation} on becoming {line.after}"
        last[line.task] = line
    for task, record in evidence.records.items():
        told = last[task].after if task in last else "nothing"
        if told != record.state:
            yield f"task {task} is {record.state}, and the journal ends with {told}"
    for task in last.keys() - evidence.records.keys():
        yield f"task {task} is in the journal and has no record"


def nothing_lost(evidence: Evidence) -> Iterator[str]:
    """What was acknowledged ends completed, failed or rejected with a reason, or canceled."""
    for submission in evidence.submissions:
        record = evidence.records.get(submission.task)
        if record is None:
            sent_at, acknowledged_at = submission.sent_at, submission.acknowledged_at
            if not any(loss.overlaps(sent_at, acknowledged_at, CLOCK_SLACK_MS) for loss in evidence.losses):
                yield f"task {submission.task}, acknowledged at {submission.acknowledged_at}, has no record"
        elif record.state not in ENDED:
            yield f"task {submission.task} never ended: it is {record.state}"
        elif record.state in ("failed", "rejected") and not record.reason:
            yield f"task {submission.task} is {record.state} without a reason"


def nothing_vanished(evidence: Evidence) -> Iterator[str]:
    """What the journal was seen to say stays said."""
    for at in evidence.vanished:
        if not _lost(evidence, at):
            yield f"a journal entry of {at} was seen, and is gone"


def stale_changes_nothing(evidence: Evidence) -> Iterator[str]:
    """A report whose token is not current is journalled as refused, and no outcome is ever taken from it."""
    refused = {line.entry for line in evidence.lines if line.what == "refused"}
    for forgery in evidence.forgeries:
        if forgery.entry not in refused and not _lost(evidence, forgery.sent_at):
            yield f"a report on task {forgery.task} with the stale token {forgery.token} was not refused"
    for task, record in evidence.records.items():
        for attempt in record.attempts:
            if attempt.outcome is not None and attempt.outcome.summary == FORGED:
                yield f"task {task}, attempt {attempt.token}: the outcome is a forged one"


# ------------------------------------------------------------------- assignments


def one_assignment(evidence: Evidence) -> Iterator[str]:
    """A task is assigned only when nobody has it."""
    for line in _task_lines(evidence):
        if line.after == "assigned" and line.before in HELD:
            yield f"task {line.task} was assigned to {line.agent} while it was {line.before}"
    for task, record in evidence.records.items():
        for earlier, later in pairwise(record.attempts):
            if not 0 < earlier.ended_at <= later.assigned_at:
                yield f"task {task}: attempt {later.token} began before {earlier.token} had ended"


def fresh_first(evidence: Evidence) -> Iterator[str]:
    """What failed before goes to an agent only when nothing of its urgency waits there that was never tried. (A run is
    shorter than the time in which retried work ages.)"""
    retried: set[str] = set()
    fresh: dict[str, int] = {}
    for line in _task_lines(evidence):
        task, spec = line.task, evidence.records.get(line.task, _NONE).spec
        fresh.pop(task, None)
        if line.after == "retry_wait" and line.reason not in HANDED_BACK:
            retried.add(task)
        elif line.before in ENDED:
            retried.discard(task)
        if line.after == "queued" and not line.generation:
            fresh[task] = line.at
        if line.after == "assigned" and task in retried:
            for other, since_at in fresh.items():
                wants = evidence.records.get(other, _NONE).spec
                could_go = wants.agent in ("", line.agent) and URGENCY[wants.priority] <= URGENCY[spec.priority]
                if could_go and not any(loss.overlaps(since_at, line.at, LATE_MS) for loss in evidence.losses):
                    yield f"task {task} was tried again at {line.agent} while {other} waited, which was never tried"


def slots_kept(evidence: Evidence) -> Iterator[str]:
    """No agent is ever given more than its slots: by the journal, by the streams, by the processes that ran."""
    slots = evidence.rules.slots
    holding: dict[str, set[str]] = defaultdict(set)
    for line in _task_lines(evidence):
        if line.before in HELD and line.after not in HELD:
            holding[line.agent].discard(line.task)
        if line.after == "assigned":
            holding[line.agent].add(line.task)
            if len(holding[line.agent]) > slots[line.agent]:
                yield f"agent {line.agent} was given a task beyond its {slots[line.agent]} slots at {line.at}"
    for look in evidence.looks:
        for what, held in (("slots taken", look.taken), ("orders", _ordered(evidence, look))):
            for agent, tokens in held.items():
                if len(tokens) > slots[agent]:
                    listed = ", ".join(tokens)
                    yield f"{agent} had {len(tokens)} {what} at {look.at}, over its {slots[agent]} slots: {listed}"
    for agent, runs in _by(evidence.runs, lambda run: run.agent).items():
        most, at = _most_at_once(runs)
        if most > slots[agent]:
            yield f"agent {agent} ran {most} tasks at once at {at}, over its {slots[agent]} slots"


def _ordered(evidence: Evidence, look: Look) -> dict[str, list[str]]:
    """The orders that count. After a loss some may stand there whose ends were said where that was lost: whoever has
    said so settles them when it looks for what is pending next."""
    if not _lost(evidence, look.at, LATE_MS):
        return look.ordered
    listed = {token for tokens in look.taken.values() for token in tokens}
    return {agent: [token for token in tokens if token in listed] for agent, tokens in look.ordered.items()}


def live_left_alone(evidence: Evidence) -> Iterator[str]:
    """Nothing is reclaimed from an agent that neither it nor the pool's programs were disturbed."""
    for line in _task_lines(evidence):
        if line.trigger != "reclaim":
            continue
        silence_ms = evidence.rules.silence_ms
        if not any(span.who in ("", line.agent) and span.has(line.at, silence_ms) for span in evidence.disturbances):
            yield f"task {line.task} was reclaimed at {line.at} from {line.agent}, which nothing had disturbed"


def no_storm(evidence: Evidence) -> Iterator[str]:
    """Work is not thrown at an agent again and again that hands it back."""
    thrown: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=STORM))
    for line in _task_lines(evidence):
        if line.before in HELD and line.reason in ("handed_back", "turned_away"):
            times = thrown[line.agent]
            times.append(line.at)
            if len(times) == STORM and times[-1] - times[0] < 1000:
                yield f"agent {line.agent} handed work back {STORM} times within a second, until {line.at}"
                times.clear()


# ---------------------------------------------------------------------- attempts


def counted_before_run(evidence: Evidence) -> Iterator[str]:
    """Nothing runs but attempts that the pool had counted, and each of them at most once."""
    tokens = {(task, attempt.token) for task, record in evidence.records.items() for attempt in record.attempts}
    assigned = {(line.task, line.generation) for line in _task_lines(evidence) if line.after == "assigned"}
    for run in evidence.runs:
        known = (run.task, run.token) in tokens and (run.task, _generation(run.token)) in assigned
        if not known and not _lost(evidence, run.began_at, LATE_MS):
            yield f"task {run.task} ran as {run.token} on {run.agent} at {run.began_at}, which was never counted"
    for (task, token), runs in _by(evidence.runs, lambda run: (run.task, run.token)).items():
        if len(runs) < 2:
            continue
        if _most_at_once(runs)[0] > 1:
            yield f"task {task}: attempt {token} ran twice at the same time"
        elif not _lost(evidence, runs[-1].began_at, LATE_MS):
            yield f"task {task}: attempt {token} ran {len(runs)} times"


def cap_kept(evidence: Evidence) -> Iterator[str]:
    """The cap on attempts holds whatever fails; a person's retry starts the count again."""
    tries: Counter[str] = Counter()
    handbacks: Counter[str] = Counter()
    for line in _task_lines(evidence):
        if line.trigger == "retry":
            tries[line.task] = 0
        if line.after == "assigned":
            tries[line.task] += 1
            if tries[line.task] > evidence.rules.max_attempts:
                yield f"task {line.task} was assigned {tries[line.task]} times, over {evidence.rules.max_attempts}"
        elif line.before in HELD and line.reason in UNCOUNTED:
            tries[line.task] -= 1
        elif line.before in HELD and line.reason in ("handed_back", "turned_away"):
            tries[line.task] -= handbacks[line.task] < evidence.rules.max_handbacks
            handbacks[line.task] += 1


def over_when_reported(evidence: Evidence) -> Iterator[str]:
    """When an attempt's own sidecar has reported its end, none of its processes runs on."""
    runs = _by(evidence.runs, lambda run: (run.task, run.token))
    tokens = {(task, attempt.generation): attempt.token for task, record in evidence.records.items()
              for attempt in record.attempts}  # fmt: skip
    for line in _task_lines(evidence):
        if line.before in HELD and line.trigger == "finished":
            # By its token: where writes were lost, an attempt's number may have been given to another one again.
            for run in runs.get((line.task, tokens.get((line.task, line.generation), "")), ()):
                if run.began_at <= line.at < run.alive_at - CLOCK_SLACK_MS:
                    yield f"task {line.task}: {run.token} was reported over at {line.at}, and ran until {run.alive_at}"


def completed_really_ran(evidence: Evidence) -> Iterator[str]:
    """A completed task ran to its end, with exit code 0, under the very token that its record names."""
    good = {(run.task, run.token) for run in evidence.runs if run.code == 0}
    for task, record in evidence.records.items():
        if record.state == "completed":
            token = record.attempts[-1].token if record.attempts else "none"
            if _result(record.attempts[-1]) != "completed" if record.attempts else True:
                yield f"task {task} is completed, and its last attempt is not"
            elif (task, token) not in good:
                yield f"task {task} is completed by {token}, which never ran to a good end"


# -------------------------------------------------------------------- afterwards


def settled(evidence: Evidence) -> Iterator[str]:
    """After the last fault everything comes to an end in bounded time, and nothing is left."""
    if evidence.settled_ms is None or evidence.settled_ms > evidence.rules.settle_ms:
        yield f"not settled within {evidence.rules.settle_ms} ms"
    yield from evidence.unsettled
    yield from (f"left running: {process}" for process in evidence.left_running)


def programs_stayed(evidence: Evidence) -> Iterator[str]:
    """No program ends, or hangs on ending, but as it is told to."""
    yield from evidence.exits


def keys_bounded(evidence: Evidence) -> Iterator[str]:
    """Every key has an owner and a bound, and those that are kept for a while have a time to live."""
    for key in evidence.keys:
        if not any(fnmatchcase(key.name, pattern) for pattern in evidence.known_keys):
            yield f"key {key.name} has no row in docs/architecture.md"
        kind, _, name = key.name.partition(":")
        ended = kind == "task" and evidence.records.get(name, _NONE).state in ENDED
        if key.ttl_ms < 0 and (ended or any(fnmatchcase(key.name, pattern) for pattern in TIMED)):
            yield f"key {key.name} has no time to live"


_NONE = Record(state="")

RULES: dict[str, Callable[[Evidence], Iterable[str]]] = {
    "one outcome": one_outcome,
    "unbroken journal": unbroken,
    "nothing lost": nothing_lost,
    "nothing vanished": nothing_vanished,
    "stale changes nothing": stale_changes_nothing,
    "one assignment": one_assignment,
    "fresh first": fresh_first,
    "slots kept": slots_kept,
    "live left alone": live_left_alone,
    "no storm": no_storm,
    "counted before run": counted_before_run,
    "cap kept": cap_kept,
    "over when reported": over_when_reported,
    "completed really ran": completed_really_ran,
    "settled": settled,
    "programs stayed": programs_stayed,
    "keys bounded": keys_bounded,
}


# ----------------------------------------------------------------------- figures


def fenced_overlaps(evidence: Evidence) -> int:
    """How often a task's new attempt began while a process of an older one, which was fenced off, still ran."""
    count = 0
    for runs in _by(evidence.runs, lambda run: run.task).values():
        for earlier, later in pairwise(runs):
            count += later.began_at < earlier.alive_at and earlier.token != later.token
    return count


# ------------------------------------------------------------------------- parts


def _task_lines(evidence: Evidence) -> Iterator[Line]:
    return (line for line in evidence.lines if line.what == "task" and line.before != line.after)


def _lost(evidence: Evidence, at: int, slack_ms: int = CLOCK_SLACK_MS) -> Span | None:
    """The loss in which this was written, if any."""
    return next((loss for loss in evidence.losses if loss.has(at, slack_ms)), None)


def _result(attempt: Attempt) -> str:
    return attempt.outcome.result if attempt.outcome is not None else ""


def _generation(token: str) -> int:
    number = token.partition(".")[0]
    return int(number) if number.isdigit() else -1


def _by(runs: Iterable[Run], key: Callable[[Run], K]) -> dict[K, list[Run]]:
    grouped: dict[K, list[Run]] = defaultdict(list)
    for run in runs:
        grouped[key(run)].append(run)
    return grouped


def _most_at_once(runs: list[Run]) -> tuple[int, int]:
    """The largest number of runs at one moment, and the moment. A run ends before another begins in the same ms."""
    steps = sorted([(run.began_at, 1) for run in runs] + [(max(run.alive_at, run.began_at), -1) for run in runs])
    now = most = at = 0
    for moment, step in steps:
        now += step
        if now > most:
            most, at = now, moment
    return most, at
