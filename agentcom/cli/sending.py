"""Sending a submission, and saying what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from rich.text import Text

from agentcom.client import CONFIRM_S, Client, TaskHandle
from agentcom.ids import short, shorten
from agentcom.model.lifecycle import WAITING
from agentcom.model.messages import Refusal
from agentcom.model.task import ReadRecord, TaskSpec
from agentcom.monitor.explain_view import judge, nobody, summary
from agentcom.monitor.table import cut, said
from agentcom.monitor.task_view import brief, whole
from agentcom.wording import count, one_line

REMARKS_SHOWN = 20
NAMES_SHOWN = 3


class Submitted(Struct, frozen=True):
    """A task that the pool has, or that is on its way to it.

    Attributes:
        id: its full id.
        admitted: a scheduler was seen to take it on; if not, it waits in the inbox.
        existing: it was submitted before, with the same idempotency key.
    """

    id: str
    admitted: bool
    existing: bool


class Sent(Struct, frozen=True):
    """What came of a submission.

    Attributes:
        tasks: those that there are now.
        refused: those that were not taken on, with the reason.
        records: by id; of a task that no scheduler has taken on yet there is none.
        stranded: ids of tasks that no registered agent could ever take, each with why.
    """

    tasks: list[Submitted]
    refused: list[tuple[TaskSpec, str]]
    records: dict[str, ReadRecord]
    stranded: dict[str, str]

    @property
    def ids(self) -> list[str]:
        """All tasks that there are now, each once."""
        return list(dict.fromkeys(task.id for task in self.tasks))


async def send(client: Client, specs: Sequence[TaskSpec], existing: Sequence[str]) -> Sent:
    """Submit these, and look at them; `existing` are tasks that need no submission, as the pool has them already."""
    answers = await client.submit_each(specs)
    tasks = [
        Submitted(answer.id, answer.admitted, answer.existing) for answer in answers if isinstance(answer, TaskHandle)
    ]
    tasks += [Submitted(id_, admitted=True, existing=True) for id_ in existing]
    pairs = zip(specs, answers, strict=True)
    refused = [(spec, answer.reason) for spec, answer in pairs if isinstance(answer, Refusal)]
    records = await client.store.records([task.id for task in tasks if task.admitted])
    return Sent(tasks, refused, records, await _stranded(client, records))


async def _stranded(client: Client, records: dict[str, ReadRecord]) -> dict[str, str]:
    """Of tasks that the scheduler noted that nobody could take them, those of which it is still so."""
    noted = [record for record in records.values() if record.note and record.state in WAITING]
    agents = await client.agents() if noted else []
    judged = {record.spec.id: judge(record.spec, record, agents) for record in noted}
    return {task: summary(verdict) for task, verdict in judged.items() if nobody(verdict)}


def lines(sent: Sent, width: int | None, *, backlog: bool) -> list[Text]:
    """What came of it, for people: a line for each task that is new, or that was named by itself, and the sum."""
    names = shorten(set(sent.ids))
    shown = [task for task in sent.tasks if not (backlog and task.existing)]
    told = [cut(_line(task, names[task.id], sent.records.get(task.id)), width) for task in shown]
    refused = f", {len(sent.refused)} refused" if sent.refused else ""
    if backlog:
        added = sum(not task.existing for task in sent.tasks)
        told.append(said(f"{added:,} added, {len(sent.tasks) - added:,} already there{refused}"))
    elif len(sent.tasks) + len(sent.refused) > 1:
        told.append(said(f"{count(len(sent.tasks), 'task')} submitted{refused}"))
    return told


def _line(task: Submitted, name: str, record: ReadRecord | None) -> Text:
    if not task.admitted:
        what = "waits in the inbox"
    elif record is None:
        what = "was submitted before with this key, and is not kept any more" if task.existing else "submitted"
    else:
        what = f"was submitted before with this key: {record.state}" if task.existing else record.state
    return Text.assemble(
        said(name, "bold"), said(f" {what}"), said(f"  {record.spec.heading}" if record is not None else "", "dim")
    )


def remarks(sent: Sent) -> list[str]:
    """What its submitter has to know, a line each; the same reason of many tasks is one line."""
    several = len(sent.tasks) + len(sent.refused) > 1
    refused: dict[str, list[str]] = {}
    for spec, reason in sent.refused:
        refused.setdefault(reason, []).append(repr(one_line(spec.heading, 60)))
    names = shorten(set(sent.ids))
    stranded: dict[str, list[str]] = {}
    for id_, why in sent.stranded.items():
        stranded.setdefault(why, []).append(names[id_])
    told = [f"refused {_first(titles)}: {why}" if several else f"refused: {why}" for why, titles in refused.items()]
    for why, tasks in stranded.items():
        stays = "It stays" if len(tasks) == 1 else "They stay"
        told.append(f"nobody can take {_first(tasks)}: {why}. {stays}, in case that changes")
    if len(told) > REMARKS_SHOWN:
        told[REMARKS_SHOWN:] = [f"and {len(told) - REMARKS_SHOWN:,} more reasons of this kind"]
    waiting = sum(not task.admitted for task in sent.tasks)
    if waiting:
        which = "it waits" if waiting == 1 else f"{waiting:,} tasks wait"
        told.append(f"no scheduler answered within {CONFIRM_S:g} s: {which} in the inbox until one runs")
    return told


def _first(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def document(sent: Sent, pool: str, *, ended: dict[str, ReadRecord]) -> dict[str, Any]:
    """What came of it, for scripts. Tasks that were waited for are shown whole."""

    def task(submitted: Submitted) -> dict[str, Any]:
        id_ = submitted.id
        record = sent.records.get(id_)
        about = whole(ended[id_]) if id_ in ended else brief(record) if record is not None else None
        return (about or {"id": id_, "short": short(id_), "state": "submitted"}) | {
            "admitted": submitted.admitted,
            "existing": submitted.existing,
        }

    refused = [{"id": spec.id, "title": spec.heading, "reason": reason} for spec, reason in sent.refused]
    return {"pool": pool, "tasks": [task(submitted) for submitted in sent.tasks], "refused": refused}
