"""What findings rely on elsewhere: the commands that they name, and the words in which a sidecar tells of its disk."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from msgspec.structs import replace

from agentcom.cli.main import app
from agentcom.diagnosis import diagnose
from agentcom.model.reasons import ASKED_OF_A_PERSON
from agentcom.settings import Policy
from agentcom.sidecar.checks import machine_checks
from tests.diagnosis.cases import CASES
from tests.diagnosis.pools import AT, BUSY, POLICY, agent

NAMED = re.compile(r"agentcom ((?:[a-z]+)(?: [a-z]+)?)")


def commands() -> set[str]:
    """All commands, those of groups with the group's name before theirs."""
    root = typer.main.get_command(app)
    found: set[str] = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found |= {name, *(f"{name} {inner}" for inner in getattr(command, "commands", {}))}
    return found


def test_every_command_that_a_finding_names_exists() -> None:
    known = commands()
    groups = {name.split()[0] for name in known if " " in name}
    steps = {step.next_step for case in CASES for step in diagnose(case.ill, POLICY, AT)}
    steps |= set(ASKED_OF_A_PERSON.values())
    named = {name for step in steps for name in NAMED.findall(step)}
    assert len(named) > 10
    unknown = {name for name in named if not ({name, name.split()[0]} & known)}
    unknown |= {name for name in named if name.split()[0] in groups and " " in name and name not in known}
    assert not unknown


async def test_a_disk_that_a_sidecar_finds_full_or_read_only_is_known_as_such(tmp_path: Path) -> None:
    hungry = Policy(disk_free_bytes=2**60)
    told = [await check() for check in machine_checks(tmp_path, hungry).values()]
    told += [await check() for check in machine_checks(Path(__file__) / "agent", POLICY).values()]
    assert len(told) == 4
    for problem in told:
        ill = replace(BUSY, agents=[agent("oak", unfit=problem, health="degraded")])
        assert "disk" in {finding.rule for finding in diagnose(ill, POLICY, AT)}, problem
