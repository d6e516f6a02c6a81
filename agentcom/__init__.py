"""AgentCom gives work to autonomous coding agents on many machines, and never loses, doubles or misreports a piece.

The Python API is what this module exports. How the packages relate, each importing only what stands below it:

    cli            the command line: parses, then calls one of the others
    demo           the main job on a repository of its own
    supervisor     `agentcom up`: an embedded server, a scheduler and sidecars under one roof
    client, agent  the Python API: for those who have work done, and those who do it
    monitor        reads everything, writes nothing
    scheduler      core (pure: what happened → what to write) and service (its shell)
    sidecar        machine (pure: what happened → what to do), runners and service (its shell)
    broker         the only importer of redis: keys, connections, commits, streams, Lua
    settings, capability, backlog, ids, wording, processes    small and mostly pure
    model          tasks, agents, messages, the lifecycle table: pure data
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
from agentcom.model.task import Outcome, TaskSpec, Usage
from agentcom.sidecar.runners.python import Task
from agentcom.version import VERSION as __version__  # noqa: N811 - the name that tools look for

__all__ = [
    "Agent",
    "AgentComError",
    "Client",
    "ConfigurationError",
    "CredentialsRefused",
    "Outcome",
    "Refused",
    "ServerUnavailable",
    "Task",
    "TaskHandle",
    "TaskSpec",
    "Usage",
    "UsageError",
    "__version__",
]
