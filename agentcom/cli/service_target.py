"""Where `agentcom service` installs, for whom, and which services are meant."""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from agentcom.broker.runtime import default_data_dir
from agentcom.cli.context import Context
from agentcom.errors import ConfigurationError, UsageError
from agentcom.places import expanded
from agentcom.settings import Settings
from agentcom.supervisor.plan import Installation
from agentcom.supervisor.programs import Role
from agentcom.supervisor.units import Service

SYSTEM_UNITS = Path("/etc/systemd/system")
SYSTEM_SECRETS = Path("/etc/agentcom")
LINGERING = Path("/var/lib/systemd/linger")


@dataclass(frozen=True, slots=True)
class Owner:
    """The user who is to run services."""

    name: str
    uid: int
    gid: int
    home: str


def is_for_machine(system: bool | None) -> bool:
    """Whether units of the machine's are meant: as said, else by who calls.

    Raises:
        UsageError: a user's own units are meant, but root calls in that user's place.
    """
    if system is None:
        return os.geteuid() == 0
    if not system and os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        raise UsageError("root has no part in a user's own units", "Call it without sudo, or with --system")
    return system


def owner_of(system: bool, run_as: str) -> Owner:
    """Who is to run services: never root, unless that is said.

    Raises:
        UsageError: nobody is named, or nobody by that name exists.
    """
    if not system:
        if run_as:
            raise UsageError("--run-as goes with --system only", "A user's own units run as that user")
        entry = pwd.getpwuid(os.geteuid())
        return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid, str(Path.home()))
    name = run_as or _caller()
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"there is no user {name!r} on this machine", "Name another with --run-as") from None
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def _caller() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    name = os.environ.get("SUDO_USER", "root")
    if name == "root":
        raise UsageError("it is not said who is to run it", "Name the user with --run-as; root too, if it must be root")
    return name


def units_folder(system: bool) -> Path:
    """Where units are installed."""
    return SYSTEM_UNITS if system else _user_config() / "systemd" / "user"


def installation(context: Context, system: bool, owner: Owner) -> Installation:
    """All that units are made from, as absolute paths."""
    config = context.config_path.absolute() if context.config_path else None
    working_dir = config.parent if config else Path.cwd()
    return Installation(
        python=sys.executable,
        config=str(config) if config else "",
        working_dir=str(working_dir),
        data_dir=str(_data_dir(context.settings, working_dir, owner)),
        units=str(units_folder(system)),
        secrets=str(SYSTEM_SECRETS if system else _user_config() / "agentcom"),
        system=system,
        user=owner.name,
        home=owner.home,
        environ=os.environ,
    )


def wanted(context: Context, role: Role, agent: str | None) -> list[Service]:
    """The services that are meant: one, or the sidecars of all agents in the settings file.

    Raises:
        ConfigurationError: the settings describe no such agent.
        UsageError: a scheduler has no agent.
    """
    settings = context.settings
    if role == "scheduler":
        if agent:
            raise UsageError("--agent goes with sidecar only")
        return [Service("scheduler", settings.pool)]
    if agent is None and settings.agents:
        return [_sidecar(settings, name) for name in sorted(settings.agents)]
    if agent is None or agent not in settings.agents:
        where = context.config_path or "the settings (no agentcom.toml was found)"
        known = ", ".join(sorted(settings.agents))
        what = f"agent {agent!r} is not" if agent else "there is no agent"
        remedy = f"It describes: {known}" if known else f"Add [agents.{agent or 'NAME'}] with a command"
        raise ConfigurationError(f"{what} in {where}", remedy)
    return [_sidecar(settings, agent)]


def _sidecar(settings: Settings, agent: str) -> Service:
    return Service("sidecar", settings.pool, agent, in_process=settings.agents[agent].runner == "python")


def installed(pool: str, units: Path) -> list[Service]:
    """The services of a pool that have a unit in this folder."""
    scheduler = Service("scheduler", pool)
    found = [scheduler] if (units / scheduler.unit).exists() else []
    before, after = Service("sidecar", pool, "/").unit.split("/")
    agents = (path.name.removeprefix(before).removesuffix(after) for path in sorted(units.glob(f"{before}*{after}")))
    return found + [Service("sidecar", pool, agent) for agent in agents]


def _user_config() -> Path:
    named = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".config"


def _data_dir(settings: Settings, working_dir: Path, owner: Owner) -> Path:
    """The pool's folder as its own user would have it, whoever installs."""
    is_caller = owner.uid == os.geteuid()
    if not settings.data_dir:
        return default_data_dir(os.environ if is_caller else {"HOME": owner.home}, settings.pool)
    return working_dir / expanded(settings.data_dir, owner.home)
