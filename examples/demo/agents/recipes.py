"""What an agent can do: a recipe is an edit that may be made twice, and how to tell that it was made well."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contract import Task


def nothing_more(_task: Task, _root: Path) -> None:
    """The tests say all there is to say."""


@dataclass(frozen=True)
class Recipe:
    """One kind of task.

    Attributes:
        skill: what an agent must be able to do for it.
        edit: changes the files in a checkout, and says in a line what it did. Made again on what it already
            edited, it changes nothing. Raises AttemptError when it can't be done.
        targets: the tests, or files of tests, that must pass afterwards.
        repeats: whether a rebase calls for another edit, since the edit looks at what others changed too.
        check: after an edit with which the tests pass; raises AttemptError if it is still not good.
        soak: a long check made once, not again after a rebase; raises AttemptError.
    """

    skill: str
    edit: Callable[[Task, Path], str]
    targets: tuple[str, ...] = ()
    repeats: bool = False
    check: Callable[[Task, Path], None] = field(default=nothing_more)
    soak: Callable[[Task, Path], None] = field(default=nothing_more)
