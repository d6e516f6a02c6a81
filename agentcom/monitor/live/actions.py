"""What a person may do from the screen, and what is said of it before: it is asked for, as by any command. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from agentcom.model.agent import AgentRecord
from agentcom.model.lifecycle import ENDED, RUNNING
from agentcom.model.task import ReadRecord
from agentcom.monitor.live.picture import Picture
from agentcom.monitor.live.state import Confirm, Field, Form
from agentcom.monitor.task_view import agent_of, asked_of_a_person, reason_of
from agentcom.monitor.wishes import canceled, cordoned, drained, requeued, resumed, sent_back
from agentcom.wording import count, one_line

TaskAction = Literal["cancel", "retry", "requeue", "answer"]
AgentAction = Literal["drain", "cordon", "resume"]

BY = "asked for in agentcom monitor"
"""What the journal says of why."""

TITLE_CELLS = 60


def on_task(action: TaskAction, task: str, picture: Picture) -> Confirm | Form | str:
    """What to ask before it is done to a task; or why it cannot be done."""
    record = picture.records.get(task)
    if record is None and task not in picture.letters:
        return f"{picture.name(task)} is not kept any more, or has not been read yet"
    return TASK_ACTIONS[action](picture.name(task), task, record)


def on_agent(action: AgentAction, agent: str, picture: Picture) -> Confirm | str:
    """What to ask before it is done to an agent; or why it cannot be done."""
    record = picture.agents.get(agent)
    return AGENT_ACTIONS[action](record) if record is not None else f"{agent} is no agent of the pool"


def _titled(name: str, record: ReadRecord | None) -> str:
    return f"{name} ({one_line(record.spec.heading, TITLE_CELLS)})" if record is not None else name


def _cancel(name: str, task: str, record: ReadRecord | None) -> Confirm | str:
    if record is None or record.state in ENDED:
        return f"{name} has ended: there is nothing to cancel"
    running = record.state in RUNNING
    stopped = f"{agent_of(record)} is told to stop; its whole process tree ends within seconds" if running else ""
    lines = (stopped or "It is taken out of the queue", "It ends as canceled; R sends it back later")
    return Confirm(f"Cancel {_titled(name, record)}?", lines, canceled(name, task, record, BY))


def _retry(name: str, task: str, record: ReadRecord | None) -> Confirm | str:
    wish = sent_back(name, task, record, all_read=True)
    if wish.request is None:
        return f"{name} {wish.said}"
    waits = record is not None and record.state == "input_required"
    lines = (
        asked_of_a_person(record) if waits and record is not None else "",
        "It goes on to the queue" if waits else "It goes back to the queue",
        "with all its attempts before it again",
    )
    return Confirm(f"Retry {_titled(name, record)}?", tuple(filter(None, lines)), wish)


def _requeue(name: str, _task: str, record: ReadRecord | None) -> Confirm | str:
    if record is None or record.state in ENDED:
        return f"{name} has ended: R sends it back"
    wish = requeued(name, record, None, BY)
    if wish.request is None:
        return f"{name} {wish.said}"
    if record.state == "input_required":
        return f"{name} waits for a person: R sends it on"
    taken = (
        f"It is taken from {agent_of(record)}, which is told to stop" if record.state in RUNNING else "Its delay ends"
    )
    return Confirm(
        f"Requeue {_titled(name, record)}?", (taken, "Another agent takes it; the attempt does not count"), wish
    )


def _answer(name: str, task: str, record: ReadRecord | None) -> Form | str:
    if record is None or record.state != "input_required":
        return f"{name} asks nothing"
    if not record.question:
        return f"{name} waits for a person, but asks nothing: {asked_of_a_person(record) or reason_of(record)}"
    return Form(
        kind="answer",
        title=f"Answer {_titled(name, record)}",
        fields=(Field("answer", lines=True),),
        subject=task,
        name=name,
        generation=record.generation,
    )


def _drain(agent: AgentRecord) -> Confirm | str:
    if agent.draining:
        return f"{agent.name} is draining already"
    lines = ("It is given no more work", _keeps(agent), "U puts it back into service")
    return Confirm(f"Drain {agent.name}?", lines, drained(agent))


def _cordon(agent: AgentRecord) -> Confirm | str:
    if agent.cordoned:
        return f"{agent.name} is cordoned already"
    lines = ("It is given no more work", _keeps(agent), "U puts it back into service")
    return Confirm(f"Cordon {agent.name}?", lines, cordoned(agent))


def _keeps(agent: AgentRecord) -> str:
    held = len(agent.running)
    return f"The {count(held, 'task')} that it has may come to their end" if held else "It has nothing just now"


def _resume(agent: AgentRecord) -> Confirm | str:
    if not agent.cordoned and not agent.draining:
        return f"{agent.name} is in service: nobody took it out"
    other = agent.unfit or (agent.degraded_why if agent.degraded_until else "")
    lines = ("It is given work again", f"It stays degraded all the same: {other}" if other else "")
    return Confirm(f"Resume {agent.name}?", tuple(filter(None, lines)), resumed(agent))


TASK_ACTIONS: dict[TaskAction, Callable[[str, str, ReadRecord | None], Confirm | Form | str]] = {
    "cancel": _cancel,
    "retry": _retry,
    "requeue": _requeue,
    "answer": _answer,
}
AGENT_ACTIONS: dict[AgentAction, Callable[[AgentRecord], Confirm | str]] = {
    "drain": _drain,
    "cordon": _cordon,
    "resume": _resume,
}
