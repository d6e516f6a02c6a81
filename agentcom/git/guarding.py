"""The hook of a worktree, and what it goes by: which attempt may push from there, and what."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from agentcom.git import hook
from agentcom.git.place import Place, Started


class Armed(Struct, frozen=True):
    """Which attempt may push from a worktree, and what the worktree was started with."""

    token: str
    started: Started


def arm(place: Place, token: str, started: Started) -> None:
    """Let the attempt with this token push the task's branch from the worktree, by the rules of `hook`.

    Its agent carries the token in the variable that `hook.ATTEMPT` names.

    Raises:
        OSError: the disk refuses.
    """
    told = {"token": token, **rules(place, started), "started": msgspec.to_builtins(started)}
    place.guard.parent.mkdir(parents=True, exist_ok=True)
    new = place.guard.with_name(f".{place.guard.name}.{secrets.token_hex(4)}.new")
    try:
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.encode(told))
        new.replace(place.guard)
    finally:
        new.unlink(missing_ok=True)


def agent_environ(place: Place, token: str) -> dict[str, str]:
    """What an agent's environment is to have more: its attempt's token, and that git has nobody to ask. Should the
    worktree's `.git` be gone, git looks for no other repository further up."""
    return {
        hook.ATTEMPT: token,
        "GIT_CEILING_DIRECTORIES": str(place.worktree.absolute().parent),
        "GIT_EDITOR": "true",
        "GIT_SEQUENCE_EDITOR": "true",
        "GIT_MERGE_AUTOEDIT": "no",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
    }


def armed(place: Place) -> Armed | None:
    """Who is armed, also after the sidecar was started anew; None if nobody is, or it cannot be read."""
    try:
        return msgspec.json.decode(place.guard.read_bytes(), type=Armed)
    except (OSError, msgspec.MsgspecError):
        return None


def rules(place: Place, started: Started) -> dict[str, str]:
    """What the rules of `hook` need to know."""
    return {"branch": place.branch, "base": started.base, "base_sha": started.base_sha}


def disarm(place: Place) -> None:
    """Let nobody push from the worktree any more."""
    with suppress(OSError):
        place.guard.unlink(missing_ok=True)


def hooks_of(place: Place) -> Path:
    """The folder of the worktree's hooks, outside of it."""
    return place.guard.absolute().with_name(f"{place.guard.name}.hooks")


def install_hook(place: Place) -> Path:
    """Write the hook where it is not as it has to be; the folder that it is in.

    Raises:
        OSError: the disk refuses.
    """
    folder = hooks_of(place)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pre-push"
    argv = [sys.executable, "-I", "-S", str(Path(hook.__file__).absolute()), str(place.guard.absolute())]
    script = f"#!/bin/sh\nexec {shlex.join(argv)}\n"
    if not os.access(path, os.X_OK) or path.read_text(encoding="utf-8", errors="replace") != script:
        new = folder / f".pre-push.{secrets.token_hex(4)}.new"
        new.write_text(script, encoding="utf-8")
        new.chmod(0o755)
        new.replace(path)
    return folder
