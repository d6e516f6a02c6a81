"""The screens that the tests compare with. `python -m tests.monitor.golden` writes them again: see what changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from agentcom.model.task import Check, Evidence, PullRequest, Usage
from agentcom.monitor.live.actions import on_agent, on_task
from agentcom.monitor.live.draw import draw
from agentcom.monitor.live.header import Away
from agentcom.monitor.live.picture import AGENT, TASK, Opened
from agentcom.monitor.live.state import NEW_TASK, VIEWS, Confirm, State
from tests.diagnosis.pools import AT, M
from tests.monitor.pools import EVERYTHING, LOOPING, NOW, STARVED, STUCK, picture

FOLDER = Path(__file__).parent / "golden"
SIZES = ((200, 60), (110, 30), (80, 24), (60, 16), (40, 10))

CHECKED = replace(
    LOOPING,
    branch="agentcom/birch/00035a",
    pull_request=PullRequest("https://forge.example/o/r/pull/7", 7),
    spent=Usage(40_000, 9_000, 300_000, 0, 0, 0.84),
    attempts=(
        *LOOPING.attempts[:1],
        replace(
            LOOPING.attempts[1],
            outcome=replace(
                LOOPING.attempts[1].outcome,  # type: ignore[type-var]
                evidence=Evidence("agentcom/birch/00035a", "main", "a" * 40, "b" * 40, 3, 2, 40, 7, True),
                checks=(
                    Check("ruff check .", "elm", "b" * 40, True, 0, 1.2),
                    Check("pytest -q", "elm", "b" * 40, False, 1, 41.0, "FAILED tests/test_docs.py::test_links"),
                ),
            ),
        ),
    ),
    state="working",
)


def states() -> Iterator[tuple[str, State]]:
    """What is shown at every size, with a name."""
    whole = picture()
    for view in VIEWS:
        yield view, State(view=view)
    yield "only problems", State(view="tasks", problems=True)
    yield "filtered", State(view="tasks", filter="docs")
    yield "the page of an agent", State(opened=(f"{AGENT}cedar",))
    yield "the page of a task", State(view="tasks", opened=(TASK + CHECKED.spec.id,))
    yield "the page of a task that waits", State(view="tasks", opened=(TASK + STARVED.spec.id,))
    yield "the help", State(help=True)
    confirm = on_task("cancel", STUCK.spec.id, whole)
    assert isinstance(confirm, Confirm)
    yield "a question", State(dialog=confirm)
    drain = on_agent("drain", "cedar", whole)
    assert isinstance(drain, Confirm)
    yield "another question", State(dialog=drain, chosen={"agents": f"{AGENT}cedar"})
    text, title, requires, priority = NEW_TASK.fields
    typed = (replace(text, text="fix it\nnow", cursor=10), title, replace(requires, text="docs", cursor=4), priority)
    yield "the form", State(dialog=replace(NEW_TASK, fields=typed, at=2))


def screens(size: tuple[int, int]) -> str:
    """All of them at one size, one below the other."""
    parts = []
    opened = Opened({CHECKED.spec.id: CHECKED}, tuple(f"line {number}" for number in range(1, 31)))
    seen = replace(EVERYTHING, tasks=[CHECKED if each is LOOPING else each for each in EVERYTHING.tasks])
    for name, state in states():
        parts += [f"=== {name}", *(line.plain for line in draw(state, picture(seen, opened), None, NOW, size).lines)]
    away = Away(AT - 2 * M, "connection refused")
    parts += ["=== redis is away", *(line.plain for line in draw(State(), picture(), away, NOW, size).lines)]
    parts += ["=== nothing seen yet", *(line.plain for line in draw(State(), None, None, NOW, size).lines)]
    return "\n".join(part.rstrip() for part in parts) + "\n"


def file_of(size: tuple[int, int]) -> Path:
    return FOLDER / f"{size[0]}x{size[1]}.txt"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in SIZES:
        file_of(each).write_text(screens(each), encoding="utf-8")
