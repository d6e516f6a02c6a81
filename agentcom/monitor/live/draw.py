"""The whole screen, as lines that fit the terminal: what is chosen, what was seen, and the time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from msgspec import Struct
from rich.text import Text

from agentcom.monitor.findings_view import MARKS, STYLES
from agentcom.monitor.live import header, rows
from agentcom.monitor.live.dialogs import dialog_lines
from agentcom.monitor.live.header import Away
from agentcom.monitor.live.keys import BINDINGS, Binding, Context, bound
from agentcom.monitor.live.listing import Item, items, place_of
from agentcom.monitor.live.pages import page
from agentcom.monitor.live.picture import Picture
from agentcom.monitor.live.state import Confirm, Form, State
from agentcom.monitor.look import Now
from agentcom.monitor.table import cut, said

HIGH, MIDDLE = 24, 16
"""From so many lines on there is room for more at the top."""

HIGH_STRIP, MIDDLE_STRIP, LOW_STRIP = 12, 2, 8
"""From so many lines for a list on there is room for more below it."""

NOTHING = {
    "agents": "no agent: start one with `agentcom sidecar --agent NAME`",
    "tasks": "no open task: N submits one",
    "dead": "no dead letters",
    "journal": "the journal is empty",
    "costs": "nothing has been counted yet",
    "findings": "nothing is wrong",
}


class Screen(Struct, frozen=True):
    """What is shown, and what keys are pressed at.

    Attributes:
        lines: as many as the terminal has, none wider than it.
        context: for the keys.
        cursor: row and column of the text cursor, from 0; None hides it.
    """

    lines: list[Text]
    context: Context
    cursor: tuple[int, int] | None = None


def draw(state: State, picture: Picture | None, away: Away | None, now: Now, size: tuple[int, int]) -> Screen:
    """The screen of a terminal of so many columns and lines."""
    width, height = max(size[0], 1), max(size[1], 1)
    found = tuple(items(state, picture)) if picture is not None else ()
    top = _top(state, picture, away, len(found), now, width, height)
    room = max(0, height - len(top) - 1)
    if picture is not None and (away is not None or state.paused):
        # What has gone on since then is not known: ages stay as they were seen.
        now = Now(picture.snapshot.at, now.offset_s)
    body, context, cursor = _body(state, picture, found, now, width, room)
    body = body[:room] + [Text()] * (room - len(body))
    lines = [cut(line, width) for line in [*top, *body, _footer(state, width)][:height]]
    if away is not None:
        for line in lines[1:-1]:
            line.stylize("dim")
    place = (len(top) + cursor[0], cursor[1]) if cursor is not None else (height, width)
    return Screen(lines, context, place if place[0] < height and place[1] < width else None)


def _top(
    state: State, picture: Picture | None, away: Away | None, shown: int, now: Now, width: int, height: int
) -> list[Text]:
    lines = [header.head(picture, state, away, now, width)]
    if away is not None:
        lines.append(_away(picture, away, now, width))
    if height < HIGH and (state.page or state.help or isinstance(state.dialog, Form)):
        return lines
    if picture is not None:
        lines.append(header.totals(picture, now, width))
        if height >= HIGH and width >= header.SPARK_LEAST:
            lines.append(header.last_hour(picture, width))
        lines += header.of_pool(picture, 3 if height >= HIGH else 2 if height >= MIDDLE else 1, width)
    if height >= HIGH:
        lines.append(Text())
    return [*lines, header.tabs(state, picture, shown, width)]


def _away(picture: Picture | None, away: Away, now: Now, width: int) -> Text:
    """What is still shown, and why nothing newer is."""
    kept = f"showing what was seen {now.ago(picture.snapshot.at)}; " if picture is not None else ""
    return cut(said(f"{kept}trying again: {away.why}", "bold"), width)


# ---------------------------------------------------------------------- body


def _body(
    state: State, picture: Picture | None, found: tuple[Item, ...], now: Now, width: int, room: int
) -> tuple[list[Text], Context, tuple[int, int] | None]:
    """Its lines, what keys are pressed at, and where the cursor is in it."""
    context = Context(picture, found, max(1, room - 1))
    if isinstance(state.dialog, Form):
        agents = picture.snapshot.agents if picture is not None else []
        lines, cursor = dialog_lines(state.dialog, agents, picture, width, room)
        return lines, context, cursor
    if state.help:
        return _scrolled(state, help_lines(), context, room)
    if picture is None:
        return [], context, None
    asked = dialog_lines(state.dialog, [], picture, width, room)[0] if isinstance(state.dialog, Confirm) else []
    left = max(0, room - len(asked))
    if state.page:
        lines, context, _ = _scrolled(state, page(state.page, picture, now, width), context, left)
    else:
        lines = _list(state, picture, found, now, width, left)
    return [*lines[:left], *[Text()] * (left - len(lines)), *asked], context, None


def _scrolled(
    state: State, lines: list[Text], context: Context, room: int
) -> tuple[list[Text], Context, tuple[int, int] | None]:
    most = max(0, len(lines) - room)
    first = min(state.scroll, most)
    shown = lines[first : first + room]
    if first < most and shown:
        shown[-1] = said(f"… {len(lines) - first - room + 1:,} more lines: ↓", "dim")
    return shown, Context(context.picture, context.items, room, most), None


def _list(state: State, picture: Picture, found: Sequence[Item], now: Now, width: int, room: int) -> list[Text]:
    """The rows around the selected one, and below them what is wrong with that one and what to do."""
    if not found:
        hidden = state.filter or state.problems
        return [Text(), said("  nothing like that: esc shows all" if hidden else f"  {NOTHING[state.view]}", "dim")]
    place = place_of(state, [item.id for item in found])
    strip = _strip(found[place], width, 4 if room >= HIGH_STRIP else 2 if room >= LOW_STRIP else 0)
    lanes = [header.lanes(picture, now, width)] if state.view == "tasks" and room >= HIGH_STRIP else []
    # The heading, and what is left out, take a line each.
    most = max(1, room - 1 - len(strip) - len(lanes))
    if len(found) > most:
        most = max(1, most - 1)
    first = max(0, min(place - most // 2, len(found) - most))
    window = found[first : first + most]
    heading, lines = rows.table(state.view, window, found[place].id, picture, now, width)
    shown = [*lanes, *([heading] if heading.plain else []), *lines]
    if len(found) > len(window):
        place_said = f"  {first + 1:,} to {first + len(window):,} of {len(found):,}"
        shown.append(said(f"{place_said}{_unasked(state, picture)}", "dim"))
    return shown + [Text()] * max(0, room - len(shown) - len(strip)) + strip


def _unasked(state: State, picture: Picture) -> str:
    """What was not read of the rows of this view."""
    seen = picture.snapshot
    some = state.view == "agents" and 0 < seen.asked < len(seen.agents)
    return f"; beats and orders of the first {seen.asked:,} of {len(seen.agents):,}" if some else ""


def _strip(item: Item, width: int, most: int) -> list[Text]:
    """What is wrong with a row, whole, and what to do about it, in at most so many lines."""
    if not item.findings or not most:
        return []
    finding = item.findings[0]
    step = [said(f"  → {finding.next_step}")] if finding.next_step else []
    words = wrap(finding.text, max(10, width - 4), max_lines=most - len(step) - (most > MIDDLE_STRIP), placeholder="…")
    lines = [
        said(f"{MARKS[finding.severity] if not place else ' '} {line}", STYLES[finding.severity])
        for place, line in enumerate(words)
    ]
    rule = [said(f"── {finding.rule} ".ljust(width, "─"), "dim")] if most > MIDDLE_STRIP else []
    return [cut(line, width) for line in (*rule, *lines, *step)]


# --------------------------------------------------------------- footer, help


def _footer(state: State, width: int) -> Text:
    """What was said last, or what is typed, or which keys there are: the most useful as far as there is room."""
    if state.message:
        return said(state.message, "bold")
    if state.typing:
        return Text.assemble("/", said(state.filter, "bold"), "▏", "   enter keeps it, esc drops it")
    shown = [(binding.rank, binding.shown or binding.keys[0], binding.label) for binding in bound(state)]
    while shown and sum(len(key) + len(label) + 3 for _, key, label in shown) - 2 > width:
        # Of equal rank, the later in the table goes first.
        worst = max(range(len(shown)), key=lambda place: (shown[place][0], place))
        del shown[worst]
    parts = [Text.assemble((key, "bold"), " ", (label, "dim")) for _, key, label in shown]
    return Text("  ").join(parts)


def help_lines() -> list[Text]:
    """What the keys do, from their table."""
    looking = [binding for binding in BINDINGS if "list" in binding.modes]
    small = [binding for binding in looking if not binding.keys[0].isupper()]
    capital = [binding for binding in looking if binding.keys[0].isupper()]
    return [
        Text("Keys that look", "bold"),
        *map(_help_line, small),
        Text(),
        Text("Keys that ask for something to be done; each says first what will happen", "bold"),
        *map(_help_line, capital),
        Text(),
        Text("Marks", "bold"),
        said("  ! critical: work is lost, stands still or soon will   ~ warning: a person should look   · notice"),
        said("  Every finding is explained in docs/operations.md; `agentcom check` tells the same ones to scripts."),
    ]


def _help_line(binding: Binding) -> Text:
    also = [key for key in binding.keys[1:] if key not in (" ", "=")] if not binding.shown else []
    keys = ", ".join([binding.shown or binding.keys[0], *also])
    return Text.assemble((f"  {keys:<22}", "bold"), said(binding.meaning))
