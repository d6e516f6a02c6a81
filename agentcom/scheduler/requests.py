"""What the inbox asks for: submit, cancel, retry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw

from agentcom.ids import is_id, made_at, new_id
from agentcom.model.codec import decode_spec, encode, read_spec
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.messages import (
    AgentRequest,
    Answer,
    AnyRequest,
    Cancel,
    Cordon,
    Drain,
    Line,
    Refusal,
    Repair,
    Requeue,
    Reset,
    Resume,
    Retry,
    Submit,
)
from agentcom.model.task import CarriedRecord, TaskRecord, TaskSpec
from agentcom.scheduler import answers, attempts, repairs, services, spending
from agentcom.scheduler.admission import MAX_AFTER, in_order, problem_of
from agentcom.scheduler.events import Requested
from agentcom.scheduler.parts import grant
from agentcom.scheduler.state import State
from agentcom.scheduler.waiting import make_ready
from agentcom.scheduler.work import agents_to_avoid, make_work

CLOCK_SLACK_MS = 1_000
"""Clocks that differ by less need no look-up."""

Found = Mapping[str, CarriedRecord]

MAX_WHY = 500
"""How much is kept of the reason that somebody gives for canceling."""


def handle(state: State, event: Requested, now: int) -> None:
    """Take a request on, or refuse it with a reason."""
    match event.request:
        case Submit():
            state.refuse(event.entry, now, _submit(state, event.request, event, now))
        case Cancel():
            state.refuse(event.entry, now, _cancel(state, event.request, event.found, now))
        case Retry():
            state.refuse(event.entry, now, _retry(state, event.request, event.found, now))
        case Answer():
            record = _known(state, event.request.task, event.found)
            state.refuse(event.entry, now, answers.handle(state, event.request, record, now))
        case Requeue():
            state.refuse(event.entry, now, _requeue(state, event.request, event.found, now))
        case Cordon() | Drain() | Resume() | Reset():
            state.refuse(event.entry, now, services.handle(state, event.request, now))
        case Repair():
            state.refuse(event.entry, now, repairs.handle(state, event.request, event.found, now))


def lookups(state: State, request: AnyRequest, loaded_at: int, now: int) -> list[str]:
    """Ids that must be looked up in Redis before this request is handled.

    A submitted id that was made after this leader loaded can only have ended under this leader, which remembers those.
    Clocks differ between machines: should that reasoning fail, the commit finds the record, is refused whole, and the
    leader loads again. An id from the future is always looked up, so that this cannot happen to it for long.
    """
    if isinstance(request, AgentRequest):
        return []
    if isinstance(request, Repair):
        return repairs.lookups(request)
    if not isinstance(request, Submit):
        return [request.task] if request.task not in state.tasks and is_id(request.task) else []
    wanted: list[str] = []
    for raw in request.tasks:
        names = _names(raw)
        if is_id(names.id) and (
            not loaded_at < made_at(names.id) <= now + CLOCK_SLACK_MS
            or names.id in state.ended
            or names.id <= state.ended_forgotten
        ):
            wanted.append(names.id)
        wanted += [other for other in names.after[:MAX_AFTER] if is_id(other)]
    return [id_ for id_ in wanted if id_ not in state.tasks]


class _Names(msgspec.Struct):
    id: str = ""
    after: tuple[str, ...] = ()


_names_decoder = msgspec.json.Decoder(_Names)


def _names(raw: Raw) -> _Names:
    try:
        return _names_decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return _Names()


# ------------------------------------------------------------------- submit


def _submit(state: State, request: Submit, event: Requested, now: int) -> Iterable[Refusal]:
    specs: dict[str, TaskSpec] = {}
    for place, raw in enumerate(request.tasks):
        spec = decode_spec(raw)
        if isinstance(spec, str):
            yield Refusal("", f"task {place + 1} of the submission: {spec}")
            continue
        spec = spec if spec.id else msgspec.structs.replace(spec, id=_derived_id(event.entry, place))
        if spec.id in specs:
            yield Refusal(spec.id, "its id stands twice in the submission")
            continue
        specs[spec.id] = spec
    ordered, ring = in_order(specs)
    for id_ in ordered:
        yield from _admit(state, specs[id_], event.found, now)
    for id_ in ring:
        problem = "after: tasks of the submission wait for each other in a ring"
        yield from _admit(state, specs[id_], event.found, now, problem)


def _derived_id(entry: str, place: int) -> str:
    """A submission without an id gets one that follows from its stream entry, so that a replay makes the same."""
    milliseconds, _, _ = entry.partition("-")
    digest = hashlib.sha256(f"{entry}#{place}".encode()).digest()
    return new_id(int(milliseconds), lambda length: digest[:length])


def _known(state: State, task: str, found: Found) -> CarriedRecord | None:
    """The record of a task: the one in memory, the one that this commit is about to write, or the one looked up."""
    work = state.tasks.get(task)
    if work is not None:
        return work.record
    return state.commit.records.get(task) or found.get(task)


def _admit(state: State, spec: TaskSpec, found: Found, now: int, problem: str = "") -> Iterable[Refusal]:
    body = encode(spec)
    known = _known(state, spec.id, found)
    if known is not None:
        if bytes(known.spec) not in (body, _kept(state, spec, body)):
            yield Refusal(spec.id, "another task has this id already: make a new one")
        elif known.state == "rejected":
            yield Refusal(spec.id, known.detail)
        return
    if spec.id in state.ended:
        return
    bound = state.task_of_key(spec.key, now) if spec.key else ""
    if bound:
        yield Refusal(spec.id, f"a task with the key {spec.key!r} was submitted already", existing=bound)
        return
    problem = problem or problem_of(spec, state.policy) or _unknown_dependency(state, spec, found)
    if problem:
        yield from _reject(state, spec, problem, now, body)
    else:
        _take_on(state, spec, body, found, now)


def _unknown_dependency(state: State, spec: TaskSpec, found: Found) -> str:
    for other in spec.after:
        if _known(state, other, found) is None:
            return f"after: there is no task {other[:80]!r}"
    return ""


def _take_on(state: State, spec: TaskSpec, body: bytes, found: Found, now: int) -> None:
    state.seq += 1
    waiting, broken = _dependencies(state, spec, found)
    record: CarriedRecord = TaskRecord(
        spec=Raw(body),
        seq=state.seq,
        state="submitted",
        submitted_at=now,
        changed_at=now,
        expires_at=now + int(spec.expires_s * 1000) if spec.expires_s else 0,
        waiting_for=waiting,
    )
    policy = state.policy
    work = make_work(record, spec, state.demands.of(spec), policy.max_attempts, policy.timeout_s)
    state.commit.new.append(spec.id)
    state.commit.opened.append((spec.id, state.seq))
    state.commit.admitted = state.seq
    state.hold(work)
    if spec.key:
        state.remember_key(spec.key, spec.id, now)
    if broken:
        detail = f"it waits for {broken}, which did not complete"
        state.move(work, "failed", now, "submit", reason="dependency_failed", detail=detail)
    elif waiting:
        state.move(work, "blocked", now, "submit")
    else:
        make_ready(state, work, now, "submit")
    record.note = state.matcher.nobody_could(work.demand)


def _dependencies(state: State, spec: TaskSpec, found: Found) -> tuple[tuple[str, ...], str]:
    """The tasks it has to wait for, and one that will never complete, if any."""
    waiting: list[str] = []
    broken = ""
    for other in dict.fromkeys(spec.after):
        record = _known(state, other, found)
        if record is None or record.state == "completed":
            continue
        if record.state in ENDED:
            broken = broken or other
        else:
            waiting.append(other)
    return tuple(waiting), broken


def _reject(state: State, spec: TaskSpec, reason: str, now: int, body: bytes) -> Iterable[Refusal]:
    if is_id(spec.id):
        record: CarriedRecord = TaskRecord(
            spec=Raw(_kept(state, spec, body)),
            seq=0,
            state="rejected",
            submitted_at=now,
            changed_at=now,
            ended_at=now,
            reason="refused",
            detail=reason,
        )
        state.commit.new.append(spec.id)
        state.commit.records[spec.id] = record
        state.remember_ended(spec.id)
        state.journal(Line(now, "task", "submit", "submitted", "rejected", spec.id, reason="refused", detail=reason))
    yield Refusal(spec.id, reason)


def _kept(state: State, spec: TaskSpec, body: bytes) -> bytes:
    """What is kept of a spec that was refused, which may have been for its size."""
    if len(body) <= state.policy.max_text_bytes:
        return body
    return encode(TaskSpec(id=spec.id, text=spec.text[:500], title=spec.title[:100]))


# ----------------------------------------------------------- cancel and retry


def _cancel(state: State, request: Cancel, found: Found, now: int) -> Iterable[Refusal]:
    work = state.tasks.get(request.task)
    record = _known(state, request.task, found)
    if record is None:
        yield Refusal(request.task, f"there is no task {request.task[:80]!r}")
    elif work is None or record.state in ENDED:
        if record.state != "canceled":
            yield Refusal(request.task, f"it has ended already: {record.state}")
    else:
        why = request.why[:MAX_WHY]
        attempts.stop_running(state, work, why or "canceled")
        state.move(work, "canceled", now, "cancel", reason="canceled", detail=why)
        attempts.fail_dependants(state, work.id, now)


def _retry(state: State, request: Retry, found: Found, now: int) -> Iterable[Refusal]:
    work = state.tasks.get(request.task)
    record = _known(state, request.task, found)
    if record is None:
        yield Refusal(request.task, f"there is no task {request.task[:80]!r}")
    elif request.generation not in (0, record.generation):
        return
    elif work is not None and state.holder_of(work) is not None and record.state in ENDED:
        yield Refusal(request.task, "its agent has not ended the last attempt yet: try again in a moment")
    elif work is not None and record.state == "input_required":
        problem = answers.budget_problem(work, request)
        if problem:
            yield Refusal(request.task, problem)
        else:
            answers.add_to_budget(record, request)
            attempts.send_on(state, work, now)
    elif record.state not in ("failed", "canceled"):
        yield Refusal(request.task, f"only a failed or canceled task can be sent back, and it is {record.state}")
    else:
        yield from _send_back(state, record, request, found, now)


def _requeue(state: State, request: Requeue, found: Found, now: int) -> Iterable[Refusal]:
    work = state.tasks.get(request.task)
    record = _known(state, request.task, found)
    if record is None:
        yield Refusal(request.task, f"there is no task {request.task[:80]!r}")
    elif work is None or record.state in ENDED:
        hint = "; `agentcom retry` sends it back" if record.state in ("failed", "canceled") else ""
        yield Refusal(request.task, f"it has ended already: {record.state}{hint}")
    elif record.state == "input_required":
        yield Refusal(request.task, "it waits for a person; `agentcom retry` sends it on")
    elif request.generation not in (0, record.generation):
        return
    elif record.state in RUNNING or record.state == "retry_wait":
        attempts.requeue(state, work, request.why[:MAX_WHY], now)


def _send_back(state: State, record: CarriedRecord, request: Retry, found: Found, now: int) -> Iterable[Refusal]:
    spec = read_spec(record.spec)
    policy = state.policy
    work = make_work(record, spec, state.demands.of(spec), policy.max_attempts, policy.timeout_s)
    problem = answers.budget_problem(work, request)
    if problem:
        yield Refusal(request.task, problem)
        return
    answers.add_to_budget(record, request)
    spending.reopened(state, record)
    waiting, _ = _dependencies(state, spec, found)
    record.waiting_for = waiting
    record.ended_at = 0
    record.expires_at = now + int(spec.expires_s * 1000) if spec.expires_s else 0
    grant(record)
    work.avoid = agents_to_avoid(record)
    state.ended.pop(spec.id, None)
    if spec.id in state.commit.closed:
        state.commit.closed.remove(spec.id)
    state.hold(work)
    state.commit.opened.append((spec.id, record.seq))
    if waiting:
        state.move(work, "blocked", now, "retry")
    else:
        make_ready(state, work, now, "retry")
