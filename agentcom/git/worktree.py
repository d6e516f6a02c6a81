"""A worktree: its files are the agent's, and what git knows of it lies in the clone."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import anyio.to_thread
from msgspec import Struct

from agentcom.git.clone import quoted, write_if_other
from agentcom.git.guarding import install_hook
from agentcom.git.parsing import HEADS, is_sha
from agentcom.git.running import UNFIT, Git, Trouble

OWN = ".git-"

LOG_BYTES = 4_000_000

UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "sequencer": "a cherry-pick or revert",
    "BISECT_LOG": "a bisection",
}
"""What git leaves in a worktree's folder of the clone while it is in the middle of something."""


class Tree(Struct, frozen=True):
    """A worktree that git can use.

    Attributes:
        files: the folder that the agent works in.
        gitdir: what git knows of it, in the clone.
        had_files: there were some in it.
        repaired: what had to be mended; empty if nothing had.
    """

    files: Path
    gitdir: Path
    had_files: bool = True
    repaired: str = ""

    @property
    def under_way(self) -> str:
        """What git is in the middle of here; empty if it is not."""
        return next((words for name, words in UNDER_WAY.items() if (self.gitdir / name).exists()), "")

    @property
    def branch(self) -> str:
        """The branch that HEAD names; empty where it is detached or unreadable."""
        with suppress(OSError, UnicodeDecodeError):
            head = (self.gitdir / "HEAD").read_text(encoding="utf-8").strip()
            if head.startswith(f"ref: {HEADS}"):
                return head.removeprefix(f"ref: {HEADS}")
        return ""


def gitdir_of(clone: Path, files: Path) -> Path | None:
    """What the clone knows of the worktree with these files, if anything."""
    with suppress(OSError):
        wanted = files.parent.resolve() / files.name
        for gitdir, pointed in worktrees(clone):
            if pointed.parent.parent.resolve() / pointed.parent.name == wanted:
                return gitdir
    return None


def worktrees(clone: Path) -> Iterator[tuple[Path, Path]]:
    """Each worktree's folder in the clone, and the `.git` that it points to."""
    for pointer in sorted((clone / "worktrees").glob("*/gitdir")):
        with suppress(OSError, UnicodeDecodeError):
            yield pointer.parent, Path(pointer.read_text(encoding="utf-8", errors="surrogateescape").strip())


async def attached(git: Git, head_sha: str) -> Tree:
    """Make sure that the clone and the worktree's folder know each other, without touching the files in it.

    To be called by who holds the clone's lock.

    Args:
        git: of the place.
        head_sha: where HEAD is to be if nothing is known of it, and the task's branch is not there.

    Raises:
        Trouble: the disk refuses.
    """
    files = git.place.worktree
    try:
        if files.is_symlink():
            # To where it leads, nothing is written, and nothing there is cleaned up.
            files.unlink()
        had_files = files.is_dir() and any(path.name != ".git" for path in files.iterdir())
        gitdir = gitdir_of(git.clone, files)
        repaired = ""
        if gitdir is None:
            stands = await git.commit_of(HEADS + git.place.branch)
            gitdir = await _registered(git, stands or head_sha)
            repaired = "what git knew of the worktree was gone" if had_files else ""
        elif not _knows_its_head(gitdir):
            await _restore_head(git, gitdir)
            repaired = "its HEAD was damaged"
        elif not (files / ".git").exists():
            repaired = "its .git was gone" if had_files else ""
        own = _join(gitdir, files)
        if own is not None:
            repaired = await _taken_in(git, own)
        _configure(git, gitdir)
        remove_locks(git, gitdir)
        tree = Tree(files, gitdir, had_files, repaired)
        if had_files and not (gitdir / "index").exists():
            await index_anew(git, tree)
        await _unhidden(git, tree)
    except OSError as error:
        raise Trouble(UNFIT, f"the worktree {files} cannot be used: {error}") from error
    return tree


def _knows_its_head(gitdir: Path) -> bool:
    with suppress(OSError, UnicodeDecodeError):
        head = (gitdir / "HEAD").read_text(encoding="utf-8").strip()
        return head.startswith("ref: refs/") or is_sha(head)
    return False


