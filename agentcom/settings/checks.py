"""What types and bounds can't say: formats of single settings, and settings that contradict each other.

Every check answers what was expected, in words that follow "expected", or None if all is well.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from msgspec import Meta

from agentcom.capability import valid_attributes
from agentcom.settings.addresses import read_address
from agentcom.settings.command import PLACEHOLDERS, unknown_placeholders
from agentcom.settings.rendering import escaped, number, shortened
from agentcom.settings.schema import AgentSettings, Policy

# The sidecar sets these for every agent's process, so that an agent's own `env` can't.
PROCESS_VARIABLES = (
    "AGENTCOM_TASK_FILE",
    "AGENTCOM_RESULT_FILE",
    "AGENTCOM_TASK_ID",
    "AGENTCOM_AGENT",
    "AGENTCOM_ATTEMPT",
    "AGENTCOM_FENCE",
)

DEFAULT_ADAPTER = "command"
NEED_COMMAND = (DEFAULT_ADAPTER, "acp")
"""Adapters that bring no program of their own. What others need is known where they are loaded."""

_APPRISE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\x00-\x20\x7f][^\x00-\x1f\x7f]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def rule(name: str, annotation: object) -> str:
    """What a setting called `name` of type `annotation` takes: its description, or its bounds with a unit."""
    base, *metas = get_args(annotation)
    meta = next(meta for meta in metas if isinstance(meta, Meta))
    if meta.description:
        return meta.description
    kind = "seconds" if name.endswith("_s") else "bytes" if name.endswith("_bytes") else "a number"
    whole = "a whole number" if kind == "a number" else f"whole {kind}"
    return f"{whole if base is int else kind} from {meta.ge:_} to {meta.le:_}"


def field_problem(section: str, name: str, value: object) -> str | None:
    """What was expected of the setting `name` of `section` instead of `value`, which already has the right type."""
    check = _FIELD_CHECKS.get(f"{section}.{name}") or _FIELD_CHECKS.get(name)
    return check(value) if check else None


def _redis_problem(url: str) -> str | None:
    address = read_address(url) if url else None
    return address if isinstance(address, str) else None


def _argv_problem(argv: tuple[str, ...]) -> str | None:
    if argv and not argv[0]:
        return "the name of a program first"
    return "texts without a NUL character" if any("\0" in part for part in argv) else None


def _command_problem(command: tuple[str, ...]) -> str | None:
    return _argv_problem(command) or _placeholder_problem(command)


def _arguments_problem(arguments: tuple[str, ...]) -> str | None:
    return _argv_problem(("program", *arguments)) or _placeholder_problem(arguments)


def _placeholder_problem(template: tuple[str, ...]) -> str | None:
    unknown = unknown_placeholders(template)
    if unknown:
        known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        name = shortened(escaped(unknown[0]))
        return f"only the placeholders {known} ({{{{{name}}}}} is a literal {{{name}}})"
    return None


def _repo_problem(repo: str) -> str | None:
    return "a URL or path without a NUL character" if "\0" in repo else None


def _urls_problem(urls: tuple[str, ...]) -> str | None:
    wrong = next((number for number, url in enumerate(urls, 1) if not _APPRISE_URL.fullmatch(url)), None)
    # Only its place is told, for a URL is nearly all secret.
    return f"an array of Apprise URLs, such as ntfy://topic, but number {wrong} is none" if wrong else None


def _attributes_problem(attributes: Mapping[str, object]) -> str | None:
    problems = valid_attributes(attributes)
    return f"what a requirement can name ({problems[0]})" if problems else None


def _env_problem(env: Mapping[str, str]) -> str | None:
    if any("\0" in value for value in env.values()):
        return "values without a NUL character"
    reserved = next((name for name in PROCESS_VARIABLES if name in env), None)
    if reserved:
        return f"no {reserved}, for the sidecar sets it"
    return _variables_problem(tuple(env))


def _variables_problem(names: tuple[str, ...]) -> str | None:
    if all(_VARIABLE.fullmatch(name) for name in names):
        return None
    return "names of letters, digits and underscores, no digit first"


_FIELD_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "redis": _redis_problem,
    "command": _command_problem,
    "arguments": _arguments_problem,
    "self_test": _argv_problem,
    "repo": _repo_problem,
    "alerts.command": _argv_problem,
    "urls": _urls_problem,
    "skills": _attributes_problem,
    "attributes": _attributes_problem,
    "env": _env_problem,
    "env_pass": _variables_problem,
}


def policy_problem(policy: Policy) -> tuple[tuple[str, ...], str] | None:
    """The settings that contradict each other first, and how they have to relate."""
    stale_s = policy.beat_s * policy.stale_beats
    contradictions: tuple[tuple[bool, tuple[str, ...], str], ...] = (
        (
            policy.accept_s <= policy.accept_report_s,
            ("accept_s", "accept_report_s"),
            f"accept_s ({number(policy.accept_s)}) over accept_report_s ({number(policy.accept_report_s)})",
        ),
        # With at least 2 stale_beats this also means that no beat is stale before the next one is due.
        (
            policy.beat_s <= policy.beat_offset_s,
            ("beat_s", "beat_offset_s"),
            f"beat_s ({number(policy.beat_s)}) over beat_offset_s ({number(policy.beat_offset_s)})",
        ),
        (
            policy.agent_down_s < stale_s,
            ("agent_down_s", "beat_s", "stale_beats"),
            f"agent_down_s ({number(policy.agent_down_s)}) not under beat_s times stale_beats ({number(stale_s)})",
        ),
        (
            policy.max_open_bytes < policy.max_text_bytes,
            ("max_open_bytes", "max_text_bytes"),
            f"max_open_bytes ({policy.max_open_bytes}) not under max_text_bytes ({policy.max_text_bytes})",
        ),
    )
    return next(((fields, expected) for wrong, fields, expected in contradictions if wrong), None)


def agent_problem(agent: AgentSettings) -> tuple[str, str] | None:
    """The first setting of an agent that is missing or goes against another, and what was expected of it."""
    return _runner_problem(agent) or _facts_problem(agent)


def _runner_problem(agent: AgentSettings) -> tuple[str, str] | None:
    if agent.runner == "python":
        if not agent.handler:
            return "handler", 'a "package.module:function", for runner is "python"'
        unused = next((name for name in ("command", "repo") if getattr(agent, name)), "")
        return (unused, 'none, for runner is "python"') if unused else None
    if agent.handler:
        return "handler", 'none, for runner is "command"; set runner = "python" to use a handler'
    if agent.command or agent.adapter not in NEED_COMMAND:
        return None
    what = "adapter" if agent.adapter != DEFAULT_ADAPTER else "runner"
    return "command", f'a program and its arguments, for {what} is "{getattr(agent, what)}"'


def _facts_problem(agent: AgentSettings) -> tuple[str, str] | None:
    # Requirements don't tell skills from attributes: together they are what the agent says about itself.
    twice = sorted(agent.skills.keys() & agent.attributes.keys())
    if twice:
        return "attributes", f"no {twice[0]}, for it is a skill already"
    problem = _attributes_problem({**agent.skills, **agent.attributes})
    return ("attributes", problem) if problem else None
