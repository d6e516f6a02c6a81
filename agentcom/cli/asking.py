"""Asking the scheduler for something, and saying in one line each what came of it. Asked for twice, it is done once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentcom.cli.context import EXIT_FAILED, EXIT_OK
from agentcom.cli.screen import tell, warn
from agentcom.client import Client
from agentcom.ids import shorten
from agentcom.model.lifecycle import RUNNING
from agentcom.model.task import ReadRecord
from agentcom.monitor.look import Now
from agentcom.monitor.wishes import NO_MORE, More, Wish, answered, canceled, requeued, sent_back

REPEATED_S = 60
"""A task that was requeued so recently is not requeued again, unless the attempt that is meant is named."""

READ_AT_ONCE = 2_000
"""Entries of the journal."""

Reply = tuple[bool, str]
"""Whether it was taken into account in time, and why it was refused, if it was."""


async def ask(client: Client, wishes: Sequence[Wish]) -> int:
    """Ask for it all, and say what came of each; the exit code."""
    return tell_all(wishes, await answers_to(client, wishes))


async def answers_to(client: Client, wishes: Sequence[Wish]) -> list[Reply]:
    """Send what is to be sent; the answers in the order of the wishes."""
    requests = [wish.request for wish in wishes if wish.request is not None]
    answers = iter(await client.ask_each(requests) if requests else [])
    return [next(answers) if wish.request is not None else (True, "") for wish in wishes]


def tell_all(wishes: Sequence[Wish], answers: Sequence[Reply]) -> int:
    """Say what came of each; the exit code."""
    for wish, (taken, refusal) in zip(wishes, answers, strict=True):
        if refusal:
            warn(f"agentcom: {wish.name}: {refusal}")
        else:
            tell(f"{wish.name} {wish.said}" if taken else f"{wish.name}: the request waits in the inbox")
    if not all(taken for taken, _ in answers):
        warn("agentcom: no scheduler answered in time: what waits in the inbox is done as soon as one runs")
    return EXIT_FAILED if any(refusal for _, refusal in answers) else EXIT_OK


# -------------------------------------------------------------------- tasks


async def cancel(client: Client, tasks: Sequence[str], why: str) -> int:
    """Have tasks ended; the exit code."""
    records = await client.store.records(tasks)
    names = shorten(set(tasks))
    return await ask(client, [canceled(names[task], task, records.get(task), why) for task in tasks])


async def send_back(client: Client, tasks: Sequence[str], more: More = NO_MORE) -> int:
    """Have tasks tried again, each with so much more budget; the exit code."""
    # What waits in the inbox may yet cancel a task that is open now: only an empty one says that nothing is to be done.
    all_read = not (await client.store.head()).inbox
    records = await client.store.records(tasks)
    names = shorten(set(tasks))
    return await ask(client, [sent_back(names[task], task, records.get(task), all_read, more) for task in tasks])


async def answer(client: Client, tasks: Sequence[str], text: str, more: More) -> int:
    """Have a question answered; the exit code."""
    records = await client.store.records(tasks)
    names = shorten(set(tasks))
    return await ask(client, [answered(names[task], task, records.get(task), text, more) for task in tasks])


async def requeue(client: Client, records: Sequence[ReadRecord], attempt: int | None, why: str, now: Now) -> int:
    """Have tasks taken from the agents that have them; the exit code."""
    names = shorten({record.spec.id for record in records})
    lately = await _requeued_lately(client, now) if attempt is None else {}
    wishes = [
        _repeated(names[record.spec.id], record, lately[record.spec.id], now)
        if record.spec.id in lately and record.state in RUNNING
        else requeued(names[record.spec.id], record, attempt, why)
        for record in records
    ]
    answers = await answers_to(client, wishes)
    later = await client.store.records([record.spec.id for record in records])
    pairs = zip(wishes, records, strict=True)
    return tell_all([as_it_came(wish, record, later) for wish, record in pairs], answers)


async def _requeued_lately(client: Client, now: Now) -> dict[str, int]:
    """Tasks that somebody requeued so recently that a second call is taken for a repetition, with when that was."""
    found: dict[str, int] = {}
    since = f"{now.ms - REPEATED_S * 1_000}-0"
    while entries := await client.store.journal(since, 0, READ_AT_ONCE):
        since = entries[-1][0]
        found |= {line.task: line.at for _, lines in entries for line in lines if line.trigger == "requeue"}
    return found


def _repeated(name: str, record: ReadRecord, at: int, now: Now) -> Wish:
    """The first call did it, and the task went on; nobody meant that it be taken from where it is now."""
    attempt = record.attempts[-1]
    again = f"--attempt {attempt.generation} takes it from there, too"
    return Wish(name, None, f"was requeued {now.ago(at)} already, and {attempt.agent} has it: {again}")


def as_it_came(wish: Wish, before: ReadRecord, later: Mapping[str, ReadRecord]) -> Wish:
    """The same wish, with what really happened: the attempt may have come to its end before it could be taken back."""
    after = later.get(before.spec.id)
    if wish.request is None or after is None or before.state not in RUNNING:
        return wish
    ends = [attempt.outcome for attempt in after.attempts if attempt.generation == before.generation]
    if any(outcome is not None and outcome.reason != "requeued" for outcome in ends):
        return Wish(wish.name, wish.request, f"was not requeued: the attempt had ended, and it is {after.state}")
    return wish
