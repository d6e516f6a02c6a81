"""The systemd units of a pool's programs: facts in, text out.

What they promise: what ends with an error is started again, five times in ten minutes at most; what refuses its
configuration (exit code 78) is not; a frozen program is killed and started again within a minute; a restarted sidecar
finds its agent's process still at work; what stays down starts the alert unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentcom.settings import Policy
from agentcom.supervisor import unit_syntax as syntax
from agentcom.supervisor.programs import Role
from agentcom.supervisor.restarts import EXIT_CONFIGURATION

# From the freeze to the restart: at most 45 + 5 + 5 seconds.
WATCHDOG_S = 45
ABORT_S = 5
RESTART_S = 5

START_LIMIT_INTERVAL_S = 600
START_LIMIT_BURST = 5
SPARE_STOP_S = 30.0
"""On top of what the policy gives to running work and to ending it: to tell Redis, and to be slow."""

Line = tuple[str, str] | str
"""A setting, or a comment."""


@dataclass(frozen=True, slots=True)
class Service:
    """A program that systemd keeps running."""

    role: Role
    pool: str
    agent: str = ""
    in_process: bool = field(default=False, compare=False)
    """The agent is a function, which cannot outlive its sidecar."""

    @property
    def unit(self) -> str:
        """The name of its unit. No two services share one: the name of a pool has no underscore in it."""
        what = "scheduler" if self.role == "scheduler" else f"sidecar-{self.agent}"
        return f"{_stem(self.pool)}{what}.service"

    @property
    def words(self) -> str:
        """What it is, for people."""
        what = "scheduler" if self.role == "scheduler" else f"sidecar of agent {self.agent}"
        return f"AgentCom {what}, pool {self.pool}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a program finds where it runs.

    Args:
        argv: the command that every program of the pool begins with; the first is an absolute path.
        working_dir: absolute.
        environment: variables that anyone may read.
        environment_file: absolute path of the file with the others; empty if there are none.
        system: whether it is a unit of the machine's; else of a user's own.
        user: who runs it; only for units of the machine's.
        writable: absolute paths that it may write to; only for units of the machine's.
        private_tmp: whether a /tmp of its own would hide nothing that it needs.
    """

    argv: tuple[str, ...]
    working_dir: str
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_file: str = ""
    system: bool = False
    user: str = ""
    writable: tuple[str, ...] = ()
    private_tmp: bool = True


def stop_limit_s(policy: Policy) -> float:
    """How long a program may take to stop: running work ends, what is left is ended, and Redis is told."""
    return policy.drain_s + policy.grace_s + SPARE_STOP_S


def alert_unit(pool: str) -> str:
    """The name of the template that is started with the name of a unit that failed."""
    return f"{_stem(pool)}alert@.service"


def service_text(service: Service, around: Surroundings, policy: Policy) -> str:
    """The unit of a scheduler or a sidecar.

    Raises:
        ConfigurationError: one of the paths cannot be written into a unit.
    """
    arguments = ("scheduler",) if service.role == "scheduler" else ("sidecar", "--agent", service.agent)
    lines: list[Line] = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("ExecStart", syntax.command_line((*around.argv, *arguments))),
        *_surroundings(around),
        "",
        ("Restart", "on-failure"),
        ("RestartSec", str(RESTART_S)),
        f"# {EXIT_CONFIGURATION}: its configuration or password is refused; to start it again would change nothing.",
        ("RestartPreventExitStatus", str(EXIT_CONFIGURATION)),
        "# The program's own loop feeds the watchdog. SIGABRT makes a frozen one say where it stands (faulthandler).",
        ("WatchdogSec", str(WATCHDOG_S)),
        ("TimeoutAbortSec", str(ABORT_S)),
        ("LimitCORE", "0"),
        "",
        *_ending(service, policy),
        "",
        *_hardening(service.role, around),
    ]
    return _rendered(_unit_section(service, around), lines, around)


def alert_text(pool: str, around: Surroundings) -> str:
    """The template unit that sends one alert about the unit whose name is its instance.

    Raises:
        ConfigurationError: one of the paths cannot be written into a unit.
    """
    # %i is systemd's: no path or name of ours has a bare % in it.
    command = syntax.command_line((*around.argv, "service", "failed", "--system" if around.system else "--user"))
    lines: list[Line] = [
        ("Type", "oneshot"),
        ("ExecStart", f"{command} %i"),
        *_surroundings(around),
        "",
        *_hardening("scheduler", around),
    ]
    about: list[Line] = [("Description", f"AgentCom alert about %i, pool {pool}")]
    return _rendered(about, lines, None)


