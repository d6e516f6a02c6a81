"""The `fix` speciality: a failing test leads to the modules it tests, a rewrite rule to the defect."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import suite
from contract import AttemptError, Task, say
from recipes import Recipe
from source import insert_lines, replace_expression, with_import

Rewrite = Callable[[str], tuple[str, int]]
"""Source text to rewritten source text, and the number of places that were rewritten."""


@dataclass(frozen=True)
class Strategy:
    """One way to mend a defect, and what it does in a line."""

    does: str
    rewrite: Rewrite


def boundary_included(source: str) -> tuple[str, int]:
    """`x > FREE_FROM` → `x >= FREE_FROM`: a limit called "from" belongs to what it starts."""

    def matches(node: ast.expr) -> ast.expr | None:
        match node:
            case ast.Compare(left=left, ops=[ast.Gt()], comparators=[ast.Name(id=name) as limit]) if name.endswith(
                "_FROM"
            ):
                return ast.Compare(left=left, ops=[ast.GtE()], comparators=[limit])
        return None

    return replace_expression(source, matches)


def whole_range(source: str) -> tuple[str, int]:
    """`range(len(x) - 1)` → `range(len(x))`."""

    def matches(node: ast.expr) -> ast.expr | None:
        match node:
            case ast.Call(
                func=ast.Name(id="range") as function,
                args=[
                    ast.BinOp(
                        left=ast.Call(func=ast.Name(id="len")) as length,
                        op=ast.Sub(),
                        right=ast.Constant(value=1),
                    )
                ],
            ):
                return ast.Call(func=function, args=[length], keywords=[])
        return None

    return replace_expression(source, matches)


def quantized(rounding: str = "") -> Rewrite:
    """`Decimal(int(x * 100)) / 100` → `x.quantize(CENT)`, with `rounding` or decimal's own, half to even."""

    def matches(node: ast.expr) -> ast.expr | None:
        match node:
            case ast.BinOp(
                left=ast.Call(
                    func=ast.Name(id="Decimal"),
                    args=[
                        ast.Call(
                            func=ast.Name(id="int"),
                            args=[ast.BinOp(left=amount, right=ast.Constant(value=100))],
                        )
                    ],
                ),
                op=ast.Div(),
                right=ast.Constant(value=100),
            ):
                keywords = [ast.keyword(arg="rounding", value=ast.Name(id=rounding))] if rounding else []
                return ast.Call(
                    func=ast.Attribute(value=amount, attr="quantize"),
                    args=[ast.Name(id="CENT")],
                    keywords=keywords,
                )
        return None

    def rewrite(source: str) -> tuple[str, int]:
        source, places = replace_expression(source, matches)
        return (with_import(source, "decimal", rounding) if places and rounding else source), places

    return rewrite


def guarded_division(source: str) -> tuple[str, int]:
    """`return a / len(x)` gets an `if not x: return Decimal("0.00")` in front."""
    found: list[tuple[ast.Return, ast.expr]] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Return(value=ast.BinOp(op=ast.Div(), right=ast.Call(func=ast.Name(id="len"), args=[collection]))):
                found.append((node, collection))
    for division, collection in sorted(found, key=lambda pair: pair[0].lineno, reverse=True):
        indent = " " * division.col_offset
        guard = [f"{indent}if not {ast.unparse(collection)}:", f'{indent}    return Decimal("0.00")']
        source = insert_lines(source, division.lineno, guard)
    return source, len(found)


def fix(test: str, *strategies: Strategy) -> Recipe:
    """A recipe that makes `test` pass; attempt 1 goes by the first strategy, a later one by a later."""

    def edit(task: Task, root: Path) -> str:
        strategy = strategies[min(task.attempt, len(strategies)) - 1]
        failing = suite.failures(root, test)
        if not failing:
            return strategy.does
        for name, message in failing.items():
            say(f"{name}: {message}")
        return _mend(root, test, strategy)

    return Recipe(skill="fix", edit=edit, targets=(test,))


def _mend(root: Path, test: str, strategy: Strategy) -> str:
    mended = []
    for path in _suspects(root, test):
        text, places = strategy.rewrite(path.read_text(encoding="utf-8"))
        if places:
            path.write_text(text, encoding="utf-8")
            mended += [f"{path.name} ({places})"] * places
    if len(mended) != 1:
        raise AttemptError(f"the rule applies in {len(mended)} places, it must be 1: {', '.join(mended) or 'none'}")
    say(f"{mended[0]}: {strategy.does}")
    return strategy.does


def _suspects(root: Path, test: str) -> list[Path]:
    """The modules of the project that the failing test's file imports, directly or through the package."""
    imported = _imports((root / test.partition("::")[0]).read_text(encoding="utf-8"))
    suspects = []
    while imported:
        path = root / "src" / Path(*imported.pop(0).split("."))
        module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module.exists() and module not in suspects:
            suspects.append(module)
            imported += _imports(module.read_text(encoding="utf-8")) if path.is_dir() else []
    return suspects


def _imports(source: str) -> list[str]:
    return [node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]


RECIPES = {
    "fix-free-shipping": fix(
        "tests/test_shipping.py::test_an_order_of_exactly_50_is_shipped_for_free",
        Strategy("The limit itself now counts as reached.", boundary_included),
    ),
    # Half to even is the obvious call and the wrong one: the project's test refuses it.
    "fix-rounding": fix(
        "tests/test_money.py::test_half_a_cent_is_rounded_up",
        Strategy("Amounts are rounded to the cent, half to even.", quantized()),
        Strategy("Amounts are rounded to the cent, half up.", quantized("ROUND_HALF_UP")),
    ),
    "fix-receipt": fix(
        "tests/test_receipt.py::test_every_line_of_the_cart_is_printed",
        Strategy("The loop now reaches the last line.", whole_range),
    ),
    "fix-empty-cart": fix(
        "tests/test_cart.py::test_an_empty_cart_has_an_average_price_of_nothing",
        Strategy("An empty cart is answered before the division.", guarded_division),
    ),
}
