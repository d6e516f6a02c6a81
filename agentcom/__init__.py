"""AgentCom gives work to autonomous coding agents on many machines, and never loses, doubles or misreports a piece.

The Python API is what this module exports. How the packages relate, each importing only what stands below it:

    cli            the command line: parses, then calls one of the others
    demo           the main job on a repository of its own
    supervisor     `agentcom up`: an embedded server, a scheduler and sidecars under one roof
    alerts         tells people what diagnosis found; runs beside every scheduler
    client, agent  the Python API: for those who have work done, and those who do it
    monitor        reads everything, writes nothing
    diagnosis      what is wrong, why, and what to do: pure
    listening, locate, backlog_specs                          what those three share
    scheduler      core (pure: what happened → what to write) and service (its shell)
    sidecar        machine (pure: what happened → what to do), runners and service (its shell)
    broker         keys, connections, commits, streams, Lua: Redis is spoken to from here
    settings       what may be set, and where a value came from: pure
    fsck           what in a pool contradicts what: pure
    capability, backlog, backlog_attributes, clock, version, wording    small, and but for the clock pure
    model          tasks, agents, messages, the lifecycle table: pure data
    ids, processes, errors, notify                            what all of them use
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
