"""A state and a key, and the state that follows."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from agentcom.model.messages import Answer, Cancel, Cordon, Drain, Requeue, Resume, Retry
from agentcom.monitor.live.decoder import Key
from agentcom.monitor.live.draw import draw, help_lines
from agentcom.monitor.live.keys import BINDINGS, bound, mode_of, press
from agentcom.monitor.live.picture import TASK, Picture
from agentcom.monitor.live.state import SORTS, VIEWS, Confirm, Create, Form, State
from tests.monitor.pools import ASKS, DELAYED, EVERYTHING, LOST, NOW, STUCK, TASKS, WAITS, picture

NAMED = {
    "enter", "esc", "tab", "backtab", "up", "down", "left", "right", "home", "end", "pgup", "pgdn", "backspace",
    "delete", "ctrl-l", "ctrl-u",
}  # fmt: skip
SIZE = (110, 30)


def key(name: str) -> Key:
    return Key(name) if name in NAMED else Key(name, name) if len(name) == 1 else Key("paste", name)


def after(
    state: State, *names: str, seen: Picture | None = None, size: tuple[int, int] = SIZE
) -> tuple[State, list[Any]]:
    """The state after these keys, each pressed at the screen of the one before, and all effects."""
    effects: list[Any] = []
    for name in names:
        step = press(state, key(name), draw(state, seen or picture(), None, NOW, size).context)
        state = step.state
        effects += step.effects
    return state, effects


ON = {"stuck": TASK + STUCK.spec.id, "asks": TASK + ASKS.spec.id, "waits": TASK + WAITS.spec.id}
TASK_VIEW = State(view="tasks", chosen={"tasks": ON["stuck"]})
HELP, FILTERING = State(help=True), State(typing=True)

TABLE: list[tuple[str, State, tuple[str, ...], dict[str, Any]]] = [
    ("down selects the next row", State(), ("down",), {"chosen": {"agents": "agent:willow"}}),
    ("j, too", State(), ("j", "j"), {"chosen": {"agents": "agent:hazel"}}),
    ("up stops at the first", State(), ("down", "up", "up"), {"chosen": {"agents": "agent:alder"}}),
    ("end is the last", State(), ("end",), {"chosen": {"agents": "agent:yew"}}),
    ("home the first", State(), ("end", "home"), {"chosen": {"agents": "agent:alder"}}),
    ("a screen down", State(), ("pgdn",), {"chosen": {"agents": "agent:yew"}}),
    ("a number is a view", State(), ("2",), {"view": "tasks"}),
    ("tab is the next", State(), ("tab", "tab"), {"view": "dead"}),
    ("shift-tab the one before", State(), ("backtab",), {"view": "findings"}),
    ("each view keeps its row", State(), ("down", "2", "down", "1"), {"chosen": {"agents": "agent:willow", "tasks": TASK + TASKS[2].spec.id}, "view": "agents"}),  # noqa: E501
    ("enter opens", State(), ("enter",), {"opened": ("agent:alder",)}),
    ("from an agent on to its task", State(opened=("agent:cedar",)), ("enter",), {"opened": ("agent:cedar", ON["stuck"])}),  # noqa: E501
    ("esc goes back", State(opened=("agent:cedar", ON["stuck"])), ("esc",), {"opened": ("agent:cedar",)}),
    ("another view leaves the page", State(opened=("agent:cedar",)), ("3",), {"opened": (), "view": "dead"}),
    ("a page scrolls", State(opened=(ON["stuck"],)), ("down", "down"), {"scroll": 2}),
    ("but not past its end", State(opened=("agent:alder",)), ("end",), {"scroll": 0}),
    ("problems only, and back", State(), ("!",), {"problems": True}),
    ("and back", State(problems=True), ("!",), {"problems": False}),
    ("esc in a list shows all", State(problems=True, filter="x"), ("esc",), {"problems": False, "filter": ""}),
    ("slash begins a filter", State(), ("/",), {"typing": True}),
    ("what is typed is the filter, commands too", FILTERING, ("q", "C", "?"), {"filter": "qC?", "typing": True}),
    ("backspace takes back", FILTERING, ("a", "b", "backspace"), {"filter": "a"}),
    ("ctrl-u takes all back", FILTERING, ("a", "b", "ctrl-u"), {"filter": ""}),
    ("what is pasted is one line", FILTERING, ("ab\ncd",), {"filter": "ab cd"}),
    ("enter keeps it", FILTERING, ("a", "enter"), {"filter": "a", "typing": False}),
    ("esc drops it", FILTERING, ("a", "esc"), {"filter": "", "typing": False}),
    ("s sorts", State(), ("s",), {"sort": {"agents": 1}}),
    ("round and round", State(), ("s",) * len(SORTS["agents"]), {"sort": {"agents": 0}}),
    ("p pauses", State(), ("p",), {"paused": True}),
    ("plus looks less often", State(), ("+",), {"interval_s": 5.0}),
    ("minus more often", State(), ("-", "-", "-"), {"interval_s": 1.0}),
    ("help", State(), ("?",), {"help": True}),
    ("and back", HELP, ("?",), {"help": False}),
    ("q leaves only the help", HELP, ("q",), {"help": False}),
    ("esc, too", HELP, ("esc",), {"help": False}),
    ("a key without meaning changes nothing", State(), ("z", "delete", "é"), {}),
    ("a question is left with n", State(opened=("agent:cedar",)), ("D", "n"), {"dialog": None, "message": "nothing was done"}),  # noqa: E501
    ("or with esc", State(opened=("agent:cedar",)), ("D", "esc"), {"dialog": None}),
    ("while it is asked nothing else happens", State(opened=("agent:cedar",)), ("D", "2", "down", "x", "n"), {"view": "agents", "scroll": 0}),  # noqa: E501
    ("what was said goes with the next key", State(message="done"), ("down",), {"message": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("state", "names", "changed"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_keys(state: State, names: tuple[str, ...], changed: dict[str, Any]) -> None:
    found, effects = after(state, *names)
    assert {name: getattr(found, name) for name in changed} == changed
    if not changed:
        assert found == state
    assert "quit" not in effects


def test_q_quits_and_r_looks_at_once() -> None:
    assert after(State(), "q")[1] == ["quit"]
    assert after(State(opened=("agent:cedar",)), "q")[1] == ["quit"]
    assert after(State(), "r")[1] == ["look"]
    assert after(State(), "ctrl-l")[1] == ["redraw"]
    assert after(State(paused=True), "p")[1] == ["look"]


# ------------------------------------------------------------------ asking

ASKED: list[tuple[str, State, str, Any, str]] = [
    ("cancel", TASK_VIEW, "C", Cancel(task=STUCK.spec.id, why="asked for in agentcom monitor"), "cedar is told to stop"),  # noqa: E501
    ("requeue", TASK_VIEW, "Q", Requeue(task=STUCK.spec.id, generation=1, why="asked for in agentcom monitor"), "Another agent takes it"),  # noqa: E501
    ("requeue an agent's task", State(chosen={"agents": "agent:oak"}), "Q", Requeue(task=LOST.spec.id, generation=2, why="asked for in agentcom monitor"), "taken from oak"),  # noqa: E501
    ("retry what waits", State(opened=(ON["asks"],)), "R", Retry(task=ASKS.spec.id, generation=1), "It goes on to the queue"),  # noqa: E501
    ("retry what is dead", State(view="dead"), "R", None, "with all its attempts"),
    ("drain", State(chosen={"agents": "agent:cedar"}), "D", Drain(agent="cedar"), "The 1 task that it has"),
    ("drain who works on a task", TASK_VIEW, "D", None, ""),
    ("cordon", State(chosen={"agents": "agent:yew"}), "O", Cordon(agent="yew"), "It has nothing just now"),
    ("resume", State(chosen={"agents": "agent:holly"}), "U", Resume(agent="holly"), "It is given work again"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "name", "request_", "says"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED]
)
def test_a_capital_asks_first_what_will_happen_and_is_done_only_when_confirmed(
    state: State, name: str, request_: Any, says: str
) -> None:
    asked, effects = after(state, name)
    assert effects == []
    if not says:
        assert asked == state, "not in this view"
        return
    assert isinstance(asked.dialog, Confirm)
    assert says in "\n".join(asked.dialog.lines)
    assert says in "\n".join(line.plain for line in draw(asked, picture(), None, NOW, SIZE).lines)
    done, effects = after(asked, "y")
    (wish,) = effects
    assert done.dialog is None
    assert request_ is None or wish.request == request_


@pytest.mark.parametrize(
    ("state", "name", "says"),
    [
        (State(opened=(ON["waits"],)), "Q", "is blocked already: no agent has it"),
        (TASK_VIEW, "R", "is working already"),
        (TASK_VIEW, "A", "asks nothing"),
        (State(opened=(ON["asks"],)), "A", "asks nothing: log the agent in"),
        (State(opened=(ON["asks"],)), "Q", "R sends it on"),
        (State(chosen={"agents": "agent:yew"}), "U", "nobody took it out"),
        (State(chosen={"agents": "agent:yew"}), "C", "nothing to cancel here: select a task"),
        (State(chosen={"agents": "agent:larch"}), "D", "is draining already"),
        (State(chosen={"agents": "agent:holly"}), "O", "is cordoned already"),
        (State(view="dead"), "C", "has ended: there is nothing to cancel"),
    ],
)
def test_what_cannot_be_done_is_said_instead(state: State, name: str, says: str) -> None:
    found, effects = after(state, name)
    assert (found.dialog, effects) == (None, [])
    assert says in found.message


def test_a_task_that_asks_is_answered() -> None:
    asks = replace(ASKS, reason="input_required", question="Which region?\nEU or US?")
    seen = picture(replace(EVERYTHING, tasks=[asks if each is ASKS else each for each in TASKS]))
    state, _ = after(State(opened=(ON["asks"],)), "A", seen=seen)
    assert isinstance(state.dialog, Form)
    assert "it asks: Which region?" in "\n".join(line.plain for line in draw(state, seen, None, NOW, SIZE).lines)
    empty, effects = after(state, "tab", "enter", seen=seen)
    assert isinstance(empty.dialog, Form)
    assert (empty.dialog.problem, effects) == ("an answer says something", [])
    _, effects = after(state, "E", "U", "tab", "enter", seen=seen)
    assert [wish.request for wish in effects] == [Answer(task=ASKS.spec.id, text="EU", generation=ASKS.generation)]


# -------------------------------------------------------------------- a new task


def typed(*names: str) -> tuple[State, list[Any]]:
    return after(State(), "N", *names)


def test_a_new_task_is_submitted_from_the_form_as_it_was_typed() -> None:
    keys = (*"fix", "enter", *"it now", "tab", *"Fix", "enter", *"docs", "enter", "left", "left", "tab", "enter")
    state, effects = typed(*keys)
    assert state.dialog is None
    (wish,) = effects
    assert isinstance(wish, Create)
    assert (wish.spec.text, wish.spec.title, wish.spec.requires, wish.spec.priority) == (
        "fix\nit now",
        "Fix",
        "docs",
        "urgent",
    )


def test_while_it_is_typed_it_says_who_could_take_it() -> None:
    def outlook(*names: str) -> str:
        state, _ = typed("tab", "tab", *names)
        return "\n".join(line.plain for line in draw(state, picture(), None, NOW, SIZE).lines)

    assert "13 agents could take this" in outlook()
    assert "1 agent could take this, 1 at once" in outlook(*"docs")
    assert "nobody could take this: 0 of 13 agents: 13 no cobol" in outlook(*"cobol")
    assert "requires: " in outlook(*"python >=")


@pytest.mark.parametrize(
    ("names", "says", "at"),
    [
        (("tab",) * 4 + ("enter",), "say what is to be done", 0),
        (("x", "tab", "tab", *"python >=", "tab", "tab", "enter"), "expected a number after", 2),
    ],
)
def test_a_form_that_cannot_be_sent_says_why_and_where(names: tuple[str, ...], says: str, at: int) -> None:
    state, effects = typed(*names)
    assert effects == []
    assert isinstance(state.dialog, Form)
    assert says in state.dialog.problem
    assert state.dialog.at == at


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("a", "b", "left", "c"), "acb"),
        (("a", "b", "home", "c", "end", "d"), "cabd"),
        (("a", "b", "backspace"), "a"),
        (("backspace", "a"), "a"),
        (("a", "b", "home", "delete"), "b"),
        (("a", "b", "left", "ctrl-u"), "b"),
        (("one\ntwo", "enter", "x"), "one\ntwo\nx"),
        (("right", "right", "a"), "a"),
    ],
)
def test_a_field_is_edited(names: tuple[str, ...], text: str) -> None:
    state, _ = typed(*names)
    assert isinstance(state.dialog, Form)
    assert state.dialog.text_of("text") == text


def test_a_form_is_left_with_esc_and_nothing_is_sent() -> None:
    assert typed("x", "esc") == (replace(State(), message="nothing was done"), [])


def test_the_cursor_stands_where_is_typed_also_in_long_lines_and_wide_characters() -> None:
    state, _ = typed(*"ab")
    assert draw(state, picture(), None, NOW, SIZE).cursor == (9, 12)
    state, _ = typed(*"漢字")
    assert draw(state, picture(), None, NOW, SIZE).cursor == (9, 14)
    state, _ = typed("x" * 500)
    cursor = draw(state, picture(), None, NOW, SIZE).cursor
    assert cursor is not None
    assert cursor[1] < SIZE[0]


# --------------------------------------------------------------------- the table


def test_footer_and_help_are_of_the_table_and_keys_that_ask_are_capitals() -> None:
    told = "\n".join(line.plain for line in help_lines())
    for binding in BINDINGS:
        if "list" in binding.modes:
            assert binding.meaning in told
        asks = binding.does.__qualname__.startswith(("_on_", "_new"))
        assert asks == binding.keys[0].isupper()


@pytest.mark.parametrize(
    "state",
    [State(view=view) for view in VIEWS]
    + [HELP, FILTERING, State(opened=("agent:cedar",)), State(dialog=Confirm("?", (), None))],  # type: ignore[arg-type]
    ids=lambda state: f"{state.view}-{mode_of(state)}",
)
def test_no_key_means_two_things_in_one_place(state: State) -> None:
    mode = mode_of(state)
    names = [name for binding in BINDINGS if binding.fits(state, mode) for name in binding.keys]
    assert len(names) == len(set(names))
    assert list(bound(state))


def test_keys_do_no_harm_before_anything_was_seen() -> None:
    for binding in BINDINGS:
        for name in binding.keys:
            state = State()
            step = press(state, key(name), draw(state, None, None, NOW, SIZE).context)
            assert step.state.dialog is None or name == "N"


def test_a_delayed_task_is_requeued_at_once() -> None:
    asked, _ = after(State(opened=(TASK + DELAYED.spec.id,)), "Q")
    assert isinstance(asked.dialog, Confirm)
    assert asked.dialog.lines[0] == "Its delay ends"
