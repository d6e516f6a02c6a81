"""The pre-push hook of a worktree: what may be pushed from it, and by which attempt.

It is run as a program of its own, by path, for each push of the agent, so it needs the standard library alone and
starts quickly. An agent can skip it with --no-verify: so the sidecar applies the same rules of history again to what
it finds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ATTEMPT = "AGENTCOM_FENCE"
"""The variable of the agent's environment with its attempt's token. It is a fence and no secret: variables with TOKEN
or KEY in their names are kept from the programs that they start by some agents."""

HEADS = "refs/heads/"

Contains = Callable[[str, str], bool]
"""Whether one commit has another in its history, or is it."""


def push_refusal(guard: Mapping[str, str], attempt: str, pushed: Iterable[str], contains: Contains) -> str:
    """Why a push is refused, in one line; empty if it is not.

    Args:
        guard: what the sidecar holds: token, branch, base, base_sha.
        attempt: token of who pushes; empty if it names none.
        pushed: lines as git gives them to the hook: local ref, local sha, remote ref, remote sha.
        contains: asks the repository.
    """
    if not attempt:
        return f"{ATTEMPT} is not set, so it is not known which attempt this is of"
    if attempt != guard["token"]:
        return f"attempt {attempt} has this task no longer: nothing may be pushed by it"
    for line in pushed:
        sha, ref, was = line.split()[-3:]
        if why := _ref_refusal(guard, sha, ref, was, contains):
            return why
    return ""


def _ref_refusal(guard: Mapping[str, str], sha: str, ref: str, was: str, contains: Contains) -> str:
    if ref == HEADS + guard["base"]:
        return f"{guard['base']} is the base: work goes there through a review. Push {guard['branch']}"
    if ref != HEADS + guard["branch"]:
        return f"only {guard['branch']} may be pushed from here, not {ref}"
    if _is_null(sha):
        return f"{guard['branch']} must not be deleted: later attempts go on from it"
    return history_refusal(guard, sha, "" if _is_null(was) else was, contains)


def history_refusal(guard: Mapping[str, str], head: str, was: str, contains: Contains) -> str:
    """Why a commit may not become the head of the task's branch; empty if it may.

    Args:
        guard: as above; `base_sha` is what it must contain.
        head: the commit.
        was: where the branch stands on `origin`; empty if it is not there.
        contains: asks the repository.
    """
    if was and not contains(head, was):
        return f"{guard['branch']} would lose {was[:12]}, which origin has: fetch and merge it, never rewrite or force"
    if not contains(head, guard["base_sha"]):
        base = guard["base"]
        return f"the base is stale: merge origin/{base} ({guard['base_sha'][:12]}) into {guard['branch']} first"
    return ""


def _is_null(sha: str) -> bool:
    return not sha.strip("0")


def _contains(descendant: str, ancestor: str) -> bool:
    argv = ["git", "merge-base", "--is-ancestor", ancestor, descendant]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    """Answer git: 0 lets it push. What cannot be read refuses."""
    try:
        guard = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        why = push_refusal(guard, os.environ.get(ATTEMPT, ""), sys.stdin.read().splitlines(), _contains)
    except FileNotFoundError:
        why = "no attempt is at work here: nothing may be pushed"
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"what the sidecar noted cannot be read ({error}): nothing may be pushed"
    if why:
        sys.stderr.write(f"agentcom: push refused: {why}\n")
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
