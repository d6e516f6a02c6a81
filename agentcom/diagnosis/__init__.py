"""What is wrong with a pool, why, and what to do: pure rules on one look at it, shared by monitor, check and alerts.

`snapshot` is what was seen; `agents`, `tasks`, `waiting`, `pool` and `server` look for trouble in it; `rules` is the
table of all that they look for.
"""

from agentcom.diagnosis.finding import SEVERITIES, Finding, Severity
from agentcom.diagnosis.rules import DOCUMENTED, RULES, diagnose, unreachable
from agentcom.diagnosis.snapshot import Order, Server, Snapshot
from agentcom.diagnosis.tasks import out_of_sight

__all__ = [
    "DOCUMENTED",
    "RULES",
    "SEVERITIES",
    "Finding",
    "Order",
    "Server",
    "Severity",
    "Snapshot",
    "diagnose",
    "out_of_sight",
    "unreachable",
]
