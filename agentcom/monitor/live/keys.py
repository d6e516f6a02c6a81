"""What keys do: one table, which drives dispatch, footer and help. Pure: a state and a key, and the state that follows.

Small letters look; capitals ask for something to be done, and each is followed by a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from agentcom.monitor.live import forms
from agentcom.monitor.live.actions import AgentAction, TaskAction, on_agent, on_task
from agentcom.monitor.live.decoder import Key
from agentcom.monitor.live.listing import Item, place_of
from agentcom.monitor.live.picture import AGENT, TASK, Picture
from agentcom.monitor.live.state import INTERVALS_S, NEW_TASK, SORTS, VIEWS, Confirm, Create, Form, State, View
from agentcom.monitor.wishes import Wish, answer_to

Mode = Literal["list", "page", "help", "filter", "confirm", "form"]
LOOKING: frozenset[Mode] = frozenset({"list", "page"})
MOVING: frozenset[Mode] = frozenset({"list", "page", "help"})
ANY = "any"
"""The name in the table for whatever key writes something."""


Effect = Literal["quit", "look", "redraw"] | Wish | Create


class Step(NamedTuple):
    """What follows from a key: `look` means at once, `redraw` the whole screen."""

    state: State
    effects: tuple[Effect, ...] = ()


class Context(Struct, frozen=True):
    """What is on the screen.

    Attributes:
        picture: what was seen last; None before the first look.
        items: the rows of the view, in their order.
        rows: how many of them the screen shows.
        lines: how far a page, or the help, can be scrolled.
    """

    picture: Picture | None
    items: tuple[Item, ...]
    rows: int
    lines: int = 0


class Binding(Struct, frozen=True):
    """What a key does.

    Attributes:
        keys: their names; the first is shown.
        label: for the footer; empty: it is not shown there.
        meaning: for the help.
        does: what follows.
        modes: where it does so.
        views: in which views; empty: in all.
        shown: how the key is written; empty: by its name.
        rank: the higher, the sooner the footer leaves it out.
    """

    keys: tuple[str, ...]
    label: str
    meaning: str
    does: Callable[[State, Context, Key], Step]
    modes: frozenset[Mode] = LOOKING
    views: frozenset[View] = frozenset()
    shown: str = ""
    rank: int = 5

    def fits(self, state: State, mode: Mode) -> bool:
        """Whether it does anything as things are."""
        return mode in self.modes and (not self.views or state.view in self.views or bool(state.page))


def mode_of(state: State) -> Mode:
    """What keys are meant for now."""
    if isinstance(state.dialog, Confirm):
        return "confirm"
    if isinstance(state.dialog, Form):
        return "form"
    if state.help:
        return "help"
    if state.typing:
        return "filter"
    return "page" if state.page else "list"


def press(state: State, key: Key, context: Context) -> Step:
    """What follows from a key. One that nothing is bound to changes nothing."""
    mode = mode_of(state)
    for binding in BINDINGS:
        named = key.name in binding.keys or (ANY in binding.keys and _writes(key))
        if named and binding.fits(state, mode):
            # What was said of the last thing asked for has been read.
            return binding.does(replace(state, message=""), context, key)
    return Step(state)


def bound(state: State) -> Iterator[Binding]:
    """What the footer may show, in the order of the table."""
    mode = mode_of(state)
    return (binding for binding in BINDINGS if binding.label and binding.fits(state, mode))


def _writes(key: Key) -> bool:
    editing = ("left", "right", "home", "end", "backspace", "delete", "ctrl-u", "enter")
    return bool(key.text) or key.name in editing


# ------------------------------------------------------------------- looking


def _move(by: Callable[[Context], int]) -> Callable[[State, Context, Key], Step]:
    """Down the list by so many rows, or the page by so many lines; rows are chosen by id, as they move."""

    def does(state: State, context: Context, _: Key) -> Step:
        if state.help or state.page:
            return Step(replace(state, scroll=max(0, min(context.lines, state.scroll + by(context)))))
        ids = [item.id for item in context.items]
        if not ids:
            return Step(state)
        place = max(0, min(len(ids) - 1, place_of(state, ids) + by(context)))
        return Step(replace(state, chosen={**state.chosen, state.view: ids[place]}))

    return does


def _selected(state: State, context: Context) -> Item | None:
    ids = [item.id for item in context.items]
    return context.items[place_of(state, ids)] if ids else None


def subject_of(state: State, context: Context) -> str:
    """What is meant: the page that is open, or the selected row; `agent:NAME`, `task:ID` or empty."""
    item = None if state.page else _selected(state, context)
    return state.page or (item.subject if item is not None else "")


def _open(state: State, context: Context, _: Key) -> Step:
    """From an agent on to what it works on."""
    subject = subject_of(state, context)
    if state.page:
        subject = _task_of(state.page, context)
    if not subject or subject in state.opened:
        return Step(state)
    return Step(replace(state, opened=(*state.opened, subject), scroll=0), ("look",))


def _back(state: State, _context: Context, _key: Key) -> Step:
    if state.help:
        return Step(replace(state, help=False, scroll=0))
    if state.opened:
        return Step(replace(state, opened=state.opened[:-1], scroll=0))
    return Step(replace(state, filter="", problems=False))


def _view(by: int) -> Callable[[State, Context, Key], Step]:
    def does(state: State, _context: Context, _key: Key) -> Step:
        view = VIEWS[(VIEWS.index(state.view) + by) % len(VIEWS)]
        return Step(replace(state, view=view, opened=(), scroll=0), ("look",))

    return does


def _numbered(state: State, _context: Context, key: Key) -> Step:
    return Step(replace(state, view=VIEWS[int(key.name) - 1], opened=(), scroll=0), ("look",))


def _problems(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, problems=not state.problems))


def _sort(state: State, _context: Context, _key: Key) -> Step:
    number = (state.sort.get(state.view, 0) + 1) % len(SORTS[state.view])
    return Step(replace(state, sort={**state.sort, state.view: number}))


def _pause(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, paused=not state.paused), () if not state.paused else ("look",))


def _interval(by: int) -> Callable[[State, Context, Key], Step]:
    def does(state: State, _context: Context, _key: Key) -> Step:
        nearest = min(range(len(INTERVALS_S)), key=lambda place: abs(INTERVALS_S[place] - state.interval_s))
        interval_s = INTERVALS_S[max(0, min(len(INTERVALS_S) - 1, nearest + by))]
        return Step(replace(state, interval_s=interval_s, message=f"looks every {interval_s:g} s"))

    return does


def _help(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, help=not state.help, scroll=0))


# -------------------------------------------------------------------- filter


def _filter(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, typing=True))


def _type_filter(state: State, _context: Context, key: Key) -> Step:
    if key.name == "backspace":
        return Step(replace(state, filter=state.filter[:-1]))
    if key.name == "ctrl-u":
        return Step(replace(state, filter=""))
    return Step(replace(state, filter=(state.filter + key.text.replace("\n", " "))[:200]))


def _keep_filter(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, typing=False))


def _drop_filter(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, typing=False, filter=""))


# ------------------------------------------------------------------- asking


def _on_task(action: TaskAction) -> Callable[[State, Context, Key], Step]:
    def does(state: State, context: Context, _: Key) -> Step:
        subject = subject_of(state, context)
        task = subject if subject.startswith(TASK) else _task_of(subject, context)
        if context.picture is None or not task:
            return Step(replace(state, message=f"nothing to {action} here: select a task"))
        return _asked(state, on_task(action, task.removeprefix(TASK), context.picture))

    return does


def _on_agent(action: AgentAction) -> Callable[[State, Context, Key], Step]:
    def does(state: State, context: Context, _: Key) -> Step:
        subject = subject_of(state, context)
        agent = subject if subject.startswith(AGENT) else _agent_of(subject, context)
        if context.picture is None or not agent:
            return Step(replace(state, message=f"nothing to {action} here: select an agent"))
        return _asked(state, on_agent(action, agent.removeprefix(AGENT), context.picture))

    return does


def _task_of(subject: str, context: Context) -> str:
    """What an agent works on: what something is wrong with first."""
    picture = context.picture
    agent = picture.agents.get(subject.removeprefix(AGENT)) if picture is not None else None
    running = picture.running(agent) if picture is not None and agent is not None else []
    return TASK + running[0].spec.id if running else ""


def _agent_of(subject: str, context: Context) -> str:
    """Who works on a task."""
    picture = context.picture
    record = picture.records.get(subject.removeprefix(TASK)) if picture is not None else None
    last = record.attempts[-1] if record is not None and record.attempts else None
    return AGENT + last.agent if last is not None and not last.ended_at else ""


def _asked(state: State, dialog: Confirm | Form | str) -> Step:
    if isinstance(dialog, str):
        return Step(replace(state, message=dialog))
    return Step(replace(state, dialog=dialog))


def _new(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, dialog=NEW_TASK))


def _yes(state: State, _context: Context, _key: Key) -> Step:
    assert isinstance(state.dialog, Confirm)
    return Step(replace(state, dialog=None, message=f"asking: {state.dialog.question[:-1]} …"), (state.dialog.wish,))


def _no(state: State, _context: Context, _key: Key) -> Step:
    return Step(replace(state, dialog=None, message="nothing was done"))


def _next_field(by: int) -> Callable[[State, Context, Key], Step]:
    def does(state: State, _context: Context, _key: Key) -> Step:
        assert isinstance(state.dialog, Form)
        return Step(replace(state, dialog=forms.moved(state.dialog, by)))

    return does


def _type_field(state: State, _context: Context, key: Key) -> Step:
    form = state.dialog
    assert isinstance(form, Form)
    if key.name == "enter" and forms.on_button(form):
        return _sent(state, form)
    if key.name == "enter" and not form.fields[form.at].lines:
        return Step(replace(state, dialog=forms.moved(form, 1)))
    return Step(replace(state, dialog=forms.typed(form, key)))


def _sent(state: State, form: Form) -> Step:
    if form.kind == "answer":
        text = form.text_of("answer").strip()
        if not text:
            return Step(replace(state, dialog=replace(form, at=0, problem="an answer says something")))
        wish = answer_to(form.name, form.subject, form.generation, text)
        return Step(replace(state, dialog=None, message="sending the answer …"), (wish,))
    made = forms.create(form)
    if isinstance(made, Form):
        return Step(replace(state, dialog=made))
    return Step(replace(state, dialog=None, message="submitting …"), (made,))


def _effect(*effects: Effect) -> Callable[[State, Context, Key], Step]:
    return lambda state, _context, _key: Step(state, effects)


LIST: frozenset[Mode] = frozenset({"list"})
FILTER: frozenset[Mode] = frozenset({"filter"})
CONFIRM: frozenset[Mode] = frozenset({"confirm"})
FORM: frozenset[Mode] = frozenset({"form"})
OF_TASKS: frozenset[View] = frozenset({"agents", "tasks", "dead", "journal", "findings"})
OF_AGENTS: frozenset[View] = frozenset({"agents", "journal", "costs", "findings"})

BINDINGS: tuple[Binding, ...] = (
    Binding(("y", "Y", "enter"), "do it", "do what is asked", _yes, CONFIRM, shown="y", rank=0),
    Binding(("n", "esc", "q"), "leave it", "leave it", _no, CONFIRM, shown="n", rank=0),
    Binding(("enter",), "keep", "keep the filter", _keep_filter, FILTER, rank=0),
    Binding(("esc",), "drop", "drop the filter", _drop_filter, FILTER, rank=0),
    Binding(("tab", "down"), "next field", "the next field", _next_field(1), FORM, shown="tab", rank=0),
    Binding(("backtab", "up"), "", "the field before", _next_field(-1), FORM, shown="shift-tab"),
    Binding(("esc",), "leave it", "leave the form", _no, FORM, rank=0),
    Binding((ANY,), "", "type", _type_field, FORM),
    Binding((ANY,), "", "type", _type_filter, FILTER),
    Binding(("?",), "help", "this help, and back", _help, MOVING, rank=1),
    Binding(("q",), "quit", "quit", _effect("quit"), LOOKING, rank=1),
    Binding(("enter", "right"), "open", "open the row: all there is to say of an agent or a task", _open, rank=3),
    Binding(("esc", "backspace", "left"), "back", "back; in a list: show all rows again", _back, MOVING, rank=4),
    Binding(("q",), "", "back", _back, frozenset({"help"})),
    Binding(("down", "j"), "select", "the next row, or line", _move(lambda _: 1), MOVING, shown="↓ j", rank=6),
    Binding(("up", "k"), "", "the one before", _move(lambda _: -1), MOVING, shown="↑ k"),
    Binding(("pgdn", " "), "", "a screen down", _move(lambda context: max(1, context.rows - 1)), MOVING, shown="PgDn"),
    Binding(("pgup", "b"), "", "a screen up", _move(lambda context: 1 - max(2, context.rows)), MOVING, shown="PgUp"),
    Binding(("home", "g"), "", "the first", _move(lambda _: -(1 << 40)), MOVING, shown="Home"),
    Binding(("end",), "", "the last", _move(lambda _: 1 << 40), MOVING, shown="End"),
    Binding(("!",), "problems", "only what something is wrong with, and back", _problems, LIST, rank=2),
    Binding(("/",), "filter", "only rows that contain what is typed", _filter, LIST, rank=5),
    Binding(("tab",), "view", "the next view", _view(1), rank=5),
    Binding(("backtab",), "", "the view before", _view(-1), shown="shift-tab"),
    Binding(("1", "2", "3", "4", "5", "6"), "", "the view of this number", _numbered, shown="1-6"),
    Binding(("s",), "sort", "another order", _sort, LIST, rank=7),
    Binding(("p",), "pause", "read nothing more, and go on", _pause, rank=8),
    Binding(("+", "="), "", "look less often", _interval(1), shown="+"),
    Binding(("-",), "", "look more often", _interval(-1)),
    Binding(("r",), "", "look now", _effect("look")),
    Binding(("ctrl-l",), "", "draw the screen anew", _effect("redraw"), MOVING),
    Binding(("N",), "new", "submit a new task", _new, rank=6),
    Binding(("C",), "cancel", "cancel the task", _on_task("cancel"), views=OF_TASKS, rank=7),
    Binding(("R",), "retry", "send the task back, or on", _on_task("retry"), views=OF_TASKS, rank=8),
    Binding(("Q",), "requeue", "take the task to another agent", _on_task("requeue"), views=OF_TASKS, rank=7),
    Binding(("A",), "answer", "answer what the task asks", _on_task("answer"), views=OF_TASKS, rank=8),
    Binding(
        ("D",),
        "drain",
        "drain the agent: what it has may end",
        _on_agent("drain"),
        views=OF_AGENTS,
        rank=7,
    ),
    Binding(("O",), "cordon", "cordon the agent: no more work", _on_agent("cordon"), views=OF_AGENTS, rank=9),
    Binding(("U",), "resume", "put the agent back into service", _on_agent("resume"), views=OF_AGENTS, rank=9),
)
"""All that keys do. The first that fits counts."""
