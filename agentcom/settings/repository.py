"""What a repository says of the work on it, in an `agentcom.toml` of its own.

It is read as it was at the base of the work: what a branch changes there does not make its own checks pass.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from agentcom.settings.schema import CheckSettings
from agentcom.wording import parse_command

CHECKS_FILE = "agentcom.toml"


class _File(Struct):
    checks: CheckSettings = CheckSettings()


def checks_in(text: bytes) -> tuple[str, ...] | str:
    """The checks that the file names under `[checks] commands`, or what is wrong with it."""
    try:
        commands = msgspec.toml.decode(text, type=_File).checks.commands
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return f"{CHECKS_FILE} of the repository: {str(error).splitlines()[0][:300]}"
    problem = next((problem for command in commands if (problem := command_problem(command))), "")
    return f"{CHECKS_FILE} of the repository: {problem}" if problem else commands


def command_problem(command: str) -> str:
    """What is wrong with a check's line; empty if it can be split into a program and its arguments."""
    try:
        parse_command(command)
    except ValueError as error:
        return f"a check: {error}"
    return ""
