"""What is to be on the disk for a service: its unit, the alert unit, and the files with their secrets. Decided without
looking at the disk; `agentcom.supervisor.systemd` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from agentcom.errors import ConfigurationError
from agentcom.places import expanded
from agentcom.settings import AgentSettings, Loaded
from agentcom.settings.rendering import mask_url
from agentcom.supervisor import unit_syntax as syntax
from agentcom.supervisor.units import Service, Surroundings, alert_text, alert_unit, service_text

PUBLIC = 0o644
PRIVATE = 0o600

READABLE = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")
"""What a program needs of its environment, and is no secret; systemd itself gives it next to nothing."""

GIVEN_BY_SYSTEMD = ("HOME", "USER", "LOGNAME", "SHELL", "TERM")
ON_COMMAND_LINE = ("AGENTCOM_POOL", "AGENTCOM_DATA_DIR")
REDIS = "AGENTCOM_REDIS"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where services are installed, and for whom.

    Args:
        python: the interpreter that AgentCom is installed for; absolute.
        config: the settings file; absolute, or empty if there is none.
        working_dir, data_dir: absolute.
        units: folder of the units.
        secrets: folder of the files with secret variables.
        system: units of the machine's; else of a user's own.
        user, home: who runs them, and that user's home.
        environ: the environment of the installation.
    """

    python: str
    config: str
    working_dir: str
    data_dir: str
    units: str
    secrets: str
    system: bool
    user: str
    home: str
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to be there.

    Args:
        secrets: the names of the variables in it whose values nobody else may read.
    """

    path: str
    text: str
    mode: int
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that belongs to one service.

    Args:
        files: the service's own, its unit first.
        shared: those of the pool's alert unit, which other services use too.
        folders: what it needs to be there, in which its user can write.
        unset: variables that the agent is to inherit, and which are not set here.
    """

    service: Service
    files: tuple[File, ...]
    shared: tuple[File, ...]
    folders: tuple[str, ...]
    unset: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variables:
    """An environment, divided by who may read it."""

    public: dict[str, str]
    secret: dict[str, str]


def plan(service: Service, loaded: Loaded, at: Installation) -> Plan:
    """What is to be there for this service.

    Raises:
        ConfigurationError: no Redis is named, or something cannot be told to systemd.
    """
    described = loaded.settings.agents[service.agent] if service.role == "sidecar" else None
    common = common_variables(loaded, at.environ)
    own, unset = _agent_variables(described, at.environ) if described else (Variables({}, {}), ())
    variables = Variables(common.public | own.public, common.secret | own.secret)
    folders = _folders(described, at)
    home = (at.home,) if described else ()
    around = _around(at, loaded, variables, service.unit.removesuffix(".service"), (*home, *folders))
    unit = File(f"{at.units}/{service.unit}", service_text(service, around, loaded.settings.policy), PUBLIC)
    return Plan(service, (unit, *_secrets(around, variables)), _alert_files(loaded, at, common), folders, unset)


def own_paths(service: Service, at: Installation) -> tuple[str, ...]:
    """Every file that an installed service may have."""
    return f"{at.units}/{service.unit}", _secrets_path(at, service.unit.removesuffix(".service"))


def alert_paths(pool: str, at: Installation) -> tuple[str, ...]:
    """Every file that the alert unit of a pool may have."""
    unit = alert_unit(pool)
    return f"{at.units}/{unit}", _secrets_path(at, unit.removesuffix("@.service"))


def argv_of(at: Installation, pool: str) -> tuple[str, ...]:
    """The command that every program of the pool begins with. It means the same wherever it is called."""
    # -P: what lies in the working directory must not shadow a module.
    config = ("--config", at.config) if at.config else ()
    return (at.python, "-P", "-m", "agentcom", *config, "--pool", pool, "--data-dir", at.data_dir)


def common_variables(loaded: Loaded, environ: Mapping[str, str]) -> Variables:
    """The settings that do not come from the settings file, and so would be missing elsewhere.

    Raises:
        ConfigurationError: no Redis is named.
    """
    settings, sources = loaded.settings, loaded.sources
    if not settings.redis:
        raise ConfigurationError(
            "no Redis is named, and a service cannot rely on an `agentcom up` in somebody's terminal",
            "Name a server with --redis, or as redis = in the settings file",
        )
    from_environment = {source for source in sources.values() if source in environ and source.startswith("AGENTCOM_")}
    carried = {name: environ[name] for name in from_environment if name not in (*ON_COMMAND_LINE, REDIS)}
    if sources["redis"] in (REDIS, "--redis"):
        carried[REDIS] = settings.redis
    public = {name: value for name, value in carried.items() if _is_readable(name, value)}
    inherited = {name: environ[name] for name in READABLE if environ.get(name)}
    return Variables(public | inherited, {name: value for name, value in carried.items() if name not in public})


def _is_readable(name: str, value: str) -> bool:
    return name.startswith("AGENTCOM_POLICY_") or (name == REDIS and mask_url(value) == value)


def _agent_variables(described: AgentSettings, environ: Mapping[str, str]) -> tuple[Variables, tuple[str, ...]]:
    """What the sidecar needs to pass on to its agent: anything may be a secret. And what of it is not set here."""
    wanted = [name for name in described.env_pass if name not in (*READABLE, *GIVEN_BY_SYSTEMD, REDIS)]
    found = {name: environ[name] for name in wanted if name in environ}
    return Variables({}, found), tuple(name for name in wanted if name not in environ)


def _alert_files(loaded: Loaded, at: Installation, common: Variables) -> tuple[File, ...]:
    pool = loaded.settings.pool
    name = alert_unit(pool)
    around = _around(at, loaded, common, name.removesuffix("@.service"), (at.data_dir,))
    return File(f"{at.units}/{name}", alert_text(pool, around), PUBLIC), *_secrets(around, common)


def _around(at: Installation, loaded: Loaded, variables: Variables, name: str, writable: Iterable[str]) -> Surroundings:
    return Surroundings(
        argv=argv_of(at, loaded.settings.pool),
        working_dir=at.working_dir,
        environment=variables.public | {"PYTHONFAULTHANDLER": "1"},
        environment_file=_secrets_path(at, name) if variables.secret else "",
        system=at.system,
        user=at.user if at.system else "",
        writable=tuple(dict.fromkeys(writable)) if at.system else (),
        private_tmp=not _in_tmp(at, loaded.settings.redis),
    )


def _in_tmp(at: Installation, redis: str) -> bool:
    """Whether something that a program needs lies in a temporary folder, where a private one would hide it."""
    parts = urlsplit(redis)
    socket = unquote(parts.path) if parts.scheme == "unix" else ""
    needed = (socket, at.python, at.config, at.working_dir, at.data_dir)
    return any(PurePosixPath(path).is_relative_to(tmp) for path in needed if path for tmp in ("/tmp", "/var/tmp"))  # noqa: S108


def _secrets(around: Surroundings, variables: Variables) -> tuple[File, ...]:
    if not variables.secret:
        return ()
    secret = dict(sorted(variables.secret.items()))
    return (File(around.environment_file, syntax.environment_file(secret), PRIVATE, tuple(secret)),)


def _secrets_path(at: Installation, name: str) -> str:
    return f"{at.secrets}/{name}.env"


def _folders(described: AgentSettings | None, at: Installation) -> tuple[str, ...]:
    if described is None or not described.workspace:
        return (at.data_dir,)
    return (at.data_dir, str(PurePosixPath(at.working_dir, expanded(described.workspace, at.home))))
