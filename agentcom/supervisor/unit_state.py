"""What systemd's properties of a unit mean, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentcom.supervisor.restarts import EXIT_CONFIGURATION

DOWN = "down: "

_RESULTS = {
    "signal": "it was ended by signal {status}",
    "core-dump": "it was ended by signal {status}",
    "exit-code": "it ended with exit code {status}",
    "watchdog": "it was frozen",
    "timeout": "it took too long to start or to stop",
    "oom-kill": "the memory was used up",
    "resources": "systemd could not start it",
    "start-limit-hit": "it failed too often in a row",
    "protocol": "it ended before it was ready",
}


@dataclass(frozen=True, slots=True)
class UnitState:
    """How a unit is doing, in words.

    Args:
        words: what it does, or why it does not.
        works: whether it runs, or is just being stopped or started.
        down: whether systemd has given it up: only a person will start it again.
        advice: what to do next; empty if there is nothing to be done.
    """

    words: str
    works: bool
    down: bool = False
    advice: str = ""


def is_being_restarted(properties: Mapping[str, str]) -> bool:
    """Whether systemd will start it again, if that is not once too often."""
    return "auto-restart" in properties.get("SubState", "")


def state_of(unit: str, properties: Mapping[str, str], *, system: bool) -> UnitState:
    """What the properties of a unit, as `systemctl show` prints them, mean."""
    systemctl = "systemctl" if system else "systemctl --user"
    log = f"journalctl {'' if system else '--user '}-u {unit} -n 50"
    active, sub = properties.get("ActiveState", ""), properties.get("SubState", "")
    if properties.get("LoadState") == "not-found":
        return UnitState("not installed", works=False, advice="agentcom service install")
    if is_being_restarted(properties):
        return UnitState(f"{_why(properties)}; it is being started again{_restarts(properties)}", False, advice=log)
    if active == "failed":
        return _failed(unit, properties, systemctl, log)
    if active == "inactive":
        return UnitState("stopped", works=False, advice=f"{systemctl} start {unit}")
    status = properties.get("StatusText", "")
    return UnitState(f"{active} ({sub}){_restarts(properties)}{f': {status}' if status else ''}", works=True)


def _failed(unit: str, properties: Mapping[str, str], systemctl: str, log: str) -> UnitState:
    start = f"{systemctl} reset-failed {unit} && {systemctl} start {unit}"
    if (properties.get("Result"), properties.get("ExecMainStatus")) == ("exit-code", str(EXIT_CONFIGURATION)):
        words = f"{DOWN}it refuses its configuration (exit code {EXIT_CONFIGURATION})"
        return UnitState(words, works=False, down=True, advice=f"{log} names the setting; mend it, then {start}")
    words = f"{DOWN}{_why(properties)}, and systemd has given it up{_restarts(properties)}"
    return UnitState(words, works=False, down=True, advice=f"{log} says why; mend it, then {start}")


def _why(properties: Mapping[str, str]) -> str:
    result = properties.get("Result", "")
    words = _RESULTS.get(result, f"it failed ({result or 'for no known reason'})")
    return words.format(status=properties.get("ExecMainStatus", "?"))


def _restarts(properties: Mapping[str, str]) -> str:
    number = properties.get("NRestarts", "0")
    return "" if number in ("0", "") else f", after {number} restart{'' if number == '1' else 's'}"
