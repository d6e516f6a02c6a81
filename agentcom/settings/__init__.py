"""Settings: what may be set, where values come from, and one line for each thing that is wrong.

`schema` says which settings exist and within which bounds, `checks` what bounds alone can't say, `loading`
merges the file, the environment and the flags, `rendering` shows the result without its secrets, and
`command` is the small template language of an agent's argv. All of it is pure: the caller reads the file and
the environment.
"""

from agentcom.settings.command import PLACEHOLDERS, fill
from agentcom.settings.loading import RESERVED_VARIABLES, load
from agentcom.settings.rendering import describe
from agentcom.settings.schema import (
    AGENT_NAME_RULE,
    AgentSettings,
    AlertSettings,
    CheckSettings,
    GateSettings,
    Loaded,
    Policy,
    Price,
    Settings,
)

__all__ = [
    "AGENT_NAME_RULE",
    "PLACEHOLDERS",
    "RESERVED_VARIABLES",
    "AgentSettings",
    "AlertSettings",
    "CheckSettings",
    "GateSettings",
    "Loaded",
    "Policy",
    "Price",
    "Settings",
    "describe",
    "fill",
    "load",
]
