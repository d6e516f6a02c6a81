"""AgentCom gives work to autonomous coding agents on many machines, and never loses, doubles or misreports a piece.

The Python API is what this module exports. How the packages relate, each importing only what stands below it:

    cli            the command line: parses, then calls one of the others
    demo           the main job on a repository of its own
    supervisor     `agentcom up`: an embedded server, a scheduler and sidecars under one roof
    alerts         tells people what diagnosis found; runs beside every scheduler
    client, agent  the Python API: for those who have work done, and those who do it
    metrics        a pool for Prometheus; runs beside the scheduler that is asked to
    monitor        how a pool looks: on one screen, or once; what is asked for there goes through the client
    diagnosis      what is wrong, why, and what to do: pure
    listening, locate, backlog_specs                          what those three share
    scheduler      core (pure: what happened → what to write) and service (its shell)
    sidecar        machine (pure: what happened → what to do), runners and service (its shell)
    broker         keys, connections, commits, streams, Lua: Redis is spoken to from here
    gate           whether work may be merged without a person: pure rules, a thin shell
    forge          pull requests: on GitHub, in the repository itself, or none
    git            clone, worktree, hook, evidence and rescue for a task
    adapters       what coding agents are called like, and what they say: pure but for one program
    settings       what may be set, and where a value came from: pure
    fsck           what in a pool contradicts what: pure
    capability, backlog, backlog_attributes, clock, version, wording    small, and but for the clock pure
    model          tasks, agents, messages, the lifecycle table: pure data
    ending, ids, processes, errors, notify                    what all of them use
"""

from agentcom.agent import Agent
from agentcom.client import Client, TaskHandle
from agentcom.errors import (
    AgentComError,
    ConfigurationError,
    CredentialsRefused,
    Refused,
    ServerUnavailable,
    UsageError,
)
from agentcom.model.messages import Line, Refusal
from agentcom.model.task import Outcome, ReadRecord, TaskSpec, Usage
from agentcom.settings import Policy
from agentcom.sidecar.runners.python import AttemptFailed, Task
from agentcom.version import VERSION as __version__  # noqa: N811 - the name that tools look for

__all__ = [
    "Agent",
    "AgentComError",
    "AttemptFailed",
    "Client",
    "ConfigurationError",
    "CredentialsRefused",
    "Line",
    "Outcome",
    "Policy",
    "ReadRecord",
    "Refusal",
    "Refused",
    "ServerUnavailable",
    "Task",
    "TaskHandle",
    "TaskSpec",
    "Usage",
    "UsageError",
    "__version__",
]
