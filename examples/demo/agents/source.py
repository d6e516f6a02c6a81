"""Edits of Python source text found through its syntax tree, so that its formatting does not matter."""

import ast
from collections.abc import Callable, Iterator

Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def replace_expression(source: str, matches: Callable[[ast.expr], ast.expr | None]) -> tuple[str, int]:
    """Replaces the expressions that `matches` answers with another; returns the text and their number."""
    found = [
        (node, new)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.expr) and (new := matches(node)) is not None
    ]
    # From the end to the start: an edit moves only what comes after it.
    for node, new in sorted(found, key=lambda pair: (pair[0].lineno, pair[0].col_offset), reverse=True):
        source = _spliced(source, node, ast.unparse(new))
    return source, len(found)


def insert_lines(source: str, before_line: int, lines: list[str]) -> str:
    """Puts lines in front of the line with that number, which counts from 1."""
    kept = source.splitlines()
    return "\n".join([*kept[: before_line - 1], *lines, *kept[before_line - 1 :]]) + "\n"


def with_import(source: str, module: str, name: str) -> str:
    """The source with `name` added to its import from `module`. Raises LookupError if it has none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            names = sorted({alias.name for alias in node.names} | {name}, key=import_order)
            return _spliced(source, node, f"from {module} import {', '.join(names)}")
    raise LookupError(f"nothing is imported from {module}")


def import_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order in which ruff wants imported names."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """The dotted names of the public classes, methods and functions, in the order they are written."""
    pending: list[tuple[str, ast.stmt]] = [("", node) for node in tree.body]
    while pending:
        prefix, node = pending.pop(0)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                pending = [(f"{prefix}{node.name}.", child) for child in node.body] + pending


def with_docstring(source: str, name: str, text: str) -> str:
    """The source with a docstring for that dotted name ("" is the module), unless it has one."""
    tree = ast.parse(source)
    owner: Documented = tree if not name else dict(public_definitions(tree))[name]
    if ast.get_docstring(owner):
        return source
    if isinstance(owner, ast.Module):
        gap = "\n\n\n" if isinstance(owner.body[0], ast.ClassDef | ast.FunctionDef) else "\n\n"
        return f'"""{text}"""{gap}{source}'
    first = owner.body[0]
    decorators = first.decorator_list if isinstance(first, ast.ClassDef | ast.FunctionDef) else []
    line = min([first.lineno, *(decorator.lineno for decorator in decorators)])
    blank = [""] if isinstance(owner, ast.ClassDef) else []
    return insert_lines(source, line, [f'{" " * first.col_offset}"""{text}"""', *blank])


def _spliced(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    # Columns of the syntax tree count bytes of UTF-8, not characters.
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    head = lines[node.lineno - 1][: node.col_offset]
    tail = lines[node.end_lineno - 1][node.end_col_offset :]
    edited = [*lines[: node.lineno - 1], head + text.encode() + tail, *lines[node.end_lineno :]]
    return b"".join(edited).decode()