async def _restore_head(git: Git, gitdir: Path) -> None:
    """HEAD is where the worktree's log last had it, else on the task's branch."""
    was = next((line.partition("\t")[0].split(" ")[1:2] for line in reversed(log_of(gitdir))), [])
    known = [sha for sha in was if is_sha(sha) and await git.commit_of(sha)]
    write_if_other(gitdir / "HEAD", f"{known[0] if known else f'ref: {HEADS}{git.place.branch}'}\n")


def log_of(gitdir: Path) -> list[str]:
    """The lines of the log of a worktree's HEAD, oldest first, as far as it goes back; none where there is no log."""
    try:
        with (gitdir / "logs" / "HEAD").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


async def _registered(git: Git, head_sha: str) -> Path:
    """Have git make a worktree beside, without files, and take what it knows of it for this one."""
    files = git.place.worktree
    files.parent.mkdir(parents=True, exist_ok=True)
    beside = files.parent / f".{files.name}.{secrets.token_hex(4)}.new"
    try:
        # With this name below, git calls its own folder after the worktree.
        made = beside / files.name
        await git.must("worktree", "add", "--quiet", "--force", "--no-checkout", "--detach", "--", str(made), head_sha)
        gitdir = gitdir_of(git.clone, made)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if gitdir is None:
        raise Trouble(UNFIT, f"git made no worktree for {files}", local=True)
    return gitdir


def _join(gitdir: Path, files: Path) -> Path | None:
    """Have both point to each other. A repository of the agent's own that is in the way is moved out of the worktree;
    this says where to."""
    own = None
    files.mkdir(parents=True, exist_ok=True)
    pointer = files / ".git"
    if pointer.is_dir() and not pointer.is_symlink():
        own = files.with_name(f".{files.name}{OWN}{secrets.token_hex(4)}")
        pointer.rename(own)
    write_if_other(pointer, f"gitdir: {gitdir}\n")
    write_if_other(gitdir / "gitdir", f"{pointer}\n")
    write_if_other(gitdir / "commondir", "../..\n")
    return own


async def _taken_in(git: Git, own: Path) -> str:
    """What the agent committed to a repository of its own goes to a rescue branch; for people, what became of it."""
    branch = f"rescue/{git.place.task}/{own.name.rpartition('-')[2]}"
    ran = await git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", str(own), f"+HEAD:{HEADS}{branch}")
    kept = f"what was committed there is on {branch}" if ran.ok else "nothing was committed there"
    return f"another repository had been made in it: {kept}"


def _configure(git: Git, gitdir: Path) -> None:
    """What holds for the agent's own calls of git in this worktree, over a user's configuration."""
    hooks = install_hook(git.place)
    settings = f"\thooksPath = {quoted(str(hooks))}\n"
    # Nobody is there to unlock a key.
    write_if_other(gitdir / "config.worktree", f"[core]\n{settings}[commit]\n\tgpgSign = false\n")


def remove_locks(git: Git, gitdir: Path) -> None:
    """Locks that only this worktree's agent can have left: it has ended."""
    branch = git.clone / "refs" / "heads" / f"{git.place.branch}.lock"
    for lock in (*gitdir.glob("*.lock"), branch):
        with suppress(OSError):
            lock.unlink()


def holders(git: Git, own: Path) -> Iterator[tuple[Path, Path]]:
    """Other worktrees of this machine that are on the task's branch: their folders in the clone, and those of their
    files."""
    branch_ref = f"ref: {HEADS}{git.place.branch}"
    for gitdir, pointer in worktrees(git.clone):
        with suppress(OSError, UnicodeDecodeError):
            if gitdir != own and (gitdir / "HEAD").read_text(encoding="utf-8").strip() == branch_ref:
                yield gitdir, pointer.parent


async def give_way(git: Git, own: Path) -> None:
    """No other worktree of this machine is on the task's branch any more: what is left of an attempt elsewhere must
    not move it. Its HEAD stays where it is, without a branch."""
    for gitdir, _ in list(holders(git, own)):
        sha = await git.commit_of("HEAD", gitdir=gitdir)
        if sha:
            write_if_other(gitdir / "HEAD", f"{sha}\n")


