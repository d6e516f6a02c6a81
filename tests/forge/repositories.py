"""Real repositories: a bare origin, and somebody who works on it."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "oak",
    "GIT_AUTHOR_EMAIL": "oak@example.com",
    "GIT_COMMITTER_NAME": "oak",
    "GIT_COMMITTER_EMAIL": "oak@example.com",
}


def git(folder: Path, *arguments: str, stdin: str = "") -> str:
    """What git prints."""
    ran = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENVIRON, input=stdin, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@cache
def _template() -> tempfile.TemporaryDirectory[str]:
    """What every workshop begins with: made once, as git takes its time on a busy machine."""
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    folder = Path(made.name)
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(folder, "clone", "--quiet", str(folder / "origin.git"), "work")
    work = folder / "work"
    git(work, "checkout", "--quiet", "-B", "main")
    (work / "src").mkdir()
    (work / "README.md").write_text("# Shop\n")
    (work / "src" / "cart.py").write_text("def total():\n    return 0\n")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "Begin")
    git(work, "push", "--quiet", "origin", "main")
    return made


class Workshop:
    """A bare repository with one commit on main, and a clone of it to work in."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "origin.git"
        self.work = folder / "work"
        made = Path(_template().name)
        shutil.copytree(made, folder, dirs_exist_ok=True)
        config = self.work / ".git" / "config"
        config.write_text(config.read_text().replace(str(made), str(folder)))

    def commit(self, files: dict[str, str | bytes | None], message: str = "Work") -> str:
        """Commit files; None deletes one. The new commit."""
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content)
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", message)
        return git(self.work, "rev-parse", "HEAD")

    def branch(self, name: str, start: str = "origin/main") -> None:
        """Go on on a new branch."""
        git(self.work, "fetch", "--quiet", "origin")
        git(self.work, "checkout", "--quiet", "-B", name, start)

    def push(self, *specs: str) -> None:
        git(self.work, "push", "--quiet", "--force", "origin", *specs)

    def sha(self, ref: str) -> str:
        """What a ref of the bare repository names."""
        return git(self.path, "rev-parse", ref)

    def refs(self, prefix: str) -> list[str]:
        return git(self.path, "for-each-ref", "--format=%(refname)", prefix).splitlines()
