"""How far an attempt came, on disk at every change, so that a later start of the sidecar goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from agentcom.git.place import Started
from agentcom.model.codec import encode
from agentcom.model.task import NO_USAGE, Check, Evidence, Outcome, Usage
from agentcom.sidecar.runners.files import AttemptFiles, read_file

Stage = Literal["agent", "checks", "publish"]

PROGRESS_MAX_BYTES = 1_048_576


class Progress(Struct, frozen=True, omit_defaults=True):
    """One attempt between being ordered and its outcome.

    Attributes:
        stage: the agent works; its work is being checked; it is being published.
        turn: which time the agent was woken for this attempt, from 1.
        started: what git had when the attempt began; None without a repository.
        origin_sha: where the task's branch stood on `origin` when the work was looked at.
        commands: the checks that the work has to pass.
        problem, failed: what the agent is told in this turn, if its work came back: what is wrong with it, and the
            checks that it did not pass.
        returned: how often its work came back.
        spent: usage of the turns that are over.
        session, session_usage: of the agent as of its last turn, and what that used all in all.
        context_used, context_size: the fullest that its window was.
        model, program: that it said it uses.
        envelope_tokens: put around the task's text so far.
        claimed: what its last turn came to, by its own account.
        no_change: why it says that nothing had to be changed; empty if it does not say so.
        evidence: what git says of the work that is being checked or published.
        checks: that were run on it.
    """

    stage: Stage = "agent"
    turn: int = 1
    started: Started | None = None
    origin_sha: str = ""
    commands: tuple[str, ...] = ()
    problem: str = ""
    failed: tuple[Check, ...] = ()
    returned: int = 0
    spent: Usage = NO_USAGE
    session: str = ""
    session_usage: Usage = NO_USAGE
    context_used: int = 0
    context_size: int = 0
    model: str = ""
    program: str = ""
    envelope_tokens: int = 0
    claimed: Outcome | None = None
    no_change: str = ""
    evidence: Evidence | None = None
    checks: tuple[Check, ...] = ()


def save(progress: Progress, path: Path) -> None:
    """Put it on the disk, whole or not at all.

    Raises:
        OSError: the disk refuses; what was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(encode(progress))
    fresh.replace(path)


def finished_before(files: AttemptFiles, task: str, head_sha: str) -> Progress | None:
    """An earlier attempt of the agent at this task whose work passed its checks at this very commit, and which could
    not be published: its agent need not be woken again."""
    attempts = files.progress.parent.parent
    for path in attempts.glob(f"{task}.*/{files.progress.name}"):
        progress = load(path) if path != files.progress else Progress()
        if progress.stage == "publish" and progress.evidence is not None and progress.evidence.head_sha == head_sha:
            return progress
    return None


def load(path: Path) -> Progress:
    """What is there; the beginning where nothing is, or nothing that can be read."""
    try:
        return msgspec.json.decode(read_file(path, PROGRESS_MAX_BYTES), type=Progress)
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return Progress()