def _unit_section(service: Service, around: Surroundings) -> list[Line]:
    online: list[Line] = [("Wants", "network-online.target"), ("After", "network-online.target")]
    return [
        ("Description", service.words),
        *(online if around.system else []),
        "# Past this it stays failed, and the alert unit is started. Newer systemd starts that one at every failure:",
        "# it finds out for itself whether this unit is being restarted, and tells of each incident once.",
        ("StartLimitIntervalSec", str(START_LIMIT_INTERVAL_S)),
        ("StartLimitBurst", str(START_LIMIT_BURST)),
        ("OnFailure", alert_unit(service.pool).replace("@.", "@%N.")),
    ]


def _surroundings(around: Surroundings) -> list[Line]:
    lines: list[Line] = [("WorkingDirectory", syntax.path(around.working_dir))]
    if around.user:
        lines.append(("User", around.user))
    lines += [("Environment", syntax.assignment(*variable)) for variable in sorted(around.environment.items())]
    if around.environment_file:
        lines += ["# Readable by its owner only: it holds what is or may be secret."]
        lines += [("EnvironmentFile", syntax.glob(around.environment_file))]
    return lines


def _ending(service: Service, policy: Policy) -> list[Line]:
    limit = f"{stop_limit_s(policy):g}"
    lines: list[Line] = [
        ("KillSignal", "SIGTERM"),
        "# Longer than policy.drain_s and policy.grace_s together: install again when these have changed.",
        ("TimeoutStopSec", limit),
    ]
    if service.role == "scheduler":
        return [("KillMode", "mixed"), *lines]
    hand_over: list[Line] = [
        "# A restart does not wait for the agent: SIGHUP ends the sidecar at once, as a crash would.",
        ("RestartKillSignal", "SIGHUP"),
    ]
    return [
        "# Only the sidecar itself is signalled. The agent's process has a session of its own: when the sidecar dies",
        "# or is killed, its agent works on, and the next sidecar finds it by its journal and takes it on.",
        ("KillMode", "process"),
        *lines,
        *([] if service.in_process else hand_over),
        "# An agent that used up the memory is an attempt that failed, and no reason to stop its sidecar.",
        ("OOMPolicy", "continue"),
    ]


def _hardening(role: Role, around: Surroundings) -> list[Line]:
    lines: list[Line] = [
        ("NoNewPrivileges", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("LockPersonality", "yes"),
        ("RestrictRealtime", "yes"),
    ]
    if role == "scheduler":
        lines += [
            ("UMask", "0077"),
            ("RestrictNamespaces", "yes"),
            ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
            ("SystemCallArchitectures", "native"),
            ("SystemCallFilter", "@system-service"),
            ("SystemCallErrorNumber", "EPERM"),
        ]
    if not around.system:
        return [*lines, *_why_no_file_systems()]
    return [*lines, *_file_systems(role, around)]


def _why_no_file_systems() -> list[Line]:
    return [
        "# ProtectSystem= and its like need a user namespace in a user's unit. Not every kernel grants one, and within",
        "# it ssh refuses its own configuration as another's: these are in units of the machine's only (--system).",
    ]


def _file_systems(role: Role, around: Surroundings) -> list[Line]:
    writable = " ".join("-" + syntax.path_in_list(path) for path in around.writable)
    lines: list[Line] = [
        ("CapabilityBoundingSet", ""),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "read-only"),
    ]
    if role == "scheduler":
        tmp: list[Line] = [("PrivateTmp", "yes")] if around.private_tmp else []
        return [
            *lines,
            ("ReadWritePaths", writable),
            *tmp,
            ("PrivateDevices", "yes"),
            ("ProtectControlGroups", "yes"),
            ("ProtectClock", "yes"),
            ("ProtectHostname", "yes"),
            ("ProtectProc", "invisible"),
        ]
    return [
        *lines,
        "# What the agent may write to. More: systemctl edit, with another ReadWritePaths= in [Service].",
        "# /tmp is everyone's: a private one would vanish under an agent that outlives its sidecar.",
        ("ReadWritePaths", f"{writable} /tmp /var/tmp"),
    ]


def _rendered(unit: Iterable[Line], service: Iterable[Line], installed: Surroundings | None) -> str:
    """All of a unit; with an [Install] section if it is one to be started with the machine or the user's session."""
    text = ["# Written by `agentcom service install`, which overwrites it. For changes of your own: systemctl edit."]
    text += ["", "[Unit]", *map(_text_of, unit), "", "[Service]", *map(_text_of, service)]
    if installed is not None:
        text += ["", "[Install]", f"WantedBy={'multi-user' if installed.system else 'default'}.target"]
    return "\n".join(text) + "\n"


def _text_of(line: Line) -> str:
    return line if isinstance(line, str) else f"{line[0]}={line[1]}"


def _stem(pool: str) -> str:
    return "agentcom-" if pool == "default" else f"agentcom_{pool}_"
