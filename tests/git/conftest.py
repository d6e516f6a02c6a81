"""Fixtures of the git tests: an origin of its own for every test, copied from one that is made once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.git.lab import Begun, Lab


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with one commit on main."""
    folder = tmp_path_factory.mktemp("template")
    origin, work = folder / "origin.git", folder / "work"
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.invalid"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, env=environ, check=True, capture_output=True)

    git("init", "--quiet", "--bare", "--template=", "-b", "main", str(origin))
    git("init", "--quiet", "-b", "main", str(work))
    (work / "README").write_text("project\n")
    (work / ".gitignore").write_text("cache/\n")
    (work / "sub").mkdir()
    (work / "sub" / "file.txt").write_text("one\ntwo\nthree\n")
    git("-C", str(work), "add", "--all")
    git("-C", str(work), "commit", "--quiet", "-m", "First")
    git("-C", str(work), "push", "--quiet", str(origin), "main")
    return origin


@pytest.fixture
def lab(tmp_path: Path, template: Path) -> Lab:
    return Lab(tmp_path, template)


@pytest.fixture
async def begun(lab: Lab) -> Begun:
    """A place, and what its start answered."""
    place = lab.place()
    return place, await lab.started(place)
