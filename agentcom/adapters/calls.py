"""What the argv of all adapters have in common."""

from __future__ import annotations

from collections.abc import Iterable

from agentcom.adapters.base import Prompt
from agentcom.settings import AgentSettings, fill

CANARY_TEXT = "Reply with the one word OK. Use no tools."
"""What a canary is told: it costs a few tokens, and shows that the model is reached."""


def program_of(settings: AgentSettings, program: str) -> tuple[str, ...]:
    """What is started: `command`, which may be a wrapper with arguments of its own, else the adapter's program."""
    return settings.command or (program,)


def filled(template: Iterable[str], prompt: Prompt) -> tuple[str, ...]:
    """The template of an argv with what a turn has in the place of its placeholders."""
    values = {
        "task_file": prompt.task_file,
        "result_file": prompt.result_file,
        "workspace": prompt.workspace,
        "task_id": prompt.task_id,
        "agent": prompt.agent,
    }
    return tuple(fill(template, values))


def aside(settings: AgentSettings, program: str, *arguments: str) -> tuple[str, ...]:
    """An argv of the program that is about no task; empty where its command names something of one."""
    try:
        return (*fill(program_of(settings, program), {}), *arguments)
    except KeyError:
        return ()


def option(name: str, value: object) -> tuple[str, ...]:
    """An option with its value; nothing without a value."""
    return (name, str(value)) if value else ()


def names_any(arguments: Iterable[str], *options: str) -> bool:
    """Whether one of the options is among the arguments, as `--option` or `--option=value`."""
    return any(argument.split("=", 1)[0] in options for argument in arguments)
