"""Services that the machine keeps running: `agentcom service`."""

from __future__ import annotations

import os
import shutil
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agentcom.alerts import sending
from agentcom.cli import service_target as target
from agentcom.cli.context import EXIT_FAILED, Context, context_of, end, run
from agentcom.cli.screen import show_json, tell, warn
from agentcom.cli.tasks import Json
from agentcom.errors import UsageError
from agentcom.supervisor import programs, systemd
from agentcom.supervisor.incidents import Incident, incident_of
from agentcom.supervisor.plan import File, Installation, Plan, alert_paths, argv_of, common_variables, own_paths, plan
from agentcom.supervisor.pm2 import ecosystem
from agentcom.supervisor.systemd import Systemd, SystemdRefused
from agentcom.supervisor.unit_state import UnitState, is_being_restarted, state_of
from agentcom.supervisor.units import Service

SETTLING_S = 1.0
SETTLING_LOOKS = 30

service_app = typer.Typer(no_args_is_help=True, help="Keep a scheduler and sidecars running: systemd units, or pm2.")


class RoleName(StrEnum):
    """What there can be a service of."""

    scheduler = "scheduler"
    sidecar = "sidecar"


Role = Annotated[RoleName, typer.Argument(metavar="scheduler|sidecar", show_default=False)]
MaybeRole = Annotated[RoleName | None, typer.Argument(metavar="[scheduler|sidecar]", show_default=False)]
Agent = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="One agent; without it, all there are.")]
OfMachine = Annotated[
    bool | None,
    typer.Option("--system/--user", help="Units of the machine's, or your own; by default your own, unless root."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", "--print", help="Print what would be written, and change nothing.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(service_app, name="service", rich_help_panel="Run")


# ------------------------------------------------------------------ install


@service_app.command("install")
def install(
    ctx: typer.Context,
    role: Role,
    agent: Agent = None,
    system: OfMachine = None,
    run_as: Annotated[
        str, typer.Option("--run-as", metavar="USER", help="Who runs it; with --system only.", show_default="SUDO_USER")
    ] = "",
    dry_run: DryRun = False,
) -> None:
    """Write systemd units, enable and start them. Done twice, the second time changes nothing.

    The units hold absolute paths and the settings that did not come from the settings file; a password or another
    secret goes into a file that only its owner can read. Where systemd does not run, the files are written all the
    same, what was not done is said, and the exit code is 1.

    \b
    Examples:
      agentcom service install scheduler
      agentcom service install sidecar --agent oak
      sudo agentcom --redis redis://10.0.0.5 service install sidecar --run-as build
    """
    context = context_of(ctx)
    of_machine = target.is_for_machine(system)
    services = target.wanted(context, _role(role), agent)
    owner = target.owner_of(of_machine, run_as)
    at = target.installation(context, of_machine, owner)
    plans = [plan(service, context.loaded, at) for service in services]
    if dry_run:
        _print_files([file for one in plans for file in (*one.files, *one.shared)])
        return
    if of_machine and os.geteuid() != 0:
        raise UsageError("units of the machine's are installed by root", "Call it with sudo, or with --user")
    manager = Systemd(of_machine)
    results = [_install(one, manager, owner) for one in plans]
    for note in _notes(context, plans, at):
        warn(note)
    if not all(results):
        end(EXIT_FAILED)


def _install(one: Plan, manager: Systemd, owner: target.Owner) -> bool:
    """Whether the service is now enabled and at work. What was and was not done is said."""
    unit = one.service.unit
    for folder in one.folders:
        systemd.make_folder(Path(folder), (owner.uid, owner.gid) if manager.system else None)
    changed = _put(one)
    missing = manager.why_not()
    if missing:
        commands = [manager.command("daemon-reload"), manager.command("enable", "--now", unit)]
        warn(f"{unit} is not enabled and not started: {missing}. Where it runs: {' && '.join(commands)}")
        return False
    before = manager.show(unit)
    calls = systemd.steps(unit, before, changed=changed)
    try:
        for call in calls:
            manager.call(*call)
    except SystemdRefused as error:
        warn(f"{unit} is not at work: {error}")
        return False
    if not calls:
        tell(f"{unit}: nothing to change; it is installed, enabled and at work")
    elif before.get("ActiveState") in systemd.RUNNING and changed:
        tell(f"{unit} goes on as it was before; for what has changed: {manager.command('restart', unit)}")
    else:
        tell(f"{unit} is enabled and was started")
    return True


def _put(one: Plan) -> bool:
    changed = [file for file in (*one.files, *one.shared) if not systemd.is_in_place(file)]
    for file in changed:
        systemd.put(file)
        tell(f"wrote {file.path}")
    return bool(changed)


def _print_files(files: list[File]) -> None:
    for file in dict.fromkeys(files):
        tell(f"# ---- {file.path} (mode {file.mode:o})")
        typer.echo("\n".join(f"{name}=***" for name in file.secrets) if file.mode & 0o077 == 0 else file.text)


def _notes(context: Context, plans: list[Plan], at: Installation) -> list[str]:
    """What a person should know: each says what to do."""
    notes = []
    for one in plans:
        agent = one.service.agent
        if one.unset:
            names = ", ".join(one.unset)
            notes.append(f"agent {agent} would inherit {names}, not set here: set it and install again, if it needs it")
        command = context.settings.agents[agent].command if agent else ()
        if command and "{" not in command[0] and "/" not in command[0] and shutil.which(command[0]) is None:
            notes.append(
                f"agent {agent}: {command[0]!r} is not on the PATH of this shell, which its sidecar is given:"
                " install again from a shell that finds it"
            )
    if not at.system and not (target.LINGERING / at.user).exists():
        notes.append(f"your own units run while you are logged in; for always: loginctl enable-linger {at.user}")
    return notes


# ---------------------------------------------------------------- uninstall


@service_app.command("uninstall")
def uninstall(ctx: typer.Context, role: Role, agent: Agent = None, system: OfMachine = None) -> None:
    """Stop services, in good order, and remove their units. Done twice, the second time changes nothing.

    Example: agentcom service uninstall sidecar --agent oak
    """
    context = context_of(ctx)
    of_machine = target.is_for_machine(system)
    pool = context.settings.pool
    at = _where(context, of_machine)
    units = Path(at.units)
    there = [service for service in target.installed(pool, units) if service.role == role.value]
    services = [service for service in there if agent in (None, service.agent)]
    if not services:
        tell(f"nothing to remove: no unit of {_words(role, agent)} of pool {pool} is in {units}")
        return
    manager = Systemd(of_machine)
    missing = manager.why_not()
    for service in services:
        if not missing:
            tell(f"stopping {service.unit}; running work may come to its end first")
            manager.call("disable", "--now", service.unit)
        _remove(own_paths(service, at))
    if not target.installed(pool, units):
        _remove(alert_paths(pool, at))
    if missing:
        warn(f"nothing was stopped: {missing}")
    else:
        manager.call("daemon-reload")


def _remove(paths: tuple[str, ...]) -> None:
    for path in systemd.remove(paths):
        tell(f"removed {path}")


# ------------------------------------------------------------------- status


@service_app.command("status")
def status(
    ctx: typer.Context, role: MaybeRole = None, agent: Agent = None, system: OfMachine = None, json: Json = False
) -> None:
    """Say how the installed services of this pool are doing, and what to do about those that are down.

    The exit code is 1 if one of them does not run, or none is installed.

    Example: agentcom service status
    """
    context = context_of(ctx)
    of_machine = target.is_for_machine(system)
    pool = context.settings.pool
    units = target.units_folder(of_machine)
    services = [
        service
        for service in target.installed(pool, units)
        if (role is None or service.role == role.value) and agent in (None, service.agent)
    ]
    manager = Systemd(of_machine)
    missing = manager.why_not()
    if missing and services:
        names = ", ".join(service.unit for service in services)
        raise SystemdRefused(f"{names}: installed, but not at work, for {missing}")
    states = [(service, _state(service, manager)) for service in services]
    if json:
        show_json({"pool": pool, "system": of_machine, "units": [_document(*one) for one in states]})
    elif not states:
        what = f"no unit of {_words(role, agent)} of pool {pool} is in {units}"
        warn(f"{what}; install one: agentcom service install {role or 'scheduler'}")
    else:
        _show(states)
    if not states or not all(state.works for _, (state, _) in states):
        end(EXIT_FAILED)


Found = tuple[UnitState, dict[str, str]]


def _state(service: Service, manager: Systemd) -> Found:
    properties = manager.show(service.unit)
    return state_of(service.unit, properties, system=manager.system), properties


def _show(states: list[tuple[Service, Found]]) -> None:
    width = max(len(service.unit) for service, _ in states)
    for service, (state, _) in states:
        tell(f"{service.unit:<{width}}  {state.words}{f' → {state.advice}' if state.advice else ''}")


def _document(service: Service, found: Found) -> dict[str, Any]:
    state, properties = found
    return {
        "unit": service.unit,
        "role": service.role,
        "agent": service.agent,
        "works": state.works,
        "down": state.down,
        "words": state.words,
        "advice": state.advice,
        "properties": properties,
    }


# ---------------------------------------------------------------------- pm2


@service_app.command("pm2")
def pm2(ctx: typer.Context) -> None:
    """Print an ecosystem file for pm2: the scheduler, and the sidecar of every agent in the settings file.

    A Redis URL with a password is not written into it: pm2 takes it from the environment of `pm2 start`.

    Example: agentcom service pm2 > ecosystem.config.cjs && pm2 start ecosystem.config.cjs
    """
    context = context_of(ctx)
    settings = context.settings
    at = _where(context, of_machine=False)
    variables = common_variables(context.loaded, {k: v for k, v in os.environ.items() if k.startswith("AGENTCOM_")})
    services = [Service("scheduler", settings.pool)]
    services += [Service("sidecar", settings.pool, agent) for agent in sorted(settings.agents)]
    public = variables.public | {"PYTHONFAULTHANDLER": "1"}
    argv = argv_of(at, settings.pool)
    typer.echo(ecosystem(services, argv, at.working_dir, public, variables.secret, settings.policy), nl=False)


# ------------------------------------------------------------------- failed


@service_app.command("failed")
def failed(
    ctx: typer.Context,
    unit: Annotated[str, typer.Argument(metavar="UNIT", help="Name of the unit that failed.", show_default=False)],
    system: OfMachine = None,
) -> None:
    """Send one alert about a unit that systemd has given up. The alert unit calls this.

    A unit that is being started again is none, and each failure is told once, however often this is called.

    Example: agentcom service failed agentcom-scheduler
    """
    context = context_of(ctx)
    of_machine = target.is_for_machine(system)
    manager = Systemd(of_machine)
    missing = manager.why_not()
    if missing:
        raise SystemdRefused(f"the state of {unit} cannot be found out: {missing}")
    incident = incident_of(unit, _settled(manager, unit), system=of_machine)
    if incident is None:
        tell(f"{unit} is not down: nothing to tell")
        return
    mark = File(str(context.data_dir / "alerted" / incident.unit), incident.id + "\n", 0o600)
    if systemd.is_in_place(mark):
        tell(f"{unit}: this failure was told of before")
        return
    deliveries = _send(context, incident)
    problems = sending.failed(deliveries)
    for problem in problems:
        warn(problem)
    if len(problems) < len(deliveries) or not deliveries:
        systemd.put(mark)  # only now: what nobody could be told is told by the next call
    if problems:
        end(EXIT_FAILED)


def _settled(manager: Systemd, unit: str) -> dict[str, str]:
    """Its properties, once it is known whether it is started again: that may just be once too often."""
    full = unit if unit.endswith(".service") else f"{unit}.service"
    for _ in range(SETTLING_LOOKS):
        properties = manager.show(full)
        if not is_being_restarted(properties):
            break
        time.sleep(SETTLING_S)
    return properties


def _send(context: Context, incident: Incident) -> list[sending.Delivery]:
    """Tell everybody who is to be told, and the log."""
    warn(f"{incident.title}: {incident.text}")

    async def send() -> list[sending.Delivery]:
        return await sending.send_now(context.settings, incident.title, incident.text)

    return run(send)


# ------------------------------------------------------------------- common


def _role(role: RoleName) -> programs.Role:
    return "scheduler" if role is RoleName.scheduler else "sidecar"


def _words(role: RoleName | None, agent: str | None) -> str:
    if role is None:
        return "anything"
    return f"the {role.value}{f' of agent {agent}' if agent else ''}"


def _where(context: Context, of_machine: bool) -> Installation:
    """Where things are, for commands to which it is all the same who runs the services."""
    nobody = target.Owner("", os.geteuid(), os.getegid(), str(Path.home()))
    return target.installation(context, of_machine, nobody)
