"""What a person who looks on has chosen: which view, what in it, how it is sorted, what is open. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from agentcom.model.task import PRIORITIES, TaskSpec
from agentcom.monitor.wishes import Wish

View = Literal["agents", "tasks", "dead", "journal", "costs", "findings"]
VIEWS: tuple[View, ...] = ("agents", "tasks", "dead", "journal", "costs", "findings")

INTERVALS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

SORTS: dict[View, tuple[str, ...]] = {
    "agents": ("trouble", "name", "state", "done"),
    "tasks": ("trouble", "urgency", "age", "lane", "agent"),
    "dead": ("newest", "oldest", "reason"),
    "journal": ("newest", "oldest"),
    "costs": ("day", "tokens"),
    "findings": ("gravest", "newest"),
}
"""By what each view can be sorted; the first is how it begins."""


class Create(Struct, frozen=True):
    """Submit this task."""

    spec: TaskSpec


class Confirm(Struct, frozen=True):
    """A question before something is done: what will happen, a line each."""

    question: str
    lines: tuple[str, ...]
    wish: Wish


class Field(Struct, frozen=True):
    """A field of a form: what was typed into it so far, and where the cursor is."""

    name: str
    text: str = ""
    cursor: int = 0
    lines: bool = False
    choices: tuple[str, ...] = ()


class Form(Struct, frozen=True):
    """Fields to fill in; behind them stands a button.

    Attributes:
        kind: what it is for.
        title: of the form.
        subject, name, generation: the task that is answered, how it is called, and its attempt that asked; empty for a
            new one.
        at: the field that is typed into; the number of fields means the button.
        problem: why it cannot be sent as it is.
    """

    kind: Literal["task", "answer"]
    title: str
    fields: tuple[Field, ...]
    subject: str = ""
    name: str = ""
    generation: int = 0
    at: int = 0
    problem: str = ""

    def text_of(self, name: str) -> str:
        """What stands in a field."""
        return next(field.text for field in self.fields if field.name == name)


NEW_TASK = Form(
    kind="task",
    title="New task",
    fields=(
        Field("text", lines=True),
        Field("title"),
        Field("requires"),
        Field("priority", "normal", choices=PRIORITIES),
    ),
)


class State(Struct, frozen=True):
    """Everything that keys change.

    Attributes:
        view: the list that is shown, or stands behind what is open.
        chosen: id of the selected row of each view; without one it is the first.
        filter: only rows that contain it are shown.
        typing: the filter is being typed.
        problems: only rows with something wrong are shown.
        sort: number of the order of each view.
        paused: nothing is read any more.
        interval_s: from one look to the next.
        opened: subjects of pages that are open, the last on top.
        scroll: lines that are scrolled past, of a page or the help.
        help: the help is shown.
        dialog: what is asked, or filled in.
        message: what came of the last thing asked for.
    """

    view: View = "agents"
    chosen: dict[View, str] = {}
    filter: str = ""
    typing: bool = False
    problems: bool = False
    sort: dict[View, int] = {}
    paused: bool = False
    interval_s: float = 2.0
    opened: tuple[str, ...] = ()
    scroll: int = 0
    help: bool = False
    dialog: Confirm | Form | None = None
    message: str = ""

    @property
    def page(self) -> str:
        """The subject of the page that is open: `agent:NAME` or `task:ID`; empty for none."""
        return self.opened[-1] if self.opened else ""

    def sorted_by(self, view: View) -> str:
        """The name of the order of a view."""
        orders = SORTS[view]
        return orders[self.sort.get(view, 0) % len(orders)]
