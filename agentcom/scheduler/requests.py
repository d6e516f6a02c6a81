"""What the inbox asks for: submit, cancel, retry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw

from agentcom.ids import is_id, made_at, new_id
from agentcom.model.codec import decode_spec, encode, read_spec
from agentcom.model.lifecycle import ENDED
from agentcom.model.messages import AnyRequest, Cancel, Line, Refusal, Retry, Submit
from agentcom.model.task import CarriedRecord, TaskRecord, TaskSpec
from agentcom.scheduler import attempts
from agentcom.scheduler.admission import in_order, problem_of
from agentcom.scheduler.events import Requested
from agentcom.scheduler.state import State
from agentcom.scheduler.work import make_work

Found = Mapping[str, CarriedRecord]


def handle(state: State, event: Requested, now: int) -> None:
    """Take a request on, or refuse it with a reason."""
    match event.request:
        case Submit():
            state.refuse(event.entry, now, _submit(state, event.request, event, now))
        case Cancel():
            state.refuse(event.entry, now, _cancel(state, event.request, event.found, now))
        case Retry():
            state.refuse(event.entry, now, _retry(state, event.request, event.found, now))


def lookups(state: State, request: AnyRequest, loaded_at: int) -> list[str]:
    """Ids that must be looked up in Redis before this request is handled.

    A submitted id that was made after this leader loaded can only have ended under this leader, which remembers those.
    Clocks differ between machines: should that reasoning fail, the commit finds the record and is refused whole.
    """
    if not isinstance(request, Submit):
        return [request.task] if request.task not in state.tasks and is_id(request.task) else []
    wanted: list[str] = []
    for raw in request.tasks:
        names = _names(raw)
        if is_id(names.id) and (made_at(names.id) < loaded_at or names.id <= state.ended_forgotten):
            wanted.append(names.id)
        wanted += [other for other in names.after if is_id(other)]
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
        yield from _reject(state, specs[id_], "after: tasks of the submission wait for each other in a ring", now)


def _derived_id(entry: str, place: int) -> str:
    """A submission without an id gets one that follows from its stream entry, so that a replay makes the same."""
    milliseconds, _, _ = entry.partition("-")
    digest = hashlib.sha256(f"{entry}#{place}".encode()).digest()
    return new_id(int(milliseconds), lambda length: digest[:length])


def _admit(state: State, spec: TaskSpec, found: Found, now: int) -> Iterable[Refusal]:
    body = encode(spec)
    known = state.tasks[spec.id].record if spec.id in state.tasks else found.get(spec.id)
    if known is not None or spec.id in state.ended:
        if known is not None and bytes(known.spec) != body:
            yield Refusal(spec.id, "another task has this id already: make a new one")
        return
    bound = state.keys.get(spec.key) if spec.key else None
    if bound is not None:
        yield Refusal(spec.id, f"a task with the key {spec.key!r} was submitted already", existing=bound[0])
        return
    problem = problem_of(spec, state.policy) or _unknown_dependency(state, spec, found)
    if problem:
        yield from _reject(state, spec, problem, now, body)
    else:
        _take_on(state, spec, body, found, now)


def _unknown_dependency(state: State, spec: TaskSpec, found: Found) -> str:
    for other in spec.after:
        if other not in state.tasks and other not in found and other not in state.ended:
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
    state.hold(work)
    if spec.key:
        state.remember_key(spec.key, spec.id, now)
    if broken:
        detail = f"it waits for {broken}, which did not complete"
        state.move(work, "failed", now, "submit", reason="dependency_failed", detail=detail)
    elif waiting:
        state.move(work, "blocked", now, "submit")
    else:
        attempts.make_ready(state, work, now, "submit")
    record.note = state.matcher.nobody_could(work.demand)


def _dependencies(state: State, spec: TaskSpec, found: Found) -> tuple[tuple[str, ...], str]:
    """The tasks it has to wait for, and one that will never complete, if any."""
    waiting: list[str] = []
    for other in dict.fromkeys(spec.after):
        record = state.tasks[other].record if other in state.tasks else found.get(other)
        if record is None or record.state == "completed":
            continue
        if record.state in ENDED:
            return (), other
        waiting.append(other)
    return tuple(waiting), ""


def _reject(state: State, spec: TaskSpec, reason: str, now: int, body: bytes | None = None) -> Iterable[Refusal]:
    if is_id(spec.id):
        record: CarriedRecord = TaskRecord(
            spec=Raw(body if body is not None and len(body) <= state.policy.max_text_bytes else _stub(spec)),
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


def _stub(spec: TaskSpec) -> bytes:
    """What is kept of a spec that was refused for its size."""
    return encode(TaskSpec(id=spec.id, text=spec.text[:500], title=spec.title[:100]))


# ----------------------------------------------------------- cancel and retry


def _cancel(state: State, request: Cancel, found: Found, now: int) -> Iterable[Refusal]:
    work = state.tasks.get(request.task)
    record = work.record if work is not None else found.get(request.task)
    if record is None:
        yield Refusal(request.task, f"there is no task {request.task[:80]!r}")
    elif work is None or record.state in ENDED:
        if record.state != "canceled":
            yield Refusal(request.task, f"it has ended already: {record.state}")
    else:
        attempts.stop_running(state, work, request.why or "canceled")
        state.move(work, "canceled", now, "cancel", reason="canceled", detail=request.why[:500])
        attempts.fail_dependants(state, work.id, now)


def _retry(state: State, request: Retry, found: Found, now: int) -> Iterable[Refusal]:
    work = state.tasks.get(request.task)
    record = work.record if work is not None else found.get(request.task)
    if record is None:
        yield Refusal(request.task, f"there is no task {request.task[:80]!r}")
    elif work is not None and state.holder_of(work) is not None and record.state in ENDED:
        yield Refusal(request.task, "its agent has not ended the last attempt yet: try again in a moment")
    elif record.state not in ("failed", "canceled"):
        yield Refusal(request.task, f"only a failed or canceled task can be sent back, and it is {record.state}")
    else:
        _send_back(state, record, found, now)


def _send_back(state: State, record: CarriedRecord, found: Found, now: int) -> None:
    spec = read_spec(record.spec)
    waiting, _ = _dependencies(state, spec, found)
    record.waiting_for = waiting
    record.ended_at = 0
    record.expires_at = now + int(spec.expires_s * 1000) if spec.expires_s else 0
    policy = state.policy
    work = make_work(record, spec, state.demands.of(spec), policy.max_attempts, policy.timeout_s)
    record.granted = attempts.counted_attempts(work)
    work.avoid = frozenset()
    state.ended.pop(spec.id, None)
    state.hold(work)
    state.commit.opened.append((spec.id, record.seq))
    if waiting:
        state.move(work, "blocked", now, "retry")
    else:
        attempts.make_ready(state, work, now, "retry")
