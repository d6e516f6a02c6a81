"""Forms to fill in: what typing does to them, and what comes of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from agentcom.capability import InvalidRequirement
from agentcom.model.agent import AgentRecord
from agentcom.model.task import PRIORITIES, TaskSpec
from agentcom.monitor.explain_view import judge, nobody, summary
from agentcom.monitor.live.decoder import Key
from agentcom.monitor.live.state import Create, Field, Form
from agentcom.wording import count

LENGTH_MAX = 65_536


def moved(form: Form, by: int) -> Form:
    """The next or previous field, the button included."""
    return replace(form, at=(form.at + by) % (len(form.fields) + 1), problem="")


def on_button(form: Form) -> bool:
    """Whether enter sends it."""
    return form.at == len(form.fields)


def typed(form: Form, key: Key) -> Form:
    """What a key does to the field that is typed into."""
    if on_button(form):
        return form
    field = form.fields[form.at]
    changed = _chosen(field, key) if field.choices else _edited(field, key)
    fields = (*form.fields[: form.at], changed, *form.fields[form.at + 1 :])
    return replace(form, fields=fields, problem="")


def _chosen(field: Field, key: Key) -> Field:
    step = {"left": -1, "right": 1, " ": 1}.get(key.name, 0)
    place = field.choices.index(field.text) + step
    return replace(field, text=field.choices[place % len(field.choices)])


def _edited(field: Field, key: Key) -> Field:
    text, at = field.text, field.cursor
    cursors = {"left": max(0, at - 1), "right": min(len(text), at + 1), "home": 0, "end": len(text)}
    if key.name in cursors:
        return replace(field, cursor=cursors[key.name])
    if key.name == "backspace":
        first = max(0, at - 1)
        return replace(field, text=text[:first] + text[at:], cursor=first)
    if key.name == "delete":
        return replace(field, text=text[:at] + text[at + 1 :])
    if key.name == "ctrl-u":
        return replace(field, text=text[at:], cursor=0)
    more = "\n" if key.name == "enter" else key.text
    return _with(field, more if field.lines else more.replace("\n", " "))


def _with(field: Field, more: str) -> Field:
    text, at = field.text, field.cursor
    more = more[: max(0, LENGTH_MAX - len(text))]
    return replace(field, text=text[:at] + more + text[at:], cursor=at + len(more))


def spec_of(form: Form) -> TaskSpec:
    """The task that the form describes."""
    return TaskSpec(
        text=form.text_of("text").strip(),
        title=form.text_of("title").strip(),
        requires=form.text_of("requires").strip(),
        priority=next(priority for priority in PRIORITIES if priority == form.text_of("priority")),
    )


def outlook(form: Form, agents: Sequence[AgentRecord]) -> str:
    """Who could take the task as it is described: `3 agents could take this, 1 at once`."""
    try:
        judged = judge(spec_of(form), None, agents)
    except InvalidRequirement as error:
        return f"requires: {error}"
    if nobody(judged):
        return f"nobody could take this: {summary(judged)}"
    able = sum(not agent.never for agent in judged)
    at_once = sum(not agent.now for agent in judged)
    return f"{count(able, 'agent')} could take this, {at_once} at once"


def create(form: Form) -> Create | Form:
    """The task to submit; or the form with what is wrong."""
    spec = spec_of(form)
    if not spec.text:
        return replace(form, at=0, problem="say what is to be done")
    try:
        judge(spec, None, [])
    except InvalidRequirement as error:
        return replace(form, at=[field.name for field in form.fields].index("requires"), problem=str(error))
    return Create(spec)
