"""The bare clone that all worktrees of a repository share on this machine.

All that uses it runs as one user, agents too: an agent can write into it. So its configuration is written anew before
each step, what counts is kept in refs of its own (`OURS`) and compared with `origin`, and a clone that is damaged is
set aside, not mended in place.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import anyio

from agentcom.git.environment import identity, quiet_environ
from agentcom.git.place import Place
from agentcom.git.running import FETCH_FAILED, UNFIT, Git, Trouble, run
from agentcom.places import expanded

T = TypeVar("T")

OURS = "refs/agentcom/origin/"
"""Where a branch stood on `origin` when it was last fetched and verified, or pushed."""

PUSHED = "refs/agentcom/pushed/"
"""Where a sidecar of this machine last pushed a task's branch to."""

LOCK_POLL_S = 0.02
STALE_LOCK_S = 5.0
"""Git holds the lock of a ref for milliseconds: who left one that is older was killed."""

KEPT_DAMAGED = 2
DAMAGED = ".damaged-"


async def opened(place: Place) -> Git:
    """Git for a place: the first thing of each step.

    Raises:
        Trouble: git cannot be started, or the clone cannot be written to.
    """
    environ = quiet_environ(place.repository.environ) | {"GIT_DIR": os.devnull}
    argv = ["git", "config", "--includes", "-z", "--get-regexp", r"^(user\.(name|email)|core\.sshcommand)$"]
    ran = await run(argv, environ, Path("/"), place.repository.timeout_s)
    pairs = (entry.partition("\n") for entry in ran.out.decode("utf-8", "replace").split("\0") if entry)
    git = Git(place, {name: value for name, _, value in pairs})
    if is_clone(git.clone):
        configure(git)
    return git


