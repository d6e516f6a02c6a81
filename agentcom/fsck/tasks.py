"""Records against the index of open tasks, against those that they wait for, and against the agents that have them."""

from __future__ import annotations

from collections.abc import Iterator

from agentcom.fsck.facts import NO_END, NO_KEY, Discrepancy, Facts, TaskFacts
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.messages import Fix, FixKind


def check(facts: Facts) -> Iterator[Discrepancy]:
    """What contradicts a record."""
    for task, found in facts.tasks.items():
        if found.type == NO_KEY:
            yield from _missing(facts, task)
        elif not found.readable:
            yield from _damaged(facts, task, found)
        elif found.foreign:
            continue
        elif found.state in ENDED:
            yield from _ended(facts, task, found)
        else:
            yield from _open(facts, task, found)
    yield from _same_place(facts)
    yield from _unbound(facts)


def _missing(facts: Facts, task: str) -> Iterator[Discrepancy]:
    if task in facts.open:
        text = "it is in the index of open tasks, and there is no record of it"
        remedy = "its record is written again if the scheduler still has it, else it leaves the index"
        yield _about("no_record", task, "close", text, f"{remedy}, and what waits for it fails")


def _damaged(facts: Facts, task: str, found: TaskFacts) -> Iterator[Discrepancy]:
    what = "its record cannot be read" if found.type == "string" else f"its record is a {found.type}, not a string"
    if task in facts.open or found.ttl_ms == NO_END:
        remedy = "it is written again if the scheduler still has it, else it leaves the index and gets an end of life"
        yield _about("damaged_record", task, "drop", what, f"{remedy}, and what waits for it fails")


def _ended(facts: Facts, task: str, found: TaskFacts) -> Iterator[Discrepancy]:
    holder = facts.agents.get(found.agent)
    occupies = holder is not None and found.token in holder.running
    if task in facts.open and not occupies:
        text = f"it is in the index of open tasks, and its record says {found.state}"
        agents = (found.agent,) if found.agent else ()
        yield _about("ended_in_index", task, "close", text, "it leaves the index", agents=agents)
    if found.ttl_ms == NO_END:
        text = f"its record says {found.state}, and has no end of life"
        yield _about("kept_for_ever", task, "expire", text, "it gets one")


def _open(facts: Facts, task: str, found: TaskFacts) -> Iterator[Discrepancy]:
    if task not in facts.open:
        text = (
            f"its record says {found.state}, and it is not in the index of open tasks, so no new leader would know it"
        )
        yield _about("not_in_index", task, "open", text, "it is put there, and goes on")
    elif facts.open[task] != found.seq:
        text = f"it is number {facts.open[task]} in the index of open tasks, and by its record number {found.seq}"
        yield _about("misplaced", task, "open", text, "it is put in its place")
    if found.ttl_ms != NO_END:
        text = f"its record says {found.state}, and would pass in {max(0, found.ttl_ms) // 1000} s"
        yield _about("open_record_passes", task, "open", text, "it is kept until the task ends")
    if found.state in RUNNING:
        yield from _nobody_has(facts, task, found)
    if found.state == "blocked":
        yield from _waits_in_vain(facts, task, found)


def _nobody_has(facts: Facts, task: str, found: TaskFacts) -> Iterator[Discrepancy]:
    holder = facts.agents.get(found.agent)
    if holder is None or holder.running.get(found.token) != task:
        who = f"agent {found.agent!r}" + (" does not list it" if holder is not None else " is not there")
        fix = Fix("lose", task=task, token=found.token)
        text = f"its record says {found.state}, and {who}"
        remedy = "its attempt is lost, and it goes on as after any lost attempt"
        yield Discrepancy(
            kind="nobody_has_it", subject=f"task:{task}", text=text, remedy=remedy, fix=fix,
            tasks=(task,), agents=(found.agent,),
        )  # fmt: skip


def _waits_in_vain(facts: Facts, task: str, found: TaskFacts) -> Iterator[Discrepancy]:
    if not found.waiting_for:
        yield _about("waits_for_nobody", task, "wait", "it is blocked, and waits for no task", "it goes on")
    for other in found.waiting_for:
        what = facts.tasks.get(other)
        if what is None:
            continue
        if what.type != NO_KEY and not what.readable:
            if other not in facts.open and what.ttl_ms != NO_END:
                text = f"task {task} waits for it, and its record cannot be read"
                yield _about("waited_for_damaged", other, "drop", text, "what waits for it fails", (task,))
        elif what.type == NO_KEY or what.state in ENDED:
            state = "there is no such task" if what.type == NO_KEY else f"that is {what.state}"
            follows = "it goes on" if what.state == "completed" else "it fails"
            yield Discrepancy(
                kind="waits_in_vain",
                subject=f"task:{task}",
                text=f"it waits for {other}, and {state}",
                remedy=follows,
                fix=Fix("wait", task=task, other=other),
                tasks=(task, other),
            )


def _same_place(facts: Facts) -> Iterator[Discrepancy]:
    first: dict[int, str] = {}
    for task in sorted(facts.open):
        found = facts.tasks.get(task)
        if found is None or not found.readable or found.foreign or found.state in ENDED:
            continue
        other = first.setdefault(found.seq, task)
        if other != task:
            text = f"it is number {found.seq} in the order of admission, and so is {other}"
            yield _about("same_place", task, "renumber", text, "it gets a number of its own", (other,))


def _unbound(facts: Facts) -> Iterator[Discrepancy]:
    """Tasks whose submission, sent again, would be taken on again. Of those with one key, the newest has it. Keys pass
    after a while, and the oldest make room: of a task from before that, and where no room is left, nothing can be said.
    """
    if len(facts.bindings) >= facts.max_keys:
        return
    newest: dict[str, tuple[int, int, str]] = {}
    for task, found in facts.tasks.items():
        if found.key and found.state != "rejected":
            newest[found.key] = max(newest.get(found.key, (0, 0, "")), (found.submitted_at, found.seq, task))
    for key, (at, _, task) in newest.items():
        if key not in facts.bindings and at > facts.keys_since_at:
            text = f"its idempotency key {key!r} is not kept: sent again, it would be taken on as another task"
            yield _about("key_not_bound", task, "bind", text, "the key is bound to it")


def _about(
    kind: str,
    task: str,
    fix: FixKind,
    text: str,
    remedy: str,
    others: tuple[str, ...] = (),
    agents: tuple[str, ...] = (),
) -> Discrepancy:
    subject, tasks = f"task:{task}", (task, *others)
    return Discrepancy(
        kind=kind, subject=subject, text=text, remedy=remedy, fix=Fix(fix, task=task), tasks=tasks, agents=agents
    )
