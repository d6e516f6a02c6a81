"""Waiting for tasks before the eyes of a person: what happens meanwhile is shown, and nobody has to ask again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import anyio
from rich.status import Status
from rich.text import Text

from agentcom.broker.connection import until_back
from agentcom.cli.screen import console, show
from agentcom.client import RECHECK_S, Client
from agentcom.ids import short, shorten
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.messages import Line
from agentcom.model.task import ReadRecord
from agentcom.monitor.look import STYLES
from agentcom.monitor.table import said
from agentcom.monitor.task_view import STATE_ORDER, agent_of, manner, reason_of
from agentcom.wording import count, one_line

LISTEN_MS = 1_000
UNREAD = "not taken on yet"


class Progress:
    """What is known of some tasks while they are waited for."""

    def __init__(self, tasks: Sequence[str], on_line: Callable[[Line], None]) -> None:
        self.pending = dict.fromkeys(tasks)
        self.ended: dict[str, ReadRecord] = {}
        self.states: dict[str, tuple[str, str]] = {}
        self._on_line = on_line

    def read(self, records: dict[str, ReadRecord]) -> list[ReadRecord]:
        """Take records into account; those that ended now."""
        ended = [record for id_, record in records.items() if id_ in self.pending and record.state in ENDED]
        self.states |= {id_: (record.state, agent_of(record)) for id_, record in records.items()}
        for record in ended:
            del self.pending[record.spec.id]
            self.ended[record.spec.id] = record
        return ended

    def hear(self, line: Line) -> bool:
        """Take a line of the journal into account; whether one of the tasks ended by it."""
        if line.task not in self.pending or line.what != "task":
            return False
        self.states[line.task] = (line.after, line.agent)
        self._on_line(line)
        return line.after in ENDED

    def sentence(self) -> str:
        """Where things stand: `2 of 8 ended · 1 working · 5 queued`, or of a single task its state."""
        if len(self.pending) + len(self.ended) == 1:
            state, agent = next(iter(self.states.values()), (UNREAD, ""))
            return f"{state} on {agent}" if agent and state in RUNNING else state
        states = Counter(self.states.get(id_, (UNREAD, ""))[0] for id_ in self.pending)
        listed = [f"{states[state]:,} {state}" for state in (*STATE_ORDER, UNREAD) if states[state]]
        total = count(len(self.pending) + len(self.ended), "task")
        return " · ".join([f"{len(self.ended):,} of {total} ended", *listed])


async def until_ended(
    client: Client, progress: Progress, on_ended: Callable[[list[ReadRecord]], None], on_change: Callable[[], None]
) -> None:
    """Wait until all tasks ended. Redis may be away meanwhile."""
    since = await client.store.journal_end()
    look_at = 0.0
    wanted = list(progress.pending)
    while progress.pending:
        if wanted or anyio.current_time() >= look_at:
            if anyio.current_time() >= look_at:
                wanted, look_at = list(progress.pending), anyio.current_time() + RECHECK_S
            asked = wanted
            ended = progress.read(await until_back(lambda: client.store.records(asked), lambda _: None))  # noqa: B023
            if ended:
                on_ended(ended)
            wanted = []
        on_change()
        if not progress.pending:
            return
        for entry, lines in await until_back(lambda: client.store.journal(since, LISTEN_MS), lambda _: None):  # noqa: B023
            since = entry
            wanted += [line.task for line in lines if progress.hear(line)]


async def wait_and_tell(client: Client, tasks: Sequence[str], *, quiet: bool = False) -> dict[str, ReadRecord]:
    """Wait until all of these ended, and tell how it goes: by a status line on a terminal, else line by line."""
    names = shorten(set(tasks))
    status = Status("waiting", console=console(stderr=True)) if console(stderr=True).is_terminal and not quiet else None

    def tell_line(line: Line) -> None:
        if status is None and not quiet and line.after not in ENDED:
            show([transition(line, names[line.task])])

    def tell_end(records: list[ReadRecord]) -> None:
        if not quiet:
            with _paused(status, resume=bool(progress.pending)):
                show(ending(record, names[record.spec.id]) for record in records)

    def tell_standing() -> None:
        if status is not None:
            status.update(said(progress.sentence()))

    progress = Progress(tasks, tell_line)
    with status or nullcontext():
        await until_ended(client, progress, tell_end, tell_standing)
    return progress.ended


@contextmanager
def _paused(status: Status | None, *, resume: bool) -> Iterator[None]:
    """Take the status away from the terminal while something else is printed there, or for good."""
    if status is not None:
        status.stop()
    yield
    if status is not None and resume:
        status.start()


def transition(line: Line, name: str) -> Text:
    """What happened to a task, in one line: `tk-9f21c4  working on oak`."""
    on = f" on {line.agent}" if line.agent and line.after in RUNNING else ""
    because = f": {line.reason}" if line.reason else ""
    return Text.assemble(said(name, "bold"), "  ", said(line.after, STYLES.get(line.after, "")), said(on + because))


def ending(record: ReadRecord, name: str) -> Text:
    """How a task ended, in one line: `tk-9f21c4  completed by oak in 12s: renamed the flag`."""
    summary = record.outcome.summary if record.state == "completed" and record.outcome is not None else ""
    explained = one_line(summary or reason_of(record), 500)
    return Text.assemble(
        said(name, "bold"),
        "  ",
        said(record.state, STYLES.get(record.state, "")),
        said(manner(record) + (f": {explained}" if explained else "")),
    )


def all_completed(records: dict[str, ReadRecord]) -> bool:
    """Whether the work is done."""
    return all(record.state == "completed" for record in records.values())


def goes_on(tasks: Sequence[str]) -> str:
    """What to tell who stops waiting."""
    names = " ".join(short(task) for task in tasks[:5]) + (" …" if len(tasks) > 5 else "")
    verb = "goes on" if len(tasks) == 1 else "go on"
    return f"{names} {verb}. Look: agentcom show {short(tasks[0])}; end it: agentcom cancel {short(tasks[0])}"
