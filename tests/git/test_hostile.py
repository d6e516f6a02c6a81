"""Configuration, environments and repositories that would have git do something else, or run a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentcom.git import Started, publishable, push, rescue, start
from tests.git.lab import BRANCH, TASK, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_5]

USERS_CONFIG = """
[core]
    hooksPath = {evil_folder}
    fsmonitor = {evil}
    editor = {evil}
    pager = {evil}
    quotePath = false
    autocrlf = input
[commit]
    gpgSign = true
[tag]
    gpgSign = true
[push]
    default = nothing
    followTags = true
    gpgSign = true
    recurseSubmodules = check
    pushOption = ci.skip
[fetch]
    prune = true
    recurseSubmodules = true
[gpg]
    program = {evil}
[init]
    templateDir = {evil_folder}
    defaultBranch = x
[status]
    showUntrackedFiles = no
    short = true
    branch = true
[color]
    ui = always
[diff]
    external = {evil}
    noprefix = true
    renames = copies
    submodule = log
[merge]
    ff = only
[submodule]
    recurse = true
[gc]
    auto = 1
[advice]
    detachedHead = false
"""

CLONES_CONFIG = """
[core]
    fsmonitor = {evil}
    hooksPath = {evil_folder}
    sshCommand = {evil}
    askPass = {evil}
    alternateRefsCommand = {evil}
    gitProxy = {evil}
    editor = {evil}
[filter "evil"]
    clean = {evil}
    smudge = {evil}
    process = {evil}
[diff "evil"]
    command = {evil}
    textconv = {evil}
[merge "evil"]
    driver = {evil}
[credential]
    helper = !{evil}
[remote "origin"]
    uploadpack = {evil}
    receivepack = {evil}
[gpg]
    program = {evil}
[commit]
    gpgSign = true
[uploadpack]
    packObjectsHook = {evil}
[url "ext::sh -c {evil}% "]
    insteadOf = /
