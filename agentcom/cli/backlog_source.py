"""What a backlog file is called, so that submitting it again, from anywhere, finds the tasks it made before.

In a git repository with a remote named `origin` that is the repository and the path within it, such as
`github.com/acme/shop:docs/BACKLOG.md`: the same in every clone. Any other file is called by its absolute path.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

_SCP_LIKE = re.compile(r"(?:[^@/:]+@)?([^/:]+):(?!//)(.+)")
_GIT_PATIENCE_S = 10


def name_of(file: Path) -> str:
    """The name of a backlog file."""
    path = file.resolve()
    top = _git(path.parent, "rev-parse", "--show-toplevel")
    origin = _git(path.parent, "config", "--get", "remote.origin.url") if top else ""
    if not origin or not path.is_relative_to(Path(top).resolve()):
        return str(path)
    return f"{repository(origin, Path(top))}:{path.relative_to(Path(top).resolve()).as_posix()}"


def repository(origin: str, top: Path) -> str:
    """One name for a repository, over https or ssh, with or without user, password, port and `.git`.

    An origin that is a path is taken from `top`, the root of the work tree.
    """
    address = origin.strip()
    scp = _SCP_LIKE.fullmatch(address)
    if "://" in address:
        split = urlsplit(address)
        host, place = split.hostname or "", split.path
    elif scp is not None:
        host, place = scp[1].lower(), scp[2]
    else:
        host, place = "", os.path.normpath(top / address)
    place = place.rstrip("/").removesuffix(".git").rstrip("/")
    return f"{host}/{place.lstrip('/')}" if host else place


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; empty if it says no, or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=_GIT_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
