"""The `test` speciality: writes missing tests, and believes them only once they failed on broken code."""

import ast
import builtins
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import suite
from contract import AttemptError, Task, child_environment, say
from recipes import Recipe
from source import import_order

CASE = re.compile(r"^\s*(\w+)\((.*)\) -> (raises )?(.+?)\s*$", re.MULTILINE)
FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
INVARIANTS = "tests/test_invariants.py"


@dataclass(frozen=True)
class Case:
    """A call and what it must lead to: a value, or the name of an exception when `fails`."""

    function: str
    arguments: str
    fails: bool
    expected: str


def cases_of(module: str) -> Recipe:
    """A recipe that turns the cases in the task's text into the tests of `module`."""
    tests = f"tests/test_{module.rpartition('.')[2]}.py"
    source = Path("src", *module.split(".")).with_suffix(".py")

    def write_cases(task: Task, root: Path) -> str:
        cases = [Case(call, arguments, bool(fails), to) for call, arguments, fails, to in CASE.findall(task.text)]
        if not cases:
            raise AttemptError("the task gives no cases, such as `reserve(5, 3) -> 2`")
        (root / tests).write_text(_test_file(module, cases), encoding="utf-8")
        return f"{len(cases)} cases of {module}, which fail on every broken copy of it."

    def can_fail(_task: Task, root: Path) -> None:
        _break_and_look(root, root / source, tests)

    return Recipe(skill="test", edit=write_cases, targets=(tests,), check=can_fail)


def _test_file(module: str, cases: list[Case]) -> str:
    names = {case.function for case in cases} | {case.expected for case in cases if case.fails}
    imported = sorted((name for name in names if not hasattr(builtins, name)), key=import_order)
    grouped: defaultdict[tuple[str, bool], list[Case]] = defaultdict(list)
    for case in cases:
        grouped[case.function, case.fails].append(case)
    head = [f'"""The rules of {module}, case by case."""', "", "import pytest", ""]
    head.append(f"from {module} import {', '.join(imported)}")
    return "\n".join([*head, *(line for group in grouped.values() for line in _parametrised(group))]) + "\n"


def _parametrised(cases: list[Case]) -> list[str]:
    first = cases[0]
    rows = [f"        ({_tuple(case.arguments)}, {case.expected})," for case in cases]
    opening = [
        "",
        "",
        "@pytest.mark.parametrize(",
        '    ("arguments", "expected"),',
        "    [",
        *rows,
        "    ],",
        ")",
    ]
    if first.fails:
        return [
            *opening,
            f"def test_{first.function}_refuses(arguments, expected):",
            "    with pytest.raises(expected):",
            f"        {first.function}(*arguments)",
        ]
    return [
        *opening,
        f"def test_{first.function}_gives(arguments, expected):",
        f"    assert {first.function}(*arguments) == expected",
    ]


def _tuple(arguments: str) -> str:
    return f"({arguments})" if "," in arguments else f"({arguments},)"


def _break_and_look(root: Path, module: Path, tests: str) -> None:
    """Breaks one comparison after the other; raises AttemptError if the tests miss one."""
    original = module.read_text(encoding="utf-8")
    try:
        for number, mutant in enumerate(_mutants(original), start=1):
            module.write_text(mutant, encoding="utf-8")
            noticed = suite.failures(root, tests)
            if not noticed:
                raise AttemptError(f"the tests pass on {module.name} with comparison {number} flipped")
            say(f"comparison {number} of {module.name} flipped at its limit: noticed by {', '.join(noticed)}")
    finally:
        module.write_text(original, encoding="utf-8")


def _mutants(source: str) -> Iterator[str]:
    for number, _ in enumerate(_flippable(ast.parse(source))):
        tree = ast.parse(source)
        comparison = _flippable(tree)[number]
        comparison.ops = [FLIPPED[type(comparison.ops[0])]()]
        yield ast.unparse(tree)


def _flippable(tree: ast.Module) -> list[ast.Compare]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPPED]


def write_invariants(task: Task, root: Path) -> str:
    """Puts the invariants into the project's suite, where they run on a few carts each time."""
    template = Path(__file__).with_name("invariants.py.txt")
    (root / INVARIANTS).write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    return f"The invariants of carts hold on random input, for {task.header('soak_s', '5')} s of it."


def soak(task: Task, root: Path) -> None:
    """Checks new random carts for `soak_s` seconds; raises AttemptError if one breaks an invariant."""
    program = [
        sys.executable,
        str(Path(__file__).with_name("soak.py")),
        str(root),
        task.header("soak_s", "5"),
    ]
    # Its output goes through this process: a soak whose agent was killed soon ends on a broken pipe.
    with subprocess.Popen(
        program, env=child_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            say(line.rstrip())
    if run.returncode != 0:
        raise AttemptError("a random cart breaks an invariant; the output above names its seed")


RECIPES = {
    "test-inventory": cases_of("shopcart.inventory"),
    "test-invariants": Recipe(skill="test", edit=write_invariants, targets=(INVARIANTS,), soak=soak),
}