"""


@pytest.fixture
def evil(lab: Lab) -> Path:
    """A program that leaves a trace, also as every hook; nobody may run it."""
    folder = lab.root / "evil"
    folder.mkdir()
    script = f"#!/bin/sh\necho \"$0 $*\" >> '{lab.root}/ran'\nexit 1\n"
    hooks = (
        "pre-commit post-checkout pre-push reference-transaction post-index-change post-commit pre-auto-gc post-merge"
    )
    for name in ("evil", *hooks.split()):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (folder / "hooks").symlink_to(folder)
    return folder / "evil"


def ran(lab: Lab) -> str:
    trace = lab.root / "ran"
    return trace.read_text() if trace.exists() else ""


async def test_no_configuration_of_a_user_gets_in_the_way(lab: Lab, evil: Path):
    config = USERS_CONFIG.format(evil=evil, evil_folder=evil.parent)
    place = lab.place()
    began = await lab.started(place)
    lab.commit(place.worktree)
    (place.worktree / "loose.txt").write_text("loose\n")
    (lab.root / "home" / ".gitconfig").write_text(config)
    # This one would be run by origin, which is on the same machine here, and may have its own hooks.
    (evil.parent / "reference-transaction").unlink()
    done = await lab.finished(place, began)
    assert done.evidence.rescue != ""
    assert (done.evidence.commits, done.evidence.insertions) == (1, 1)
    assert await publishable(place, began) is None
    assert await push(place, done.evidence.head_sha, done.origin_sha) is None
    assert isinstance(await start(place), Started)
    assert isinstance(await start(lab.place("elm", machine="there")), Started)
    assert ran(lab) == ""


async def test_what_an_agent_writes_into_the_shared_clone_does_not_run_in_the_sidecars_calls(lab: Lab, evil: Path):
    place = lab.place()
    began = await lab.started(place)
    head = lab.commit(place.worktree, ".gitattributes", "* filter=evil diff=evil merge=evil\n")
    (place.worktree / "loose.txt").write_text("loose\n")
    clone = place.repository.clone
    gitdir = clone / "worktrees" / TASK
    config = CLONES_CONFIG.format(evil=evil, evil_folder=evil.parent)

    def spoil() -> None:
        for file in (clone / "config", clone / "config.worktree", gitdir / "config.worktree"):
            file.write_text(config)
        (clone / "info" / "attributes").write_text("* filter=evil diff=evil merge=evil\n")
        (clone / "hooks").mkdir(exist_ok=True)
        for name in ("pre-push", "post-checkout", "reference-transaction"):
            (clone / "hooks" / name).write_bytes(evil.read_bytes())
            (clone / "hooks" / name).chmod(0o755)

    spoil()
    done = await lab.finished(place, began)
    assert done.evidence.head_sha == head
    spoil()
    assert await publishable(place, began) is None
    spoil()
    assert await push(place, head, done.origin_sha) is None
    spoil()
    assert isinstance(await start(place), Started)
    assert ran(lab) == ""
    assert lab.sha(BRANCH) == head


async def test_a_repository_within_the_worktree_is_not_run(lab: Lab, evil: Path):
    place = lab.place()
    began = await lab.started(place)
    nested = place.worktree / "nested"
    nested.mkdir()
    lab.git("init", "--quiet", cwd=nested)
    lab.git("config", "user.name", "x", cwd=nested)
    lab.git("config", "user.email", "x@example.invalid", cwd=nested)
    lab.commit(nested)
    lab.git("add", "nested", cwd=place.worktree)
    lab.git("commit", "--quiet", "-m", "A submodule without a place", cwd=place.worktree)
    (nested / ".git" / "config").write_text(CLONES_CONFIG.format(evil=evil, evil_folder=evil.parent))
    (nested / "work.txt").write_text("changed\n")
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.commits) == (None, 1)
    assert ran(lab) == ""
    await lab.started(place)
    assert (nested / "work.txt").exists()


async def test_variables_of_another_repository_send_git_nowhere(lab: Lab):
    elsewhere = lab.root / "elsewhere"
    lab.git("init", "--quiet", str(elsewhere), cwd=lab.root)
    names = ("GIT_DIR", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_TEMPLATE_DIR")
    hostile = dict.fromkeys(names, str(elsewhere / ".git")) | {"GIT_NAMESPACE": "x", "GIT_EXTERNAL_DIFF": "/bin/false"}
    done = await lab.attempt(lab.place(**hostile))
    assert lab.sha(BRANCH) == done.evidence.head_sha
    assert lab.run("rev-parse", "--verify", "HEAD", cwd=elsewhere).returncode != 0


async def test_a_replaced_commit_does_not_change_what_is_told(lab: Lab):
    place = lab.place()
    began = await lab.started(place)
    head = lab.commit(place.worktree)
    lab.git("replace", "--graft", head, cwd=place.worktree)
    done = await lab.finished(place, began)
    assert (done.problem, done.evidence.commits) == (None, 1)
    assert await publishable(place, began) is None


async def test_a_history_that_an_agent_cut_short_is_fetched_whole_again(lab: Lab):
    place = lab.place()
    lab.main_moves()
    await lab.started(place)
    lab.git("fetch", "--quiet", "--depth=1", f"file://{lab.origin}", "main", cwd=place.worktree)
    assert (place.repository.clone / "shallow").exists()
    began = await lab.started(place)
    assert lab.git("rev-list", "--count", began.head_sha, cwd=place.worktree) == "2"


async def test_a_branch_in_the_way_of_the_tasks_is_moved_aside(lab: Lab):
    first = lab.place(task="first")
    await lab.started(first)
    sha = lab.commit(first.worktree)
    lab.git("checkout", "--quiet", "--detach", cwd=first.worktree)
    lab.git("update-ref", "-d", "refs/heads/oak/first", cwd=first.worktree)
    lab.git("branch", "oak", sha, cwd=first.worktree)
    place = lab.place()
    await lab.started(place)
    assert lab.sha(f"rescue/{TASK}/{sha[:12]}", cwd=place.worktree) == sha


async def test_a_worktree_that_became_a_symlink_leads_nowhere(lab: Lab):
    place = lab.place()
    began = await lab.started(place)
    precious = lab.root / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious\n")
    place.worktree.rename(place.worktree.with_name("away"))
    place.worktree.symlink_to(precious)
    await lab.finished(place, began)
    await lab.started(place)
    assert not place.worktree.is_symlink()
    assert [path.name for path in precious.iterdir()] == ["file"]


async def test_a_branch_on_origin_that_looks_like_an_option_is_passed_over(lab: Lab):
    lab.git("update-ref", f"refs/heads/--upload-pack=touch/{TASK}", "main", cwd=lab.origin)
    began = await lab.started(lab.place())
    assert began.resumed is False


async def test_git_that_cannot_be_started_is_told(lab: Lab):
    answer = await start(lab.place(PATH="/nowhere"))
    assert "git cannot be started" in getattr(answer, "detail", "")


async def test_an_agent_that_fills_the_worktree_with_files_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rescue, "FILES", 10)
    place = lab.place()
    began = await lab.started(place)
    for number in range(30):
        (place.worktree / f"{number}.txt").write_text("")
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert done.problem.detail.startswith("30 files not committed")
    assert "not saved: 20" in done.detail
    names = lab.git("ls-tree", "--name-only", done.evidence.rescue, cwd=lab.origin).split()
    assert len([name for name in names if name.endswith(".txt")]) == 10


@pytest.mark.parametrize("name", ["info/attributes", "info/exclude", "objects/info/alternates", "config"])
async def test_a_folder_where_a_file_of_the_clone_should_be_stops_nobody(lab: Lab, name: str):
    place = lab.place()
    await lab.started(place)
    path = place.repository.clone / name
    path.unlink(missing_ok=True)
    (path / "inside").mkdir(parents=True)
    await lab.attempt(place)
