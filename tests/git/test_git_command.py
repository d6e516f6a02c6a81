"""`agentcom git`, as a person or a script meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentcom.git import ATTEMPT, arm
from agentcom.git.guarding import armed
from agentcom.git.layout import place_of
from agentcom.settings import AgentSettings
from tests.cli.harness import Said, Terminal
from tests.git.lab import Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_5]


class Shell:
    """A terminal in a folder with a settings file, which names one agent, oak."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.data_dir = lab.root / "data"
        folder = lab.root / "shell"
        folder.mkdir()
        (folder / "agentcom.toml").write_text(f'[agents.oak]\ncommand = ["true"]\nrepo = "{lab.origin}"\n')
        self.terminal = Terminal(folder, lab.environ | {"AGENTCOM_DATA_DIR": str(self.data_dir)})

    def __call__(self, *arguments: str) -> Said:
        return self.terminal("git", *arguments)

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        said = self(*arguments, "--json")
        assert said.code == code, said.err
        answer: dict[str, Any] = json.loads(said.out)
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
    assert refused.code == 1
    assert "uncommitted: 1 file not committed" in refused.out
    assert lab.sha("oak/try-1") == ""

    told = shell("status", "try-1").out
    assert f"oak/try-1 is at {head[:12]} here, with 1 commit over the base; on origin: not there" in told
    assert "1 file not committed, such as loose.txt" in told
    assert "may push: attempt by-hand" in told
    assert "rescued: rescue/try-1/" in told

    (worktree / "loose.txt").unlink()
    assert "it may be pushed: repeat with --push" in shell("finish", "try-1").out
    done = shell("finish", "try-1", "--push")
    assert done.code == 0, done.out
    assert f"oak/try-1 is at {head[:12]}, pushed: 1 commit, 1 file, 1 insertions, 0 deletions" in done.out
    assert lab.sha("oak/try-1") == head

    again = shell("finish", "try-1")
    assert again.code == 2
    assert again.err.startswith("agentcom: 'try-1' was not started in ")


def test_a_person_can_push_from_the_worktree(lab: Lab, shell: Shell):
    said = shell("start", "try-1").out
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
    assert ran.code == 2
    assert "attempt 3-at-work is at work in" in ran.err
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
    assert ran.code == code
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert "secret" not in ran.err


def test_status_of_nothing_and_of_an_origin_that_is_away(lab: Lab, shell: Shell):
    assert "oak/x is nowhere yet; on origin: not there" in shell("status", "x").out
    lab.origin.rename(lab.root / "away.git")
    ran = shell("status", "x")
    assert ran.code == 1
    assert "git_fetch_failed: " in ran.out


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
    said = shell("doctor").out
    assert f"{clone} is damaged" in said


def test_a_start_says_what_the_agent_has_to_do_first(lab: Lab, shell: Shell):
    worktree = Path(shell.json("start", "try-1")["worktree"])
    lab.commit(worktree, "news.txt", "mine\n")
    lab.main_moves("news.txt", "theirs\n")
    said = shell("start", "try-1").out
    assert "is on oak/try-1, which goes on" in said
    assert "merge origin/main first; it conflicts in news.txt" in said
    assert "only this clone has" in said
    refused = shell.json("finish", "try-1", code=1)
    assert refused["problem"]["reason"] == "stale_base"


def test_which_agent_is_meant_has_to_be_clear(shell: Shell):
    settings = shell.terminal.folder / "agentcom.toml"
    settings.write_text(settings.read_text() + '[agents.elm]\ncommand = ["true"]\n')
    said = shell("status", "x")
    assert said.code == 2
    assert "it is not said which agent: elm, oak" in said.err
    said = shell("status", "x", "--agent", "elm")
    assert said.code == 2
    assert "agent 'elm' has no repository" in said.err
