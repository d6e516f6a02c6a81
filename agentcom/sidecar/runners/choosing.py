"""From an agent's settings to the runner that wakes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agentcom.adapters.registry import adapter_of
from agentcom.forge.registry import forge_of
from agentcom.settings import AgentSettings, Settings
from agentcom.sidecar.runners.base import Runner
from agentcom.sidecar.runners.command import CommandRunner
from agentcom.sidecar.runners.python import PythonRunner, load_handler


def runner_of(
    name: str, described: AgentSettings, settings: Settings, folder: Path, environ: Mapping[str, str]
) -> Runner:
    """The runner of one agent.

    Args:
        name: the agent's.
        described: what the settings say of it.
        settings: all of them.
        folder: the agent's own, under the data folder of this machine.
        environ: the sidecar's own environment.

    Raises:
        ConfigurationError: something that it needs is not there.
    """
    if described.runner == "python":
        return PythonRunner(load_handler(described.handler))
    data_dir = folder.absolute().parent.parent
    return CommandRunner(
        name,
        described,
        folder,
        environ,
        settings.policy,
        data_dir=data_dir,
        adapter=adapter_of(name, described),
        forge=forge_of(described, environ, data_dir / "forge"),
        prices=settings.prices,
    )
