"""What an agent leaves uncommitted: found and saved, whatever it is, and left where it is."""

from __future__ import annotations

import os
import shutil

import pytest

from agentcom.git.rescue import ALL_BYTES, FILE_BYTES
from tests.git.lab import BRANCH, TASK, Begun, Lab

pytestmark = [pytest.mark.process, pytest.mark.pitfall_5]


async def test_a_dirty_tree_is_rescued_and_left_as_it_is(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    (place.worktree / "README").write_text("changed\n")
    (place.worktree / "sub" / "file.txt").unlink()
    (place.worktree / "staged ö.txt").write_text("staged\n")
    lab.git("add", "staged ö.txt", cwd=place.worktree)
    (place.worktree / "new").mkdir()
    (place.worktree / "new" / "-x").write_text("new\n")
    before = lab.git("status", "--porcelain", cwd=place.worktree)
    done = await lab.finished(place, began)
    assert lab.git("status", "--porcelain", cwd=place.worktree) == before
    assert done.evidence.head_sha == head
    assert done.problem is not None
    assert done.problem.reason == "uncommitted"
    rescue = done.evidence.rescue
    assert rescue.startswith(f"rescue/{TASK}/")
    assert rescue in done.problem.detail
    lab.git("fetch", "--quiet", "origin", rescue, cwd=place.worktree)
    changed = lab.git("-c", "core.quotePath=false", "diff", "--name-status", head, "FETCH_HEAD", cwd=place.worktree)
    assert changed.split("\n") == ["M\tREADME", "A\tnew/-x", "A\tstaged ö.txt", "D\tsub/file.txt"]
    assert await lab.finished(place, began) == done
    assert len(lab.branches()) == 2


async def test_a_lock_left_behind_is_removed(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree)
    gitdir = lab.git("rev-parse", "--absolute-git-dir", cwd=place.worktree)
    for name in ("index.lock", "HEAD.lock"):
        (place.worktree / gitdir / name).write_text("")
    (place.worktree / "loose.txt").write_text("loose\n")
    done = await lab.finished(place, began)
    assert (done.evidence.head_sha, done.evidence.rescue != "") == (head, True)
    lab.git("add", "loose.txt", cwd=place.worktree)


async def test_a_merge_in_the_middle_is_a_problem_and_its_files_are_rescued(lab: Lab, begun: Begun):
    place, began = begun
    lab.commit(place.worktree, "news.txt", "mine\n")
    lab.main_moves("news.txt", "theirs\n")
    lab.git("fetch", "--quiet", cwd=place.worktree)
    assert lab.run("merge", "origin/main", cwd=place.worktree).returncode == 1
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert "a merge is under way" in done.problem.detail
    assert "<<<<<<<" in lab.shown(done.evidence.rescue, "news.txt")
    assert "merge" in lab.git("status", cwd=place.worktree)
    again = await lab.started(place)
    assert lab.git("status", "--porcelain", cwd=place.worktree) == ""
    assert again.conflicts == ("news.txt",)


async def test_a_rebase_in_the_middle_is_a_problem(lab: Lab, begun: Begun):
    place, began = begun
    head = lab.commit(place.worktree, "news.txt", "mine\n")
    lab.main_moves("news.txt", "theirs\n")
    lab.git("fetch", "--quiet", cwd=place.worktree)
    assert lab.run("rebase", "origin/main", cwd=place.worktree).returncode == 1
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert "a rebase is under way" in done.problem.detail
    assert done.evidence.head_sha == head
    await lab.started(place)
    assert lab.git("branch", "--show-current", cwd=place.worktree) == BRANCH


async def test_a_repository_within_the_worktree_is_rescued_with_its_files(lab: Lab, begun: Begun):
    place, began = begun
    nested = place.worktree / "nested"
    nested.mkdir()
    lab.git("init", "--quiet", cwd=nested)
    (nested / "inside.txt").write_text("inside\n")
    done = await lab.finished(place, began)
    assert lab.shown(done.evidence.rescue, "nested/inside.txt") == "inside"
    await lab.started(place)
    assert (nested / "inside.txt").exists()


async def test_strange_files_are_rescued_or_passed_over_and_never_stop_it(lab: Lab, begun: Begun):
    place, began = begun
    top = place.worktree
    os.mkfifo(top / "fifo")
    (top / "dangling").symlink_to("/nowhere")
    (top / "loop").symlink_to("loop")
    (top / "outside").symlink_to("/etc")
    (top / "README").unlink()
    (top / "README").mkdir()
    (top / "README" / "now a folder").write_text("x\n")
    shutil.rmtree(top / "sub")
    (top / "sub").symlink_to("/etc")
    (top / os.fsdecode(b"not-utf8-\xff")).write_text("bytes\n")
    (top / "binary").write_bytes(bytes(range(256)))
    (top / 'quote" and\nline').write_text("x\n")
    done = await lab.finished(place, began)
    listed = lab.git("ls-tree", "-r", "-z", "--name-only", done.evidence.rescue, cwd=lab.origin)
    names = {name for name in listed.split("\0") if name}
    assert {"README/now a folder", "sub", "dangling", "loop", "outside", "binary", 'quote" and\nline'} < names
    assert "fifo" not in names
    assert len(names) == 9  # with .gitignore and the one that is not UTF-8


async def test_files_too_large_to_be_pushed_are_left_where_they_are_and_said(lab: Lab, begun: Begun):
    place, began = begun
    with (place.worktree / "core").open("wb") as core:
        core.truncate(FILE_BYTES + 1)
    (place.worktree / "small.txt").write_text("small\n")
    done = await lab.finished(place, began)
    assert "not saved: 1 over 50 MB each or 200 MB in all" in done.detail
    assert lab.shown(done.evidence.rescue, "small.txt") == "small"
    assert ALL_BYTES > FILE_BYTES
    assert lab.run("cat-file", "-e", f"{done.evidence.rescue}:core", cwd=lab.origin).returncode != 0


async def test_ignored_files_are_no_leftovers_wherever_they_are_ignored(lab: Lab, begun: Begun):
    place, began = begun
    new = place.worktree / "new"
    (new / "cache").mkdir(parents=True)
    (new / "cache" / "big").write_text("ignored by the repository\n")
    (new / ".gitignore").write_text("secret\n")
    (new / "secret").write_text("secret\n")
    nested = place.worktree / "nested"
    nested.mkdir()
    lab.git("init", "--quiet", cwd=nested)
    (nested / ".gitignore").write_text("secret\n")
    (nested / "secret").write_text("secret\n")
    done = await lab.finished(place, began)
    changed = lab.git("diff", "--name-only", "main", done.evidence.rescue, cwd=lab.origin)
    assert changed.split("\n") == ["nested/.gitignore", "new/.gitignore"]


async def test_a_submodule_that_was_moved_on_is_a_leftover_and_rescued_as_one(lab: Lab, begun: Begun):
    place, _ = begun
    library = lab.root / "library"
    lab.git("clone", "--quiet", str(lab.origin), str(library), cwd=lab.root)
    allowed = ["-c", "protocol.file.allow=always"]
    lab.git(*allowed, "submodule", "--quiet", "add", str(library), "lib", cwd=place.worktree)
    lab.git("commit", "--quiet", "-m", "A library", cwd=place.worktree)
    began = await lab.started(place)
    assert (place.worktree / "lib" / "README").exists()
    assert (await lab.finished(place, began)).problem is None
    inside = place.worktree / "lib"
    lab.git("config", "user.name", "x", cwd=inside)
    lab.git("config", "user.email", "x@example.invalid", cwd=inside)
    moved = lab.commit(inside)
    done = await lab.finished(place, began)
    assert done.problem is not None
    assert lab.git("ls-tree", done.evidence.rescue, "lib", cwd=lab.origin).split() == ["160000", "commit", moved, "lib"]


async def test_a_damaged_index_is_made_anew_and_what_was_staged_is_rescued(lab: Lab, begun: Begun):
    place, began = begun
    (place.worktree / "staged.txt").write_text("staged\n")
    lab.git("add", "staged.txt", cwd=place.worktree)
    (place.repository.clone / "worktrees" / TASK / "index").write_bytes(b"x")
    done = await lab.finished(place, began)
    assert lab.shown(done.evidence.rescue, "staged.txt") == "staged"
    assert lab.git("status", "--porcelain", cwd=place.worktree) == "?? staged.txt"
