"""Which programs a supervisor runs, and how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["scheduler", "sidecar"]

SERVER = "server"
SCHEDULER = "scheduler"


@dataclass(frozen=True, slots=True)
class Program:
    """A program to keep running. `agent` is set for a sidecar; `environ` is all of its environment."""

    name: str
    role: Role
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    agent: str = ""


def sidecar_name(agent: str) -> str:
    """What the sidecar of this agent is called in messages and in the supervisor's record."""
    return f"sidecar {agent}"


def programs_of(
    agents: Iterable[str], *, python: str, config: str, pool: str, data_dir: str, url: str, environ: Mapping[str, str]
) -> list[Program]:
    """One scheduler, and one sidecar for each of these agents, all with the same settings as their supervisor.

    Args:
        python: the interpreter.
        config: the settings file; empty if there is none.
        url: of Redis. It goes into the environment: arguments are shown by `ps`, and it may hold a password.
        environ: the environment they inherit.
    """
    # -P: what lies in the directory that a person happens to be in must not shadow a module.
    common = (python, "-P", "-m", "agentcom", *(("--config", config) if config else ()))
    common += ("--pool", pool, "--data-dir", data_dir)
    inherited = {**environ, "AGENTCOM_REDIS": url}
    scheduler = Program(SCHEDULER, "scheduler", (*common, "scheduler"), inherited)
    sidecars = [
        Program(sidecar_name(agent), "sidecar", (*common, "sidecar", "--agent", agent), inherited, agent)
        for agent in sorted(agents)
    ]
    return [scheduler, *sidecars]
