"""Which adapters there are: those that AgentCom brings, and those that a user's package registers.

A package registers one by an entry point of the group `agentcom.adapters`, whose value is an object of the protocol
`agentcom.adapters.base.Adapter`, or a class that makes one without arguments:

    [project.entry-points."agentcom.adapters"]
    mine = "my_package.adapter:Mine"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from agentcom.adapters.acp import Acp
from agentcom.adapters.base import ENTRY_POINTS, Adapter
from agentcom.adapters.claude import Claude
from agentcom.adapters.codex import Codex
from agentcom.adapters.command import Command
from agentcom.adapters.openclaw import OpenClaw
from agentcom.adapters.opencode import OpenCode
from agentcom.adapters.presets import PRESETS
from agentcom.errors import ConfigurationError
from agentcom.settings import AgentSettings
from agentcom.wording import one_line

_OURS: tuple[Adapter, ...] = (Command(), Claude(), Codex(), OpenCode(), OpenClaw(), Acp(), *PRESETS)
BUILT_IN = {adapter.name: adapter for adapter in _OURS}


def adapter_named(name: str) -> Adapter:
    """The adapter of this name. One that a package registers goes before AgentCom's own of the same name.

    Raises:
        ConfigurationError: there is none, or it cannot be loaded.
    """
    registered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in registered:
        return _loaded(registered[name])
    if name not in BUILT_IN:
        known = ", ".join(sorted(BUILT_IN.keys() | registered.keys()))
        raise ConfigurationError(f"there is no adapter {one_line(name, 60)!r}", f"Known: {known}")
    return BUILT_IN[name]


def adapter_of(agent: str, settings: AgentSettings) -> Adapter:
    """The adapter of an agent, with all that it needs.

    Raises:
        ConfigurationError: as `adapter_named`, or the adapter brings no program and the settings name none.
    """
    try:
        adapter = adapter_named(settings.adapter)
    except ConfigurationError as error:
        raise ConfigurationError(f"agents.{agent}.adapter: {error.problem}", error.remedy) from error
    if not adapter.program and not settings.command:
        raise ConfigurationError(
            f"agents.{agent}.command: expected a program and its arguments, for adapter {adapter.name!r} brings none"
        )
    return adapter


def _loaded(point: EntryPoint) -> Adapter:
    where = f"the adapter {point.name!r} of {point.dist.name if point.dist else 'an unknown package'}"
    try:
        found = point.load()
        adapter = found() if isinstance(found, type) else found
    except Exception as error:  # whatever a package does when it is imported
        why = one_line(f"{type(error).__name__}: {error}", 200)
        raise ConfigurationError(f"{where} cannot be loaded: {why}", "Mend or remove that package") from error
    if not isinstance(adapter, Adapter):
        raise ConfigurationError(
            f"{where} is no adapter: {one_line(point.value, 100)} lacks something of agentcom.adapters.base.Adapter",
            "Mend or remove that package",
        )
    return adapter
