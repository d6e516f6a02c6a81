"""What the project promises: documented code, a complete README, an ordered changelog."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "src" / "shopcart").glob("[a-z]*.py"))
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


def public(body, prefix=""):
    for node in body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def test_every_public_name_has_a_docstring():
    missing = []
    for path in MODULES:
        module = ast.parse(path.read_text())
        documented = [(path.stem, module), *public(module.body, f"{path.stem}.")]
        missing += [name for name, node in documented if not ast.get_docstring(node)]
    assert missing == []


def test_the_readme_lists_every_public_name():
    listed = (ROOT / "README.md").read_text().partition("<!-- api:begin -->")[2]
    names = [name for path in MODULES for name, _ in public(ast.parse(path.read_text()).body)]
    assert [name for name in names if f"`{name}(" not in listed and f"`{name}`" not in listed] == []


def test_the_changelog_has_the_newest_version_first():
    titles = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [tuple(map(int, title.split("."))) for title in titles if title != "Unreleased"]
    assert titles[0] == "Unreleased"
    assert versions == sorted(versions, reverse=True)
