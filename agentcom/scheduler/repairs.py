"""Mends what `agentcom fsck` found. Each fix is looked at again first: the pool has gone on since it was found.

What the scheduler holds in memory is what it has written or read: where Redis says otherwise, Redis was damaged, and
what is in memory is written again. Only what memory does not know is decided by what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from agentcom.capability import InvalidRequirement
from agentcom.ids import is_id
from agentcom.model.codec import decode_spec
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.messages import MAX_FIXES_PER_REPAIR, Fix, FixKind, Line, Refusal, Repair
from agentcom.model.task import CarriedRecord, Outcome, TaskSpec
from agentcom.scheduler import attempts, spending
from agentcom.scheduler.loading import take_up
from agentcom.scheduler.state import State
from agentcom.scheduler.waiting import make_ready
from agentcom.scheduler.work import Work

TRIGGER = "repair"
UNKNOWN = "the pool does not know this attempt"
PASSING = ("beat:", "output:", "refused:")
STAYING = frozenset({"inbox", "reports", "open", "agents", "keys", "costs", "head", "journal", "dead"})
MAX_NAME = 300

Found = Mapping[str, CarriedRecord]


class Mended(Struct, frozen=True):
    """What was done."""

    detail: str


class NotSo(Struct, frozen=True):
    """Why nothing was done."""

    reason: str


Result = Mended | NotSo

AGAIN = Mended("written again as the scheduler knows it")


def lookups(request: Repair) -> list[str]:
    """Ids of tasks whose records must be looked up."""
    wanted = dict.fromkeys(
        task
        for fix in request.fixes[:MAX_FIXES_PER_REPAIR]
        for task in ((fix.task, fix.other) if fix.kind in ("open", "close", "expire", "wait", "bind", "lose") else ())
    )
    return [task for task in wanted if is_id(task)]


def handle(state: State, request: Repair, found: Found, now: int) -> Iterable[Refusal]:
    """Mend what is still as it was found."""
    if len(request.fixes) > MAX_FIXES_PER_REPAIR:
        yield Refusal("", f"{len(request.fixes):,} fixes, over {MAX_FIXES_PER_REPAIR}: ask for fewer at once")
        return
    for fix in request.fixes:
        result = _MENDS[fix.kind](state, fix, found, now)
        if isinstance(result, NotSo):
            yield Refusal(fix.task, f"{fix.kind} {_subject(fix)}: {result.reason}")
        else:
            detail = f"{fix.kind}: {result.detail}"
            state.journal(
                Line(
                    now, "pool", TRIGGER, task=fix.task[:64], agent=fix.agent[:64], detail=detail, entry=fix.entry[:64]
                )
            )


def _subject(fix: Fix) -> str:
    return next(
        (part[:80] for part in (fix.token, fix.entry, fix.name, fix.agent, fix.other, fix.task) if part), "pool"
    )


# -------------------------------------------------------------------- tasks


def _open(state: State, fix: Fix, found: Found, now: int) -> Result:
    work = state.tasks.get(fix.task)
    if work is not None:
        return _write_again(state, work)
    record = found.get(fix.task)
    if record is None or record.state in ENDED:
        return NotSo("it is not open" if record is not None else "there is no record of it")
    try:
        problem = take_up(state, record, now)
    except InvalidRequirement as error:
        problem = str(error)
    if problem:
        return NotSo(f"this version cannot read it: {problem}")
    state.ended.pop(fix.task, None)
    spending.reopened(state, record)
    work = state.tasks[fix.task]
    _write_again(state, work)
    if record.state in RUNNING and state.holder_of(work) is None:
        _lose(state, work, now)
    return Mended(f"taken up again as {record.state}")


def _close(state: State, fix: Fix, found: Found, now: int) -> Result:
    work = state.tasks.get(fix.task)
    if work is not None:
        return _write_again(state, work)
    record = found.get(fix.task)
    if record is not None and record.state not in ENDED:
        return NotSo("it is open")
    state.commit.closed.append(fix.task)
    if record is None:
        attempts.fail_dependants(state, fix.task, now)
    return Mended("it has left the index of open tasks")


def _drop(state: State, fix: Fix, _: Found, now: int) -> Result:
    work = state.tasks.get(fix.task)
    if work is not None:
        return _write_again(state, work)
    state.commit.closed.append(fix.task)
    attempts.fail_dependants(state, fix.task, now)
    return Mended("it has left the index of open tasks, and what there was of it passes")


def _expire(state: State, fix: Fix, found: Found, _: int) -> Result:
    work = state.tasks.get(fix.task)
    if work is not None:
        return _write_again(state, work)
    record = found.get(fix.task)
    if record is None or record.state not in ENDED:
        return NotSo("it has not ended" if record is not None else "there is no record of it")
    state.commit.closed.append(fix.task)
    return Mended("its record has an end of life")


def _renumber(state: State, fix: Fix, _: Found, __: int) -> Result:
    work = state.tasks.get(fix.task)
    if work is None:
        return NotSo("it is not open")
    state.seq += 1
    work.record.seq = state.seq
    _write_again(state, work)
    return Mended(f"it is number {state.seq} now")


def _wait(state: State, fix: Fix, found: Found, now: int) -> Result:
    work = state.tasks.get(fix.task)
    if work is None or work.record.state != "blocked":
        return NotSo("it does not wait for others")
    if not work.record.waiting_for:
        make_ready(state, work, now, TRIGGER)
        return Mended("it waits for nobody, so it goes on")
    if fix.other not in work.record.waiting_for:
        return _write_again(state, work)
    held = state.tasks.get(fix.other)
    if held is not None and held.record.state not in ENDED:
        return _write_again(state, held)
    return _end_wait(state, fix, held.record if held is not None else found.get(fix.other), now)


def _end_wait(state: State, fix: Fix, record: CarriedRecord | None, now: int) -> Result:
    """What it waits for has ended, or is not there."""
    record = state.commit.records.get(fix.other, record)
    state.dependants.setdefault(fix.other, set()).add(fix.task)
    if record is not None and record.state not in ENDED:
        return NotSo(f"{fix.other} is open by its record")
    if record is not None and record.state == "completed":
        attempts.release_dependants(state, fix.other, now)
        return Mended(f"{fix.other} is completed, so it waits for that no more")
    attempts.fail_dependants(state, fix.other, now)
    return Mended(f"{fix.other} will not complete")


def _bind(state: State, fix: Fix, found: Found, now: int) -> Result:
    work = state.tasks.get(fix.task)
    record = found.get(fix.task) if work is None else work.record
    spec = None if record is None else decode_spec(record.spec)
    if record is None or not isinstance(spec, TaskSpec) or not spec.key or record.state == "rejected":
        return NotSo("no record that has an idempotency key can be read")
    if state.task_of_key(spec.key, now):
        return _bind_again(state, spec.key)
    if len(state.keys) >= state.policy.max_keys or now - record.submitted_at > state.policy.key_retention_s * 1000:
        return NotSo("its idempotency key has passed, or there is no room for it")
    state.remember_key(spec.key, fix.task, record.submitted_at)
    return Mended("its idempotency key is bound to it")


def _lose_attempt(state: State, fix: Fix, _: Found, now: int) -> Result:
    work = state.tasks.get(fix.task)
    if work is None:
        return NotSo("it is not open")
    holder = state.holder_of(work)
    if holder is not None or work.record.state not in RUNNING or work.token != fix.token:
        if holder is not None:
            state.save_agent(holder)
        return _write_again(state, work)
    _lose(state, work, now)
    return Mended("its attempt is lost: no agent has it")


def _write_again(state: State, work: Work) -> Result:
    """Its record and its place in the index, as they should be."""
    state.commit.records[work.id] = work.record
    state.commit.opened.append((work.id, work.record.seq))
    return AGAIN


def _lose(state: State, work: Work, now: int) -> None:
    outcome = Outcome("lost", "lost", "no agent has it; found by agentcom fsck")
    attempts.end_attempt(state, work, outcome, now, TRIGGER)


# ------------------------------------------------------------------- agents


def _release(state: State, fix: Fix, _: Found, now: int) -> Result:
    agent = state.agents.get(fix.agent)
    if agent is None:
        return NotSo("there is no such agent")
    if fix.token not in agent.running:
        state.save_agent(agent)
        return AGAIN
    work = state.awaited(agent.running[fix.token], fix.token)
    if work is not None:
        _write_again(state, work)
        state.save_agent(agent)
        return AGAIN
    state.release(agent, fix.token, now)
    return Mended("its slot is free again")


def _reclaim(state: State, fix: Fix, _: Found, now: int) -> Result:
    agent = state.agents.get(fix.agent)
    if agent is None or fix.token not in agent.running:
        if agent is not None:
            state.save_agent(agent)
        return _settle_entry(state, fix) if fix.entry else NotSo("the agent does not list it")
    attempts.tell_to_stop(state, agent, agent.running[fix.token], fix.token, UNKNOWN)
    if fix.entry:
        _settle_entry(state, fix)
    attempts.lose(state, agent, fix.token, now, TRIGGER, "nobody can renew its order; found by agentcom fsck")
    return Mended("its attempt is lost")


def _stop(state: State, fix: Fix, _: Found, __: int) -> Result:
    agent = state.agents.get(fix.agent)
    if agent is None or fix.token not in agent.running:
        return NotSo("the agent does not list it")
    work = state.tasks.get(agent.running[fix.token])
    if work is not None:
        return _write_again(state, work)
    attempts.tell_to_stop(state, agent, agent.running[fix.token], fix.token, UNKNOWN)
    return Mended("the agent is told to stop it")


def _unreserve(state: State, fix: Fix, _: Found, __: int) -> Result:
    agent = state.agents.get(fix.agent)
    if agent is None:
        return NotSo("there is no such agent")
    work = state.tasks.get(fix.task)
    rightly = work is not None and work.record.state == "input_required" and state.keeper_of(work) is agent
    if work is not None:
        _write_again(state, work)
    if not rightly:
        agent.reserved = tuple(task for task in agent.reserved if task != fix.task)
    state.save_agent(agent)
    return AGAIN if rightly else Mended("its slot is free again")


def _settle(state: State, fix: Fix, _: Found, __: int) -> Result:
    agent = state.agents.get(fix.agent)
    if agent is not None and fix.token in agent.running:
        return NotSo("the agent has this attempt")
    return _settle_entry(state, fix)


def _settle_entry(state: State, fix: Fix) -> Result:
    milliseconds, _, number = fix.entry.partition("-")
    if not (milliseconds.isascii() and milliseconds.isdigit() and number.isascii() and number.isdigit()):
        return NotSo("this is no entry of a stream")
    state.commit.settled.append((fix.agent, fix.entry))
    return Mended("the order is removed")


def _forget(state: State, fix: Fix, _: Found, __: int) -> Result:
    agent = state.agents.get(fix.agent)
    if agent is not None:
        state.save_agent(agent)
        return AGAIN
    state.commit.agents[fix.agent] = None
    return Mended("it is forgotten, with its orders")


def _remake(state: State, fix: Fix, _: Found, now: int) -> Result:
    agent = state.agents.get(fix.agent)
    if agent is None:
        return NotSo("there is no such agent")
    for token in list(agent.running):
        attempts.lose(state, agent, token, now, TRIGGER, "its agent's stream of orders had to be made anew")
    state.commit.remade.append(fix.agent)
    return Mended("its stream of orders is made anew")


# --------------------------------------------------------------------- keys


def _forget_key(state: State, fix: Fix, _: Found, __: int) -> Result:
    if fix.name in state.keys:
        return _bind_again(state, fix.name)
    state.commit.keys[fix.name] = None
    return Mended("the idempotency key is forgotten")


def _bind_again(state: State, key: str) -> Result:
    task, at = state.keys[key]
    state.commit.keys[key] = f"{task}@{at}"
    return AGAIN


def _recount(state: State, fix: Fix, _: Found, __: int) -> Result:
    return AGAIN if state.accounts.again(fix.name) else Mended("what was kept there is forgotten")


def _bound(state: State, fix: Fix, _: Found, __: int) -> Result:
    if not (fix.name.startswith(PASSING) or fix.name == "alerts") or len(fix.name) > MAX_NAME:
        return NotSo("this is no key that passes")
    state.commit.bounded.append(fix.name)
    return Mended(f"{fix.name} has an end of life")


def _keep(state: State, fix: Fix, _: Found, __: int) -> Result:
    if fix.name not in STAYING:
        return NotSo("this is no key that stays")
    state.commit.kept.append(fix.name)
    return Mended(f"{fix.name} has no end of life")


def _reposition(state: State, _: Fix, __: Found, ___: int) -> Result:
    state.commit.restated = True
    state.commit.admitted = state.seq
    return Mended("the head says again how far inbox and reports were read, and how many tasks were taken on")


_MENDS: dict[FixKind, Callable[[State, Fix, Found, int], Result]] = {
    "open": _open,
    "close": _close,
    "drop": _drop,
    "expire": _expire,
    "renumber": _renumber,
    "wait": _wait,
    "bind": _bind,
    "lose": _lose_attempt,
    "release": _release,
    "reclaim": _reclaim,
    "stop": _stop,
    "settle": _settle,
    "forget": _forget,
    "remake": _remake,
    "forget_key": _forget_key,
    "recount": _recount,
    "unreserve": _unreserve,
    "bound": _bound,
    "keep": _keep,
    "reposition": _reposition,
}
