"""What AgentCom's `command` runner and an agent tell each other: a task in, a result and an exit code out."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class AttemptError(Exception):
    """The attempt ends here without a result; `exit_code` tells AgentCom what that means."""

    exit_code = 1


class RetryLaterError(AttemptError):
    """Something in the way will pass: the origin can't be reached, main moves too fast."""

    exit_code = 75


class MisconfiguredError(AttemptError):
    """Trying again can't help: a variable is missing, or the task is not one that this agent can do."""

    exit_code = 78


@dataclass(frozen=True)
class Task:
    """One attempt at one task; `attempt` counts from 1."""

    id: str
    title: str
    text: str
    agent: str
    attempt: int

    def header(self, key: str, default: str = "") -> str:
        """The value of the line `key: value` in the text."""
        found = re.search(rf"^\s*{re.escape(key)}:[ \t]*(.*?)\s*$", self.text, re.MULTILINE)
        return found[1] if found else default


@dataclass(frozen=True)
class Result:
    """What the agent answers: what it did, which files that changed, and the commit on main."""

    summary: str
    changed: tuple[str, ...]
    commit: str


def read_task(environ: Mapping[str, str]) -> Task:
    """The task this process was started for. Raises MisconfiguredError without the runner's variables."""
    try:
        described = json.loads(Path(environ["AGENTCOM_TASK_FILE"]).read_text(encoding="utf-8"))
        return Task(
            id=environ["AGENTCOM_TASK_ID"],
            title=described["title"],
            text=described["text"],
            agent=environ["AGENTCOM_AGENT"],
            attempt=int(environ["AGENTCOM_ATTEMPT"]),
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise MisconfiguredError(
            f"no task to work on: {error!r}; AgentCom's command runner starts this program"
        ) from error


def write_result(path: Path, result: Result) -> None:
    """Writes the answer whole or not at all, so that a kill in between leaves no half of it."""
    unfinished = path.with_name(f"{path.name}.part")
    answer = {"summary": result.summary, "changed": list(result.changed), "commit": result.commit}
    unfinished.write_text(json.dumps(answer), encoding="utf-8")
    unfinished.replace(path)


def say(line: str) -> None:
    """One line of progress, out at once: `agentcom logs -f` shows it as it happens."""
    print(line, flush=True)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for an agent's programs, without what points them at another repository or suite."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "PYTEST_", "COV_CORE_", "AGENTCOM_"))
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}