async def index_anew(git: Git, tree: Tree) -> None:
    """What git notes of the files is what HEAD has, if that has anything; so what differs shows as changed."""
    _remove(tree.gitdir / "index")
    if await git.commit_of("HEAD", gitdir=tree.gitdir):
        await git.must("read-tree", "HEAD", gitdir=tree.gitdir)


async def _unhidden(git: Git, tree: Tree) -> None:
    """Git looks at every file again: changes to one that an agent has marked as assumed unchanged, or as skipped, would
    not be seen, and what checks look at would not be what is committed."""
    if not (tree.gitdir / "index").exists():
        return
    listed = await git("ls-files", "-v", "-z", "--cached", gitdir=tree.gitdir, worktree=tree.files)
    if not listed.ok:
        # Damaged, or too large to be looked through: the files tell all that it did, but for what was staged.
        await index_anew(git, tree)
        return
    for option, hidden in (("--no-assume-unchanged", bytes.islower), ("--no-skip-worktree", _is_skipped)):
        paths = b"".join(entry[2:] + b"\0" for entry in listed.out.split(b"\0") if entry and hidden(entry[:1]))
        if paths:
            options = [option, "-z", "--stdin"]
            await git.must("update-index", *options, gitdir=tree.gitdir, worktree=tree.files, stdin=paths)


def _is_skipped(tag: bytes) -> bool:
    return tag in b"Ss"


async def reborn(git: Git, tree: Tree, head_sha: str) -> None:
    """HEAD stood for a commit that the clone does not have, and now does for this one. The files stay as they are.

    Raises:
        Trouble: the clone cannot take it.
    """
    await on_branch(git, tree, head_sha)
    await index_anew(git, tree)


async def on_branch(git: Git, tree: Tree, head_sha: str) -> None:
    """The task's branch is at this commit, and the worktree on it. Its files stay as they are.

    Raises:
        Trouble: the clone cannot take it.
    """
    branch_ref = HEADS + git.place.branch
    if not (await git("update-ref", "--no-deref", branch_ref, head_sha)).ok:
        await _make_way(git)
        await git.must("update-ref", "--no-deref", branch_ref, head_sha)
    await git.must("symbolic-ref", "HEAD", branch_ref, gitdir=tree.gitdir)


async def _make_way(git: Git) -> None:
    """Branches of this clone alone that no branch of the task's name can be beside, as `oak` is for `oak/1`, become
    rescue branches."""
    branch = git.place.branch
    above = [str(parent) for parent in PurePosixPath(branch).parents][:-1]
    listed = await git.must("for-each-ref", "--format=%(refname)", *(HEADS + name for name in (*above, branch)))
    for ref in listed.splitlines():
        if ref.removeprefix(HEADS) in above or ref.startswith(f"{HEADS}{branch}/"):
            sha = await git.commit_of(ref)
            await git.must("update-ref", "-d", ref)
            if sha:
                await git.must("update-ref", f"{HEADS}rescue/{git.place.task}/{sha[:12]}", sha)


async def settled(git: Git, tree: Tree, head_sha: str) -> None:
    """All files that git looks after are as they are at this commit. What is ignored, such as caches, stays.

    Raises:
        Trouble: files cannot be written, or read from the clone.
    """
    for name in UNDER_WAY:
        _remove(tree.gitdir / name)
    ran = await git("reset", "--quiet", "--hard", head_sha, gitdir=tree.gitdir, worktree=tree.files)
    if not ran.ok:
        # An agent may have made folders read-only. Or the index is damaged: all that it had is in the commit by now.
        await anyio.to_thread.run_sync(make_writable, tree.files)
        _remove(tree.gitdir / "index")
        await git.must("reset", "--quiet", "--hard", head_sha, gitdir=tree.gitdir, worktree=tree.files)
    await git("clean", "--quiet", "--force", "-d", gitdir=tree.gitdir, worktree=tree.files)


def make_writable(folder: Path) -> None:
    """What is in a folder can be removed, whatever an agent made of its permissions."""
    for inside, names, _ in os.walk(folder):
        for name in names:
            path = Path(inside, name)
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(path.stat().st_mode | stat.S_IRWXU)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
