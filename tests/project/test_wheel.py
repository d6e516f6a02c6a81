"""What `pip install agentcom` gives, in an environment that has nothing else."""

import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)
"""To set up an environment takes minutes on a busy machine."""

ROOT = Path(__file__).parents[2]
Run = Callable[..., str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of a clean environment into which the built wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    _pip(sys.executable, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("agentcom-*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    _pip(str(python), "install", "--quiet", str(wheel))

    def run(program: str, *arguments: str, expect: int = 0) -> str:
        done = subprocess.run(
            [folder / "venv/bin" / program, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")},
        )
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


def _pip(python: str, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_the_wheel_gives_the_command_and_the_module(installed: Run) -> None:
    assert installed("agentcom", "--version").startswith("agentcom ")
    assert installed("python", "-m", "agentcom", "--version").startswith("agentcom ")


@pytest.mark.process
def test_the_wheel_carries_its_scripts_configuration_and_demo(installed: Run) -> None:
    code = (
        "from importlib.resources import files; import agentcom.broker.scripts;"
        "from agentcom.broker.embedded import configuration_file; print(configuration_file().name);"
        "print(sorted(p.name for p in (files('agentcom')/'demo'/'files').iterdir()))"
    )
    printed = installed("python", "-c", code)
    assert "redis.conf" in printed
    assert "project" in printed
    assert "agents" in printed


@pytest.mark.process
def test_without_a_server_it_says_in_one_line_what_to_do(installed: Run) -> None:
    said = installed("agentcom", "tasks", expect=1).strip()
    assert "\n" not in said
    assert "agentcom up" in said
