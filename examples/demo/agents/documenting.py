"""The `docs` speciality: docstrings, the README's list of the API, the order of the changelog."""

import ast
import re
from pathlib import Path

from contract import AttemptError, Task
from recipes import Recipe
from source import public_definitions, with_docstring

SOURCES = "src/shopcart"
BEGIN, END = "<!-- api:begin -->", "<!-- api:end -->"
SENTENCE = re.compile(r"^\s*(\w+)((?:\.\w+)*): (.+?)\s*$", re.MULTILINE)


def write_docstrings(task: Task, root: Path) -> str:
    """Gives each name that the task's text has a sentence for a docstring, unless it has one."""
    written = 0
    for module, name, sentence in SENTENCE.findall(task.text):
        path = root / SOURCES / f"{module}.py"
        if not path.exists():
            continue
        source = path.read_text(encoding="utf-8")
        try:
            documented = with_docstring(source, name.removeprefix("."), sentence)
        except KeyError as error:
            raise AttemptError(f"{path.name} has no public name {error}") from error
        written += 1
        path.write_text(documented, encoding="utf-8")
    return f"{written} names have a docstring."


def write_api(_task: Task, root: Path) -> str:
    """Writes the part of the README between its markers again, from the docstrings."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise AttemptError(f"README.md lacks the markers {BEGIN} and {END}")
    paths = sorted((root / SOURCES).glob("[a-z]*.py"))
    sections = [_api_of(path.stem, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]
    readme.write_text("\n".join([before + BEGIN, "", *sections, END + after]), encoding="utf-8")
    return f"{len(sections)} modules are listed in the README."


def _api_of(module: str, tree: ast.Module) -> str:
    lines = [f"### shopcart.{module}", "", _first_line(tree), ""]
    for name, node in public_definitions(tree):
        call = f"({ast.unparse(node.args)})" if isinstance(node, ast.FunctionDef) else ""
        lines.append(f"- `{name}{call}`: {_first_line(node)}")
    return "\n".join([*lines, ""])


def _first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "(no docstring)").split("\n", 1)[0]


def sort_changelog(_task: Task, root: Path) -> str:
    """Orders the changelog: what is unreleased, then the versions from the newest to the oldest."""
    changelog = root / "CHANGELOG.md"
    head, *sections = re.split(r"^(?=## )", changelog.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ordered = sorted((section.rstrip() for section in sections), key=_version, reverse=True)
    changelog.write_text("\n\n".join([head.rstrip(), *ordered]) + "\n", encoding="utf-8")
    return f"{len(ordered)} versions are in order."


def _version(section: str) -> tuple[int, ...]:
    numbers = re.match(r"## (\d+(?:\.\d+)*)", section)
    # Not released yet: newer than any version.
    return tuple(int(part) for part in numbers[1].split(".")) if numbers else (10**9,)


def _housekeeping(test: str) -> tuple[str, ...]:
    return (f"tests/test_housekeeping.py::{test}",)


RECIPES = {
    "docstrings": Recipe(
        skill="docs", edit=write_docstrings, targets=_housekeeping("test_every_public_name_has_a_docstring")
    ),
    "readme-api": Recipe(
        skill="docs",
        edit=write_api,
        targets=_housekeeping("test_the_readme_lists_every_public_name"),
        repeats=True,
    ),
    "sort-changelog": Recipe(
        skill="docs",
        edit=sort_changelog,
        targets=_housekeeping("test_the_changelog_has_the_newest_version_first"),
    ),
}