@asynccontextmanager
async def locked(clone: Path, timeout_s: float) -> AsyncIterator[None]:
    """Alone among the sidecars, and commands, of this machine that use the clone. Ends with the process that holds it.

    Args:
        clone: its path.
        timeout_s: limit of one call of git. Who holds it may be in one that comes to nothing, and then in a good one.

    Raises:
        Trouble: others do not let go of it in time, or the folder cannot be written to.
    """
    try:
        clone.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(clone.with_name(f"{clone.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Trouble(UNFIT, f"the folder {clone.parent} cannot be used: {error}") from error
    patience_s = 2 * timeout_s
    try:
        with anyio.move_on_after(patience_s) as patience:
            while not _try_lock(lock):
                await anyio.sleep(LOCK_POLL_S)
        if patience.cancelled_caught:
            told = f"another process has kept the clone {clone} to itself for over {patience_s:g} s"
            raise Trouble(FETCH_FAILED, told, final=True)
        yield
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def ready(git: Git, object_format: str) -> None:
    """The clone is there, and configured as it has to be. To be called by who holds the lock.

    Raises:
        Trouble: it cannot be made.
    """
    try:
        if not is_clone(git.clone):
            if git.clone.exists() or git.clone.is_symlink():
                set_aside(git.clone)
            await _make(git, object_format)
            configure(git)
        remove_stale_locks(git.clone)
    except OSError as error:
        raise Trouble(UNFIT, f"the clone {git.clone} cannot be written to: {error}") from error


def is_clone(clone: Path) -> bool:
    """Whether it looks like one; nothing is read of what it holds."""
    return (clone / "HEAD").is_file() and (clone / "objects").is_dir() and (clone / "refs").is_dir()


async def _make(git: Git, object_format: str) -> None:
    """Made beside its place and moved there whole: who is killed in between leaves nothing that looks like one."""
    clone = git.clone
    for left in clone.parent.glob(f".{clone.name}.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    new = clone.parent / f".{clone.name}.new-{secrets.token_hex(4)}"
    ran = await git(
        "init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", "--", str(new), gitdir=new
    )
    if not ran.ok:
        raise Trouble(UNFIT, f"the clone {clone} cannot be made: {ran.why}")
    new.replace(clone)
    for damaged in sorted(clone.parent.glob(f"{clone.name}{DAMAGED}*"), reverse=True)[:1]:
        await _take_over(git, damaged)


async def _take_over(git: Git, damaged: Path) -> None:
    """What can still be read of the branches of a damaged clone, one by one, and its worktrees."""
    listed = await git("for-each-ref", "--format=%(refname)", "refs/heads", gitdir=damaged)
    for ref in listed.text.splitlines():
        await git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", str(damaged), f"+{ref}:{ref}")
    with suppress(OSError):
        (damaged / "worktrees").rename(git.clone / "worktrees")


def configure(git: Git) -> None:
    """Write the clone's configuration anew where it is not as it has to be: an agent can write anything into it,
    and much of what git reads there it runs.

    Raises:
        OSError: the disk refuses.
    """
    clone = git.clone
    (clone / "info").mkdir(exist_ok=True)
    for unwanted in (
        clone / "info" / "attributes",
        clone / "info" / "exclude",
        clone / "info" / "grafts",
        clone / "objects" / "info" / "alternates",
    ):
        _remove(unwanted)
    write_if_other(clone / "config", _config(git))
    write_if_other(clone / "config.worktree", "[core]\n\tbare = true\n")


def _config(git: Git) -> str:
    extensions = ["worktreeConfig = true"]
    if _has_sha256(git.clone):
        extensions.append("objectFormat = sha256")
    lines = [
        "[core]",
        "\trepositoryFormatVersion = 1",
        "\tfileMode = true",
        "\tlogAllRefUpdates = true",
        "[extensions]",
    ]
    lines += [f"\t{line}" for line in extensions]
    lines += ['[remote "origin"]', f"\turl = {quoted(origin_of(git))}", "\tfetch = +refs/heads/*:refs/remotes/origin/*"]
    lines += ["[push]", "\tdefault = current", "[gc]", "\tauto = 0"]
    if "user.email" not in git.user:
        name, mail = identity(git.place.author)
        lines += ["[user]", f"\tname = {quoted(git.user.get('user.name', name))}", f"\temail = {quoted(mail)}"]
    return "\n".join(lines) + "\n"


def _has_sha256(clone: Path) -> bool:
    """How objects are named is decided when a clone is made, and told by its configuration alone."""
    with suppress(OSError):
        return b"objectformat = sha256" in (clone / "config").read_bytes().lower()
    return False


def origin_of(git: Git) -> str:
    """The URL or path of `origin`; of a path, the absolute one."""
    url = git.place.repository.url
    local = expanded(url)
    return str(local.absolute()) if "://" not in url and local.exists() else url


def quoted(value: str) -> str:
    """A value as it stands in a configuration file of git."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def write_if_other(path: Path, content: str) -> None:
    """Replace a file at once, if it is not as it is to be.

    Raises:
        OSError: the disk refuses.
    """
    wanted = content.encode("utf-8", "surrogateescape")
    with suppress(OSError):
        if path.is_file() and not path.is_symlink() and path.read_bytes() == wanted:
            return
    if path.is_dir() and not path.is_symlink():
        _remove(path)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    new.write_bytes(wanted)
    new.replace(path)


def _remove(path: Path) -> None:
    """Whatever an agent has put there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_stale_locks(clone: Path) -> None:
    """Those of who was killed, which would keep everybody out for ever."""
    for lock in (*_ref_locks(clone), clone / "packed-refs.lock", clone / "HEAD.lock", clone / "shallow.lock"):
        with suppress(OSError):
            if time.time() - lock.lstat().st_mtime > STALE_LOCK_S:
                lock.unlink()


def _ref_locks(clone: Path) -> Iterator[Path]:
    return (clone / "refs").rglob("*.lock")


async def sound(git: Git, step: Callable[[], Awaitable[T]]) -> T:
    """The step; if it fails as the clone is damaged, once more on a new one.

    Raises:
        Trouble: the step's.
    """
    try:
        return await step()
    except Trouble as trouble:
        if not trouble.local or await is_intact(git):
            raise
    async with locked(git.clone, git.place.repository.timeout_s):
        with suppress(FileNotFoundError):
            set_aside(git.clone)
    return await step()


async def is_intact(git: Git) -> bool:
    """Whether all that the clone's refs need is there and readable. It reads the whole history."""
    ran = await git("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
    return ran.ok or ran.late


def set_aside(clone: Path) -> Path:
    """Move a damaged clone out of the way; only the last few are kept.

    Raises:
        OSError: it cannot be moved.
    """
    aside = clone.with_name(f"{clone.name}{DAMAGED}{time.time_ns():020d}")
    clone.rename(aside)
    for old in sorted(clone.parent.glob(f"{clone.name}{DAMAGED}*"))[:-KEPT_DAMAGED]:
        shutil.rmtree(old, ignore_errors=True)
    return aside
