"""Killed in the middle, damaged, and many at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import msgspec
import pytest

from agentcom.git import Place, Started, start
from agentcom.git.clone import STALE_LOCK_S
from agentcom.git.guarding import armed
from tests.git.lab import BRANCH, TASK, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_1, pytest.mark.pitfall_3]

ROOT = Path(__file__).parents[2]
STARTING = """
import sys, anyio, msgspec
from agentcom.git import Place, start
print(anyio.run(start, msgspec.json.decode(sys.argv[1], type=Place, dec_hook=lambda kind, value: kind(value))))
"""


def starting(place: Place) -> subprocess.Popen[bytes]:
    """A program of its own that starts on a place."""
    told = msgspec.json.encode(place, enc_hook=str).decode()
    return subprocess.Popen([sys.executable, "-c", STARTING, told], cwd=ROOT, stdout=subprocess.PIPE)


def do(script: str, folder: Path) -> None:
    subprocess.run(["sh", "-c", script], cwd=folder, stderr=subprocess.DEVNULL, check=False)


async def test_eight_starts_at_once_share_one_clone(lab: Lab):
    places = [lab.place(f"a{number}", task=f"task-{number}") for number in range(8)]
    answers: list[object] = []

    async def one(place: Place) -> None:
        answers.append(await start(place))

    async with anyio.create_task_group() as group:
        for place in places:
            group.start_soon(one, place)
    assert [type(answer) for answer in answers] == [Started] * 8, answers
    for place in places:
        assert lab.git("branch", "--show-current", cwd=place.worktree) == place.branch
        assert lab.git("status", "--porcelain", cwd=place.worktree) == ""
    [clone] = {place.repository.clone for place in places}
    assert sorted(path.name for path in clone.parent.iterdir()) == ["project.git", "project.git.lock"]


async def test_two_programs_at_once_make_one_clone(lab: Lab):
    programs = [starting(lab.place(f"a{number}", task=f"task-{number}")) for number in range(2)]
    for program in programs:
        out, _ = program.communicate()
        assert out.startswith(b"Started("), out


@pytest.mark.parametrize("moment", range(4))
async def test_a_start_that_was_killed_at_any_moment_is_made_up_for_by_the_next(lab: Lab, moment: int):
    """Each call of git is a moment; the program is killed as it makes it, with git going on by itself."""
    calls = lab.root / "calls"
    bin_folder = lab.root / "bin"
    bin_folder.mkdir()
    git = bin_folder / "git"
    git.write_text(
        f'#!/bin/sh\necho x >> "{calls}"\n'
        f'[ "$(wc -l < "{calls}")" -ne {1 + moment * 5} ] || kill -9 $PPID\nexec {shutil.which("git")} "$@"\n'
    )
    git.chmod(0o755)
    place = lab.place(PATH=f"{bin_folder}:{os.environ['PATH']}")
    program = starting(place)
    program.communicate()
    assert program.returncode == -signal.SIGKILL
    began = await lab.started(lab.place())
    assert began.head_sha == lab.sha("main")
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""


@pytest.mark.parametrize(
    "damage",
    [
        "rm -r objects",
        "rm HEAD",
        ": > HEAD",
        "rm -r refs packed-refs worktrees",
        "find objects -type f -delete",
        "find objects -type f | while read -r file; do chmod u+w $file; : > $file; done",
    ],
)
async def test_a_damaged_clone_is_set_aside_and_made_anew(lab: Lab, damage: str):
    place = lab.place()
    done = await lab.attempt(place)
    (place.worktree / "loose.txt").write_text("loose\n")
    do(damage, place.repository.clone)
    began = await lab.started(place)
    assert began.head_sha == done.evidence.head_sha
    assert lab.git("log", "-1", "--format=%s", cwd=place.worktree) == "Work"
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""
    [rescue] = [branch for branch in lab.branches() if branch.startswith("rescue/")]
    assert lab.shown(rescue, "loose.txt") == "loose"
    lab.git("fsck", cwd=place.worktree)


async def test_commits_of_other_tasks_are_taken_over_from_a_damaged_clone(lab: Lab):
    oak, elm = lab.place(), lab.place("elm", task="other", branch="elm/other")
    done = await lab.attempt(oak)
    await lab.started(elm)
    head = lab.commit(elm.worktree, "unpushed.txt")
    tree = lab.git("rev-parse", f"{done.evidence.head_sha}^{{tree}}", cwd=oak.worktree)
    (oak.repository.clone / "objects" / tree[:2] / tree[2:]).unlink()
    shutil.rmtree(oak.worktree)
    assert (await lab.started(oak)).head_sha == done.evidence.head_sha
    assert lab.sha("elm/other", cwd=oak.repository.clone) == head
    assert lab.git("rev-parse", "HEAD", cwd=elm.worktree) == head


async def test_locks_that_were_left_behind_are_removed(lab: Lab):
    place = lab.place()
    await lab.started(place)
    lab.main_moves()
    clone = place.repository.clone
    for name in ("packed-refs", "refs/agentcom/origin/main", "refs/remotes/origin/main", f"refs/heads/{BRANCH}"):
        lock = clone / f"{name}.lock"
        lock.write_text("")
        os.utime(lock, (0, time.time() - STALE_LOCK_S - 1))
    assert (await lab.started(place)).base_sha == lab.sha("main")


async def test_another_process_that_keeps_the_clone_to_itself_is_not_waited_for_for_ever(lab: Lab):
    import fcntl

    place = lab.place(timeout_s=1.0)
    clone = place.repository.clone
    clone.parent.mkdir(parents=True)
    lock = os.open(clone.with_name("project.git.lock"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    answer = await start(place)
    os.close(lock)
    assert "kept the clone" in getattr(answer, "detail", "")


async def test_paths_with_spaces_quotes_and_other_letters(tmp_path: Path, template: Path):
    root = tmp_path / 'a b\'c "d" ö 日本 -x'
    root.mkdir()
    lab = Lab(root, template)
    done = await lab.attempt(lab.place(), "ein name ö.txt")
    assert lab.sha(BRANCH) == done.evidence.head_sha
    place = lab.place()
    await lab.started(place)
    lab.commit(place.worktree, "more.txt")
    assert lab.agent_pushes(place).returncode == 0
    assert "is the base" in lab.agent_pushes(place, "origin", "HEAD:main").stderr


async def test_who_is_armed_is_known_after_a_new_start_of_the_sidecar(lab: Lab):
    place = lab.place()
    began = await lab.started(place, "7-token")
    found = armed(place)
    assert found is not None
    assert (found.token, found.started) == ("7-token", began)
    place.guard.write_text("{")
    assert armed(place) is None


async def test_a_worktree_that_was_moved_away_is_made_anew(lab: Lab):
    place = lab.place()
    done = await lab.attempt(place)
    place.worktree.rename(place.worktree.with_name("moved"))
    began = await lab.started(place)
    assert began.head_sha == done.evidence.head_sha
    assert (place.worktree / "work.txt").exists()
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""
    assert TASK in place.worktree.name
