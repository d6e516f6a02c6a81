"""Saves what would be lost: files that nobody committed, and commits that no branch goes on with.

Each goes to a branch `rescue/TASK/…` of its own, named after its content, so that to save it again changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import anyio.to_thread
from msgspec import Struct

from agentcom.git.clone import origin_of
from agentcom.git.parsing import HEADS
from agentcom.git.running import Git, Trouble
from agentcom.git.worktree import Tree, index_anew
from agentcom.wording import count, one_line, size

FILE_BYTES = 50_000_000
ALL_BYTES = 200_000_000
FILES = 20_000
"""What is left behind may be anything, a core dump or a folder of dependencies: so much of it is saved."""


class Saved(Struct, frozen=True):
    """A rescue branch, and for people what is not on it; empty if all is."""

    branch: str = ""
    left_out: str = ""


class Leftovers(Struct, frozen=True):
    """What of a worktree is not committed, as paths in it.

    Attributes:
        paths: changed, deleted and new ones that are saved.
        left_out: those that are not, as they are too many or too large.
        example: one path, for people.
    """

    paths: tuple[bytes, ...] = ()
    left_out: int = 0
    example: str = ""

    @property
    def words(self) -> str:
        """For people: how many, and one of them."""
        number = len(self.paths) + self.left_out
        return f"{count(number, 'file')} not committed, such as {self.example}"


async def leftovers(git: Git, tree: Tree) -> Leftovers | None:
    """What is not committed; None if all is. Ignored files do not count.

    Raises:
        Trouble: git cannot tell.
    """
    # Submodules are not looked into: their configuration is the agent's.
    options = ["--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty"]
    ran = await git("status", *options, gitdir=tree.gitdir, worktree=tree.files)
    if ran.code and not ran.late and not ran.cut:
        # What an agent staged is in its files, too; so where the index is damaged, nothing is lost with it.
        await index_anew(git, tree)
        ran = await git("status", *options, gitdir=tree.gitdir, worktree=tree.files)
    if not ran.ok and not ran.cut:
        raise Trouble("unfit", f"git status in {tree.files}: {ran.why}", local=True)
    entries = [entry[3:] for entry in ran.out.split(b"\0") if entry]
    if not entries:
        return None
    found = await anyio.to_thread.run_sync(lambda: list(_walked(tree.files, entries)))
    ignored = await _ignored(
        git, tree, [path for path, _ in found], tuple(entry for entry in entries if entry[-1:] == b"/")
    )
    return _chosen([(path, length) for path, length in found if path not in ignored], entries[0])


async def _ignored(git: Git, tree: Tree, paths: Sequence[bytes], repositories: tuple[bytes, ...]) -> frozenset[bytes]:
    """Which of the files in repositories within the worktree are ignored there; git has told nothing of them."""
    inside = [path for path in paths if path.startswith(repositories)]
    if not inside:
        return frozenset()
    # Dots in front, as a path that begins with a colon would be taken for a pattern.
    given = b"".join(b"./" + path + b"\0" for path in inside)
    options = ["-z", "--stdin", "--no-index"]
    environ = {"GIT_LITERAL_PATHSPECS": "0"}  # it would refuse to work with it
    ran = await git("check-ignore", *options, gitdir=tree.gitdir, worktree=tree.files, stdin=given, environ=environ)
    return frozenset(path.removeprefix(b"./") for path in ran.out.split(b"\0"))


def _chosen(found: Sequence[tuple[bytes, int]], example: bytes) -> Leftovers:
    paths: list[bytes] = []
    room, left_out = ALL_BYTES, 0
    for path, length in found:
        if length > min(FILE_BYTES, room) or len(paths) >= FILES:
            left_out += 1
        else:
            room -= length
            paths.append(path)
    return Leftovers(tuple(paths), left_out, one_line(os.fsdecode(example), 80))


def _walked(files: Path, entries: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each file of these entries with its size; 0 for what is gone, and for a submodule. Of a repository within the
    worktree, which git would only make a note of, all files."""
    for entry in entries:
        full = files / os.fsdecode(entry)
        if entry.endswith(b"/"):
            for folder, names, inside in os.walk(full):
                names[:] = [name for name in names if name != ".git"]
                for name in (*inside, *names):
                    yield from _measured(files, Path(folder, name))
        elif full.is_dir() and not full.is_symlink():
            if (full / ".git").exists():
                yield entry, 0
        elif os.path.lexists(full):
            yield from _measured(files, full)
        else:
            yield entry, 0


def _measured(files: Path, full: Path) -> Iterator[tuple[bytes, int]]:
    """A file or symlink; nothing else can be committed, and to read it might never end."""
    with suppress(OSError):
        found = full.lstat()
        if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
            yield os.fsencode(full.relative_to(files)), found.st_size


async def save_files(git: Git, tree: Tree, left: Leftovers, parent: str) -> Saved:
    """Commit what is left to a rescue branch. The worktree, its index and its branch stay as they are.

    Raises:
        Trouble: the clone cannot take it.
    """
    with tempfile.TemporaryDirectory(prefix="agentcom-git-") as folder:
        environ = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        await git.must("read-tree", parent, gitdir=tree.gitdir, environ=environ)
        refused = await _add(git, tree, list(left.paths), environ)
        content = await git.must("write-tree", gitdir=tree.gitdir, environ=environ)
    message = f"What was not committed of task {git.place.task}\n\nSaved by its sidecar; not part of the work.\n"
    sha = await git.must("commit-tree", content, "-p", parent, stdin=message.encode(), environ=git.authoring)
    name = hashlib.sha256(f"{parent} {content}".encode()).hexdigest()[:12]
    return Saved(await _branch(git, name, sha), _left_out(left.left_out, len(refused)))


def _left_out(too_much: int, refused: int) -> str:
    told = [f"{too_much:,} over {size(FILE_BYTES)} each or {size(ALL_BYTES)} in all"] if too_much else []
    told += [f"{refused:,} that git does not take"] if refused else []
    return f"not saved: {' and '.join(told)}" if told else ""


async def _add(git: Git, tree: Tree, paths: list[bytes], environ: dict[str, str]) -> list[bytes]:
    """Add to an index; those that git does not take are found by halving, and returned."""
    if not paths:
        return []
    options = ["-z", "--add", "--remove", "--replace", "--stdin"]
    given = b"".join(path + b"\0" for path in paths)
    ran = await git("update-index", *options, gitdir=tree.gitdir, worktree=tree.files, stdin=given, environ=environ)
    if ran.ok:
        return []
    if len(paths) == 1:
        return paths
    half = len(paths) // 2
    return await _add(git, tree, paths[:half], environ) + await _add(git, tree, paths[half:], environ)


async def save_commit(git: Git, sha: str) -> Saved:
    """Keep a commit that the task's branch does not go on with.

    Raises:
        Trouble: the clone cannot take it.
    """
    return Saved(await _branch(git, sha[:12], sha))


async def _branch(git: Git, name: str, sha: str) -> str:
    """The rescue branch of this name: the one that is there, or a new one at this commit."""
    branch = f"rescue/{git.place.task}/{name}"
    if not await git.commit_of(HEADS + branch):
        await git.must("update-ref", HEADS + branch, sha)
    return branch


async def send(git: Git, branch: str) -> bool:
    """Push a rescue branch, where `origin` takes it. It stays here as well."""
    refspec = f"{HEADS}{branch}:{HEADS}{branch}"
    return (await git("push", "--quiet", "--no-verify", "--", origin_of(git), refspec)).ok
