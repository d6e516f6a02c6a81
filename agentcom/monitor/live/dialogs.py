"""Questions and forms as lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from agentcom.model.agent import AgentRecord
from agentcom.monitor.live import forms
from agentcom.monitor.live.picture import Picture
from agentcom.monitor.live.state import Confirm, Field, Form
from agentcom.monitor.look import STYLES
from agentcom.monitor.table import cut, folded, said

LABEL_CELLS = 10
TEXT_LINES = 6


def dialog_lines(
    dialog: Confirm | Form, agents: Sequence[AgentRecord], picture: Picture | None, width: int, room: int
) -> tuple[list[Text], tuple[int, int] | None]:
    """Its lines, and where the cursor is in them."""
    if isinstance(dialog, Confirm):
        return [part for line in _question(dialog) for part in folded(line, width)], None
    return _form(dialog, agents, picture, width, room)


def _question(dialog: Confirm) -> list[Text]:
    return [
        Text("─" * 40, "dim"),
        said(dialog.question, "bold"),
        *(said(f"  {line}") for line in dialog.lines),
        Text.assemble(("  y", "bold"), " do it   ", ("n", "bold"), " leave it"),
    ]


def _form(
    form: Form, agents: Sequence[AgentRecord], picture: Picture | None, width: int, room: int
) -> tuple[list[Text], tuple[int, int] | None]:
    lines = [said(form.title, "bold")]
    record = picture.records.get(form.subject) if picture is not None else None
    if record is not None:
        lines += [said(f"  it asks: {line}") for line in record.question.split("\n")[: max(1, room // 3)]]
    cursor = None
    text_lines = max(1, min(TEXT_LINES, room - len(lines) - len(form.fields) - 4))
    for place, field in enumerate(form.fields):
        drawn, at = _field(field, place == form.at, width, text_lines if field.lines else 1)
        if at is not None:
            cursor = (len(lines) + at[0], at[1])
        lines += drawn
    if form.kind == "task":
        told = forms.outlook(form, agents)
        style = "dim" if " could take this, " in told else STYLES["stale"]
        lines.append(Text.assemble(" " * LABEL_CELLS, said(told, style)))
    button = "[ Send the answer ]" if form.kind == "answer" else "[ Submit ]"
    what = "  enter: it goes into the inbox, and the scheduler takes it on" if forms.on_button(form) else ""
    style = "reverse" if forms.on_button(form) else "bold"
    lines.append(Text.assemble(" " * LABEL_CELLS, (button, style), (what, "dim")))
    if form.problem:
        lines.append(Text.assemble(" " * LABEL_CELLS, said(form.problem, STYLES["failed"])))
    return [cut(line, width) for line in lines], cursor


def _field(field: Field, active: bool, width: int, most: int) -> tuple[list[Text], tuple[int, int] | None]:
    """Its lines, and where the cursor is in them if it is typed into."""
    label = (f"{field.name:<{LABEL_CELLS}}", "bold" if active else "dim")
    if field.choices:
        words = [f"[{name}]" if name == field.text else f" {name} " for name in field.choices]
        return [Text.assemble(label, ("".join(words), "bold" if active else ""))], None
    before = field.text[: field.cursor].split("\n")
    row, column = len(before) - 1, len(before[-1])
    whole = field.text.split("\n")
    first = max(0, min(row - most + 1, len(whole) - most))
    room = max(1, width - LABEL_CELLS - 1)
    lines = []
    at = None
    for number, line in enumerate(whole[first : first + most], start=first):
        # A line that is wider than the terminal is shown around the cursor.
        start = max(0, column - room) if number == row and active else 0
        shown = _beginning(line[start:], room)
        head = label if number == first else (" " * LABEL_CELLS, "")
        lines.append(Text.assemble(head, said(shown, "underline" if active else "")))
        if number == row and active:
            at = (len(lines) - 1, LABEL_CELLS + cell_len(_beginning(line[start:column], room)))
    return lines, at


def _beginning(text: str, width: int) -> str:
    """The beginning of a line that fits; its blanks are kept, as somebody is typing them."""
    fitted = text[:width]
    while cell_len(fitted) > width:
        fitted = fitted[:-1]
    return fitted
