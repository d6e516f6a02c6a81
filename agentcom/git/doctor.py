"""What is wrong with git on this machine, for one repository, and what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from agentcom.git.clone import DAMAGED, is_clone, is_intact, opened
from agentcom.git.environment import identity
from agentcom.git.place import Place, Repository
from agentcom.git.remote import look
from agentcom.git.running import Git, Trouble
from agentcom.git.worktree import worktrees
from agentcom.settings.rendering import mask_url

OLDEST_GIT = (2, 38)
"""`git merge-tree --write-tree` came with it."""


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        name: what.
        ok: nothing has to be done.
        text: what was found.
        remedy: what to do; empty if nothing has to be.
    """

    name: str
    ok: bool
    text: str
    remedy: str = ""


async def examine(repository: Repository, author: str) -> list[Finding]:
    """All that is looked at, in the order in which it matters.

    Args:
        repository: that agents are to work on.
        author: the name of the agent that is asked about.
    """
    # What is looked at belongs to no task.
    nobody = Place(repository, "doctor", "doctor/doctor", Path(os.devnull), Path(os.devnull), author)
    try:
        git = await opened(nobody)
        version = await git("version")
    except (Trouble, OSError) as error:
        return [Finding("git", ok=False, text=str(error), remedy="install git, and have it on PATH")]
    found = [_version(version.text), await _remote(git), _identity(git)]
    if not repository.clone.exists():
        return [*found, Finding("clone", ok=True, text=f"none yet; the first task makes {repository.clone}")]
    found.append(await _clone(git))
    return [*found, *_set_aside(repository.clone), *_worktrees(git), *await _unpushed(git)]


def _version(text: str) -> Finding:
    numbers = re.search(r"(\d+)\.(\d+)", text)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    oldest = ".".join(map(str, OLDEST_GIT))
    remedy = "" if version >= OLDEST_GIT else f"upgrade git to {oldest} or newer"
    return Finding("git", ok=version >= OLDEST_GIT, text=text, remedy=remedy)


async def _remote(git: Git) -> Finding:
    try:
        seen = await look(git)
    except Trouble as trouble:
        remedy = "see that this user can run `git ls-remote` on it without being asked for anything"
        return Finding("remote", ok=False, text=trouble.problem.detail, remedy=remedy)
    url = mask_url(git.place.repository.url)
    return Finding("remote", ok=True, text=f"{url} answers; {seen.base} is at {seen.base_sha[:12]}")


def _identity(git: Git) -> Finding:
    if "user.email" in git.user:
        text = f"agents commit as {git.user.get('user.name', '?')} <{git.user['user.email']}>, this user's identity"
    else:
        text = "this user has no identity: agents commit as {} <{}>".format(*identity(git.place.author))
    return Finding("identity", ok=True, text=text)


async def _clone(git: Git) -> Finding:
    clone = git.clone
    if not is_clone(clone) or not await is_intact(git):
        remedy = "the next task sets it aside and makes a new one; see to the disk"
        return Finding("clone", ok=False, text=f"{clone} is damaged", remedy=remedy)
    return Finding("clone", ok=True, text=f"{clone} is whole")


def _set_aside(clone: Path) -> Iterator[Finding]:
    for damaged in sorted(clone.parent.glob(f"{clone.name}{DAMAGED}*")):
        remedy = "what could be read was taken over from it: look whether something is missing, then remove it"
        yield Finding("damaged", ok=False, text=f"{damaged} was set aside", remedy=remedy)


def _worktrees(git: Git) -> Iterator[Finding]:
    for gitdir, pointer in worktrees(git.clone):
        files = pointer.parent
        if not files.is_dir():
            remedy = f"git --git-dir={git.clone} worktree prune; its branch stays"
            yield Finding("worktree", ok=False, text=f"{files} is gone, and git still knows of it", remedy=remedy)
        elif not _is_hooked(gitdir):
            remedy = "the next start of its task puts it there; until then, do not push from it"
            yield Finding("hook", ok=False, text=f"{files} has no pre-push hook that can be run", remedy=remedy)
        else:
            yield Finding("worktree", ok=True, text=f"{files}, with its hook")


def _is_hooked(gitdir: Path) -> bool:
    try:
        config = (gitdir / "config.worktree").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    named = re.search(r'hooksPath = "(.*)"', config)
    folder = named[1].replace('\\"', '"').replace("\\\\", "\\") if named else os.devnull
    return os.access(Path(folder, "pre-push"), os.X_OK)


async def _unpushed(git: Git) -> list[Finding]:
    listed = await git("for-each-ref", "--format=%(refname:short)", "refs/heads/rescue")
    names = listed.text.split()
    if not names:
        return []
    remedy = f"look at them with `git --git-dir={git.clone} log --all`; delete those that nobody needs with `branch -D`"
    return [Finding("rescued", ok=True, text=f"{len(names)} rescue branches, such as {names[-1]}", remedy=remedy)]
