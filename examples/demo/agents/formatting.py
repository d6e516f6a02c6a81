"""The `format` speciality: the formatter and the linter's own corrections, over the whole project."""

from pathlib import Path

from contract import AttemptError, Task, say
from recipes import Recipe
from suite import run_module


def tidy(_task: Task, root: Path) -> str:
    """Formats, corrects what ruff can correct itself, and formats what that moved."""
    before = _contents(root)
    for command in (("format",), ("check", "--fix", "--exit-zero"), ("format",)):
        say(f"ruff {' '.join(command)}")
        _ruff(root, *command)
    after = _contents(root)
    changed = sum(after[path] != text for path, text in before.items())
    say(f"{changed} of {len(before)} files changed")
    return "Formatted by ruff, the imports sorted and the unused ones dropped."


def is_tidy(_task: Task, root: Path) -> None:
    """Raises AttemptError if ruff still has something to say."""
    _ruff(root, "format", "--check")
    _ruff(root, "check")


def _ruff(root: Path, *arguments: str) -> None:
    done = run_module(root, "ruff", *arguments, "--quiet", "--no-cache", ".")
    if done.returncode != 0:
        raise AttemptError(f"ruff {arguments[0]}: {(done.stdout + done.stderr).strip()[-300:]}")


def _contents(root: Path) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}


RECIPES = {"format": Recipe(skill="format", edit=tidy, repeats=True, check=is_tidy)}
