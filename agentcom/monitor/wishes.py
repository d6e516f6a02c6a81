"""What a person may ask for about a task or an agent, and what to say when it was done. Pure.

The same for the commands and the monitor's keys.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from agentcom.model.agent import AgentRecord
from agentcom.model.lifecycle import ENDED
from agentcom.model.messages import Answer, AnyRequest, Cancel, Cordon, Drain, Requeue, Reset, Resume, Retry
from agentcom.model.task import ReadRecord
from agentcom.wording import count


class Wish(Struct, frozen=True):
    """What is asked for about one task or agent.

    Attributes:
        name: of the task or agent, as people read it.
        request: what to send; none where there is nothing to do.
        said: what to say of it, behind the name, unless it is refused.
    """

    name: str
    request: AnyRequest | None
    said: str


def canceled(name: str, task: str, record: ReadRecord | None, why: str) -> Wish:
    """End it, also while it runs."""
    over = record is not None and record.state == "canceled"
    return Wish(name, Cancel(task=task, why=why), "was canceled already" if over else "canceled")


class More(Struct, frozen=True):
    """What is added to a task's budget."""

    tokens: int = 0
    usd: float = 0.0


NO_MORE = More()


def sent_back(name: str, task: str, record: ReadRecord | None, all_read: bool, more: More = NO_MORE) -> Wish:
    """What to ask for so that a task is tried again; nothing of one that is open, if that is sure."""
    generation = record.generation if record is not None else 0
    request = Retry(task=task, generation=generation, add_tokens=more.tokens, add_usd=more.usd)
    if record is not None and record.state == "input_required":
        return Wish(name, request, "sent on")
    if record is None or record.state in ENDED:
        return Wish(name, request, "sent back")
    # What is about to end it may wait in the inbox: then it is not known which attempt is meant.
    unfenced = replace(request, generation=0)
    return Wish(name, None, f"is {record.state} already") if all_read else Wish(name, unfenced, "sent back")


def requeued(name: str, record: ReadRecord, attempt: int | None, why: str) -> Wish:
    """Take it from the agent that has it as this attempt, or as the one it has now, and from no later one."""
    generation = record.generation
    if record.state in ("submitted", "blocked", "queued"):
        return Wish(name, None, f"is {record.state} already: no agent has it")
    if record.state not in ENDED and attempt not in (None, generation):
        return Wish(name, None, f"is at attempt {generation} now: there is no attempt {attempt} to take back")
    return Wish(name, Requeue(task=record.spec.id, generation=generation, why=why), "requeued")


def answered(name: str, task: str, record: ReadRecord | None, text: str, more: More = NO_MORE) -> Wish:
    """What to ask for so that a question is answered; nothing, if it was, in these words."""
    if record is not None and record.answer == text.strip():
        return Wish(name, None, "was answered so already")
    return answer_to(name, task, record.generation if record is not None else 0, text, more)


def answer_to(name: str, task: str, generation: int, text: str, more: More = NO_MORE) -> Wish:
    """Answer what this attempt of it asked; 0: whichever is its latest."""
    request = Answer(task=task, text=text, generation=generation, add_tokens=more.tokens, add_usd=more.usd)
    return Wish(name, request, "answered")


def cordoned(agent: AgentRecord) -> Wish:
    """Give it no more work."""
    said = "was cordoned already" if agent.cordoned else f"cordoned{_keeps(agent)}"
    return Wish(agent.name, Cordon(agent=agent.name), said)


def drained(agent: AgentRecord) -> Wish:
    """Give it no more work, and let what it has come to its end."""
    said = f"{'was draining already' if agent.draining else 'drains'}{_keeps(agent)}"
    return Wish(agent.name, Drain(agent=agent.name), said)


def _keeps(agent: AgentRecord) -> str:
    return f"; it still has {count(len(agent.running), 'task')}" if agent.running else ""


def resumed(agent: AgentRecord) -> Wish:
    """Put it back into service."""
    # Underneath a person's wish there may be another cause, and the person should not wait for work in vain.
    other = agent.unfit or (agent.degraded_why if agent.degraded_until else "")
    back = f"is back in service{f', and degraded: {other}' if other else ''}"
    said = back if agent.cordoned or agent.draining else "was in service already"
    return Wish(agent.name, Resume(agent=agent.name), said)


def forgiven(agent: AgentRecord) -> Wish:
    """Forget what it is degraded or rate limited for."""
    held = agent.strikes or agent.degraded_until or agent.limited_until or agent.probation
    unfit = f"; its last self-test found: {agent.unfit}" if agent.unfit else ""
    return Wish(
        agent.name, Reset(agent=agent.name), f"{'is forgiven' if held else 'had nothing held against it'}{unfit}"
    )
