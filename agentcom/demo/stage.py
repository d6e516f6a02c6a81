"""The demonstration's folder: the agents' programs, a git repository with real defects, and the pool's settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from agentcom import backlog
from agentcom.backlog import Item
from agentcom.demo.story import Change, Suite
from agentcom.errors import AgentComError, ConfigurationError
from agentcom.settings import Settings, load
from agentcom.settings.rendering import toml_value

GIT_TIMEOUT_S = 30.0
SUITE_TIMEOUT_S = 60.0
_AUTHOR = ("-c", "user.name=demo", "-c", "user.email=demo@agents.invalid")


class Stage:
    """Everything that the demonstration keeps in `folder`.

    Args:
        folder: exists and is empty.
        environ: of this process; what would point git, the tests or the pool elsewhere is taken out of it.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.config = folder / "agentcom.toml"
        self.log = folder / "agentcom.log"
        self.origin = folder / "origin.git"
        self._files = folder / "files"
        kept = {name: value for name, value in environ.items() if not name.startswith(("GIT_", "PYTEST_", "AGENTCOM_"))}
        self.environ = {
            **kept,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            # An agent that is killed leaves its temporary files; here they go with the folder.
            "TMPDIR": str(folder / "tmp"),
        }

    def prepare(self) -> None:
        """Make the repository and the settings file.

        Raises:
            ConfigurationError: this installation lacks the demonstration's files.
        """
        (self.folder / "tmp").mkdir()
        shutil.copytree(_packaged_files(), self._files, ignore=shutil.ignore_patterns("__pycache__"))
        seed = self.folder / "seed"
        shutil.copytree(self._files / "project", seed)
        self._git(self.folder, "init", "--quiet", "--bare", "-b", "main", str(self.origin))
        self._git(seed, "init", "--quiet", "-b", "main")
        self._git(seed, "add", "--all")
        self._git(seed, *_AUTHOR, "commit", "--quiet", "-m", "The project as the agents find it")
        self._git(seed, "push", "--quiet", str(self.origin), "HEAD:main")
        text = (self._files / "agentcom.toml").read_text(encoding="utf-8")
        for name, value in (("PYTHON", sys.executable), ("FILES", self._files), ("ORIGIN", self.origin)):
            text = text.replace(f"@{name}@", toml_value(str(value))[1:-1])
        self.config.write_text(text, encoding="utf-8")

    def settings(self) -> Settings:
        """The pool's settings."""
        return load((str(self.config), self.config.read_text(encoding="utf-8")), {}, {}).settings

    def items(self) -> list[Item]:
        """The backlog."""
        items, problems = backlog.parse((self._files / "project" / "BACKLOG.md").read_text(encoding="utf-8"))
        assert not problems, problems
        return items

    def changes(self) -> dict[str, Change]:
        """What is on main of each task, by the `Task:` line of the commits' messages."""
        told = "%x00%(trailers:key=Task,valueonly,separator=%x2C)"
        log = self._git(self.origin, "log", "--numstat", f"--format={told}", "main")
        found: dict[str, Change] = {}
        for commit in log.split("\0")[1:]:
            task, *rows = commit.strip("\n").split("\n")
            counts = [row.split("\t") for row in rows if row]
            before = found.get(task, Change(0, 0, 0, 0))
            added, deleted = (sum(int(row[place]) for row in counts if row[place] != "-") for place in (0, 1))
            found[task] = Change(
                before.commits + 1, before.files + len(counts), before.added + added, before.deleted + deleted
            )
        found.pop("", None)
        return found

    def run_suite(self, name: str) -> Suite:
        """Run the project's own tests on a fresh clone of main, in a folder of this name."""
        clone, report = self.folder / name, self.folder / f"{name}.xml"
        self._git(self.folder, "clone", "--quiet", str(self.origin), str(clone))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"],
            cwd=clone,
            env={**self.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SUITE_TIMEOUT_S,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise AgentComError(f"the project's tests cannot be run: {(done.stdout + done.stderr).strip()[-300:]}")
        # The report was written by the test runner just now, in a folder of our own.
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314
        failed = sum(any(case.find(kind) is not None for kind in ("failure", "error")) for case in cases)
        return Suite(len(cases) - failed, failed)

    def _git(self, where: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "gc.auto=0", *arguments],
            cwd=where,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise AgentComError(f"git {arguments[0]} failed: {done.stderr.strip()[-300:]}")
        return done.stdout


def _packaged_files() -> Path:
    """The files that came with AgentCom: beside this module in a wheel, under examples in a source checkout."""
    packaged = Path(__file__).with_name("files")
    for place in (packaged, Path(__file__).parents[2] / "examples" / "demo"):
        if (place / "agentcom.toml").is_file():
            return place
    raise ConfigurationError(f"{packaged} is missing", "Install AgentCom again")
