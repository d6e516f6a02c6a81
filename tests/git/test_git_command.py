"""`agentcom git`, as a person or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentcom.git import ATTEMPT, arm
from agentcom.git.guarding import armed
from agentcom.git.layout import place_of
from agentcom.settings import AgentSettings
from tests.git.lab import Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_5]

ROOT = Path(__file__).parents[2]


class Shell:
    """A shell in a folder with a settings file, which names one agent, oak."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.data_dir = lab.root / "data"
        self.folder = lab.root / "shell"
        self.folder.mkdir()
        (self.folder / "agentcom.toml").write_text(f'[agents.oak]\ncommand = ["true"]\nrepo = "{lab.origin}"\n')

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agentcom", "git", *arguments],
            cwd=self.folder,
            env=self.lab.environ | {"AGENTCOM_DATA_DIR": str(self.data_dir), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        ran = self(*arguments, "--json")
        assert ran.returncode == code, ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        assert answer["schema"] == 1
        return answer


@pytest.fixture
def shell(lab: Lab) -> Shell:
    return Shell(lab)


def test_a_task_from_start_to_push(lab: Lab, shell: Shell):
    began = shell.json("start", "try-1")
    worktree = Path(began["worktree"])
    assert (began["branch"], began["base"], began["resumed"]) == ("oak/try-1", "main", False)
    assert worktree == shell.data_dir / "agents" / "oak" / "workspaces" / "try-1"
    head = lab.commit(worktree)
    (worktree / "loose.txt").write_text("loose\n")

    stands = shell.json("status", "try-1")
    assert (stands["head_sha"], stands["commits"], stands["origin_sha"], stands["attempt"]) == (head, 1, "", "by-hand")
    assert stands["uncommitted"] == "1 file not committed, such as loose.txt"

    refused = shell("finish", "try-1", "--push")
    assert refused.returncode == 1
    assert "uncommitted: 1 file not committed" in refused.stdout
    assert lab.sha("oak/try-1") == ""

    (worktree / "loose.txt").unlink()
    done = shell("finish", "try-1", "--push")
    assert done.returncode == 0, done.stdout
    assert f"oak/try-1 is at {head[:12]}, pushed: 1 commit, 1 file, 1 insertions, 0 deletions" in done.stdout
    assert lab.sha("oak/try-1") == head

    again = shell("finish", "try-1")
    assert again.returncode == 2
    assert again.stderr.startswith("agentcom: 'try-1' was not started in ")


def test_a_person_can_push_from_the_worktree(lab: Lab, shell: Shell):
    said = shell("start", "try-1").stdout
    assert f"push from there with: {ATTEMPT}=by-hand git push" in said
    worktree = shell.data_dir / "agents" / "oak" / "workspaces" / "try-1"
    lab.commit(worktree)
    pushed = lab.run("push", cwd=worktree, **{ATTEMPT: "by-hand"})
    assert pushed.returncode == 0, pushed.stderr


def test_a_repository_without_an_agent_of_the_settings(lab: Lab, shell: Shell):
    folder = lab.root / "by hand"
    options = ["--repo", str(lab.origin), "--agent", "ann", "--base", "main", "--worktree", str(folder)]
    assert shell.json("start", "try-2", *options)["branch"] == "ann/try-2"
    assert (folder / "README").exists()


def test_a_worktree_that_an_attempt_is_at_work_in_is_not_touched(lab: Lab, shell: Shell):
    began = shell.json("start", "try-1")
    (Path(began["worktree"]) / "loose.txt").write_text("loose\n")
    settings = AgentSettings(repo=str(lab.origin))
    place = place_of(shell.data_dir, "oak", settings, "try-1", lab.environ)
    guard = armed(place)
    assert guard is not None
    arm(place, "3-at-work", guard.started)
    ran = shell("start", "try-1")
    assert ran.returncode == 2
    assert "attempt 3-at-work is at work in" in ran.stderr
    assert (Path(began["worktree"]) / "loose.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("start", "a b"), 1, "is no name of a branch"),
        (("start", "-x"), 2, "No such option"),
        (("start", "x", "--agent", "elm"), 78, "the settings have no agent 'elm'"),
        (("start", "x", "--repo", "/nowhere"), 1, "git_fetch_failed: /nowhere cannot be reached"),
        (("start", "x", "--repo", "https://eve:secret@127.0.0.1:1/x"), 1, "https://eve:***@127.0.0.1:1/x"),
        (("start", "x", "--base", "develop"), 1, "has no branch develop"),
        (("finish", "x"), 2, "was not started in"),
        (("bogus",), 2, "No such command"),
    ],
)
def test_bad_input_is_told_in_one_line(shell: Shell, arguments: tuple[str, ...], code: int, told: str):
    ran = shell(*arguments)
    assert ran.returncode == code
    assert told in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert "secret" not in ran.stderr


def test_status_of_nothing_and_of_an_origin_that_is_away(lab: Lab, shell: Shell):
    assert "oak/x is nowhere yet; on origin: not there" in shell("status", "x").stdout
    lab.origin.rename(lab.root / "away.git")
    ran = shell("status", "x")
    assert ran.returncode == 1
    assert "git_fetch_failed: " in ran.stdout


def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(lab: Lab, shell: Shell):
    healthy = shell.json("doctor")
    assert [finding["name"] for finding in healthy["findings"]] == ["git", "remote", "identity", "clone"]
    assert all(finding["ok"] for finding in healthy["findings"])

    gone, spoiled = (Path(shell.json("start", task)["worktree"]) for task in ("gone", "spoiled"))
    gone.rename(lab.root / "moved")
    lab.git("config", "--worktree", "core.hooksPath", "/nowhere", cwd=spoiled)
    [clone] = (shell.data_dir / "clones").glob("*.git")
    (clone / "objects" / "aa").mkdir(exist_ok=True)
    clone.with_name(f"{clone.name}.damaged-1").mkdir()
    lab.origin.rename(lab.root / "away.git")
    ran = shell.json("doctor", code=1)
    wrong = {finding["name"]: finding for finding in ran["findings"] if not finding["ok"]}
    assert set(wrong) == {"remote", "damaged", "worktree", "hook"}
    assert str(gone) in wrong["worktree"]["text"]
    assert str(spoiled) in wrong["hook"]["text"]
    assert all(finding["remedy"] for finding in wrong.values())

    for path in (clone / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"")
    said = shell("doctor").stdout
    assert f"{clone} is damaged" in said
