"""Running a project's tests, and what came of each."""

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from contract import AttemptError, MisconfiguredError, child_environment

SUITE_TIMEOUT_S = 120.0

Outcomes = dict[str, str]
"""The first line of the failure by test, empty if it passed; a test is `tests/test_x.py::test_y[case]`."""


def failures(root: Path, *tests: str) -> Outcomes:
    """Runs `tests` (all of them if none are given) and returns those that fail."""
    return {test: message for test, message in outcomes(root, *tests).items() if message}


def outcomes(root: Path, *tests: str) -> Outcomes:
    """Runs `tests` (all of them if none are given). Raises AttemptError if nothing ran or the run itself broke."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        done = run_module(root, "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests)
        if done.returncode not in (0, 1):
            raise AttemptError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")
        cases = ElementTree.parse(report).iter("testcase")
        return {_name(case): _message(case) for case in cases}


def run_module(root: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m MODULE …` in `root`. Raises AttemptError after 120 s, MisconfiguredError without it."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=root,
            # The project needs no plugins; loading whatever is installed would cost more than its tests.
            env=child_environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SUITE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AttemptError(f"{module} took longer than {SUITE_TIMEOUT_S:.0f} s") from error
    if f"No module named {module}" in done.stderr:
        raise MisconfiguredError(f"{module} is not installed for {sys.executable}; install agentcom[demo]")
    return done


def belongs_to(test: str, target: str) -> bool:
    """Whether `test` is `target`, or one of its cases, or in it when the target is a file."""
    return test == target or test.startswith((f"{target}[", f"{target}::"))


def _name(case: ElementTree.Element) -> str:
    module, name = case.get("classname", ""), case.get("name", "")
    return f"{module.replace('.', '/')}.py::{name}"


def _message(case: ElementTree.Element) -> str:
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            return found.get("message", "").strip().partition("\n")[0] or kind
    return ""
