"""Merges the defaults, the file, the environment and the flags: later wins, and what is wrong is refused."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from agentcom.errors import ConfigurationError
from agentcom.settings.checks import PROCESS_VARIABLES, agent_problem, field_problem, policy_problem, rule
from agentcom.settings.rendering import entries, escaped, shortened, toml_key, toml_value
from agentcom.settings.schema import (
    AGENT_NAME_PATTERN,
    AGENT_NAME_RULE,
    MODEL_NAME_PATTERN,
    MODEL_NAME_RULE,
    AgentSettings,
    AlertSettings,
    CheckSettings,
    GateSettings,
    Loaded,
    Policy,
    Price,
    Settings,
)

PREFIX = "AGENTCOM_"

# Variables that are no settings: which file to read, and what the sidecar tells an agent's process, which may
# call agentcom itself.
RESERVED_VARIABLES = frozenset({"AGENTCOM_CONFIG", *PROCESS_VARIABLES})

# A section is "" (the top), one of `_TABLES`, "agents.NAME" or "prices.MODEL", the latter with quotes where TOML has
# them, for most names of models have dots.
_TABLES: dict[str, type[Struct]] = {
    "policy": Policy,
    "alerts": AlertSettings,
    "checks": CheckSettings,
    "gate": GateSettings,
}
_NAMED = ("agents", "prices")

# Read in the repository itself, at the base of the work: no variable or flag can say what it says.
_OF_REPOSITORY = ("checks",)
_SETTABLE = tuple(table for table in _TABLES if table not in _OF_REPOSITORY)
_TOP = {info.name: info for info in fields(Settings) if info.name not in {*_TABLES, *_NAMED}}
_OF_TABLES = {table: {info.name: info for info in fields(struct)} for table, struct in _TABLES.items()}
_AGENT = {info.name: info for info in fields(AgentSettings)}
_PRICE = {info.name: info for info in fields(Price)}

_TABLE_SHOWN = {"agents": "agents.NAME", "prices": 'prices."MODEL"'}

_VARIABLES = MappingProxyType(
    {f"{PREFIX}{name.upper()}": ("", name) for name in _TOP}
    | {f"{PREFIX}{table.upper()}_{name.upper()}": (table, name) for table in _SETTABLE for name in _OF_TABLES[table]}
)

# Arrays that a variable or a flag may write as one text. Each URL of an array of them may hold commas.
_COMMA = re.compile(r",")
_COMMA_BEFORE_URL = re.compile(r",\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_SEPARATORS = {"retry_delays_s": _COMMA, "env_pass": _COMMA, "urls": _COMMA_BEFORE_URL}
_SEPARATORS |= dict.fromkeys(("allow", "allow_new", "deny"), _COMMA)

# An argv is never split: as one text it is a JSON array.
_ARGV = frozenset({"command", "self_test", "arguments", "commands"})

# Never repeated in a message: they hold passwords.
_SECRET = frozenset({"redis", "env", "urls"})


def load(file: tuple[str, str] | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Loaded:
    """The settings that `file`, `environ` and `overrides` make over the defaults.

    `file` is a path, which is only named in messages, and its text. An empty variable counts as not set.
    `overrides` are the values of flags by dotted key; None counts as not given. The flag of a key is the last
    part of it: "policy.beat_s" is `--beat-s`, "agents.oak.slots" is `--slots`.

    Raises ConfigurationError, in one line that names the source, the key and what was expected, for the first
    name or value that is wrong, even if a later source replaces that value.
    """
    given = _Given()
    if file is not None:
        _take_file(given, *file)
    _take_environment(given, environ)
    _take_flags(given, overrides)
    agents = {agent: AgentSettings(**given.values(f"agents.{agent}")) for agent in given.agents}
    policy = Policy(**given.values("policy"))
    alerts = AlertSettings(**given.values("alerts"))
    checks = CheckSettings(**given.values("checks"))
    gate = GateSettings(**given.values("gate"))
    prices = {model: Price(**given.values(f"prices.{toml_key(model)}")) for model in given.models}
    settings = Settings(
        **given.values(""), policy=policy, agents=agents, alerts=alerts, checks=checks, gate=gate, prices=prices
    )
    _check_policy(given, policy)
    _check_agents(given, agents)
    return Loaded(settings=settings, sources={key: given.source(key) for key, _ in entries(settings)})


class _Value(NamedTuple):
    value: object
    source: str
    # 1, 2, 3, … in the order of reading: the blame for a contradiction goes to what was read last.
    order: int


class _Given:
    """The values read so far, already converted, by section and name."""

    def __init__(self) -> None:
        self._sections: dict[str, dict[str, _Value]] = {}
        # Each agent with the source that first named it.
        self.agents: dict[str, str] = {}
        self.models: list[str] = []
        self._count = 0

    def put(self, section: str, name: str, value: object, source: str, *, lax: bool = False) -> None:
        """Takes a value on; `lax` reads numbers, and arrays of plain words, from texts."""
        known = _known_fields(section)
        if name not in known:
            tables = () if section or lax else (*_TABLES, *_NAMED)
            _refuse_unknown(source, section, name, value, [*known, *tables])
        self._count += 1
        converted = _convert(known[name], section, value, source, lax=lax)
        self._sections.setdefault(section, {})[name] = _Value(converted, source, self._count)

    def name_agent(self, agent: str, source: str) -> None:
        if not re.search(AGENT_NAME_PATTERN, agent):
            expected = f"the name of an agent, {AGENT_NAME_RULE}"
            _refuse(source, f"agents.{toml_key(shortened(agent))}", expected)
        self.agents.setdefault(agent, source)

    def name_model(self, model: str, source: str) -> None:
        if not re.search(MODEL_NAME_PATTERN, model):
            _refuse(source, f"prices.{toml_key(shortened(model))}", f"the name of a model, {MODEL_NAME_RULE}")
        self.models.append(model)

    def values(self, section: str) -> dict[str, Any]:
        return {name: given.value for name, given in self._sections.get(section, {}).items()}

    def source(self, key: str) -> str:
        section, _, name = key.rpartition(".")
        given = self._sections.get(section, {}).get(name)
        return given.source if given else "default"

    def last_read(self, section: str, names: Iterable[str]) -> tuple[str, str]:
        """Name and source of the one of `names` that was read last; at least one must have been."""
        values = self._sections.get(section, {})
        name = max((name for name in names if name in values), key=lambda name: values[name].order)
        return name, values[name].source


def _take_file(given: _Given, path: str, text: str) -> None:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        problem = f"{escaped(path)}: expected TOML: {shortened(escaped(str(error)), 200)}"
        raise ConfigurationError(problem) from None
    for name, value in document.items():
        if name in _TABLES:
            for key, item in _table(value, path, name).items():
                given.put(name, key, item, path)
        elif name == "agents":
            for agent, table in _table(value, path, "agents").items():
                given.name_agent(agent, path)
                for key, item in _table(table, path, f"agents.{agent}").items():
                    given.put(f"agents.{agent}", key, item, path)
        elif name == "prices":
            for model, table in _table(value, path, "prices").items():
                given.name_model(model, path)
                section = f"prices.{toml_key(model)}"
                for key, item in _table(table, path, section).items():
                    given.put(section, key, item, path)
        else:
            given.put("", name, value, path)


def _take_environment(given: _Given, environ: Mapping[str, str]) -> None:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in RESERVED_VARIABLES:
            continue
        if variable not in _VARIABLES:
            _refuse_unknown_variable(variable)
        section, name = _VARIABLES[variable]
        if environ[variable]:
            given.put(section, name, environ[variable], variable, lax=True)


def _take_flags(given: _Given, overrides: Mapping[str, object]) -> None:
    for key, value in overrides.items():
        if value is None:
            continue
        section, _, name = key.rpartition(".")
        flag = f"--{name.replace('_', '-')}"
        if section.startswith("agents."):
            given.name_agent(section.removeprefix("agents."), flag)
        elif section and section not in _SETTABLE:
            expected = "a setting, policy.SETTING, alerts.SETTING, gate.SETTING or agents.NAME.SETTING"
            _refuse(flag, toml_key(shortened(key)), expected)
        given.put(section, name, value, flag, lax=True)


def _known_fields(section: str) -> dict[str, FieldInfo]:
    if section.startswith("agents."):
        return _AGENT
    if section.startswith("prices."):
        return _PRICE
    return _OF_TABLES[section] if section else _TOP


def _table(value: object, path: str, key: str) -> dict[str, object]:
    if not isinstance(value, dict):
        _refuse(path, key, f"a table, as in [{_TABLE_SHOWN.get(key, key)}]")
    return value


def _convert(info: FieldInfo, section: str, value: object, source: str, *, lax: bool) -> object:
    if lax and isinstance(value, str):
        value = _read_array(info.name, value)
    expected: str | None
    try:
        converted = msgspec.convert(value, info.type, strict=not lax)
        expected = field_problem(section, info.name, converted)
    except msgspec.ValidationError:
        expected = rule(info.name, info.type)
    if expected is not None:
        got = "" if info.name in _SECRET else f", got {_shown(value)}"
        _refuse(source, _dotted(section, info.name), f"{expected}{got}")
    return converted


def _read_array(name: str, text: str) -> object:
    """The array that `text` writes, where the setting takes one; else, or if it writes none, `text` itself."""
    if name in _SEPARATORS:
        return [part.strip() for part in _SEPARATORS[name].split(text)]
    if name in _ARGV:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _shown(value: object) -> str:
    try:
        return shortened(toml_value(value))
    except RecursionError:
        return "deeply nested values"


def _check_policy(given: _Given, policy: Policy) -> None:
    problem = policy_problem(policy)
    if problem:
        names, expected = problem
        name, source = given.last_read("policy", names)
        _refuse(source, f"policy.{name}", expected)


def _check_agents(given: _Given, agents: Mapping[str, AgentSettings]) -> None:
    for agent, settings in agents.items():
        problem = agent_problem(settings)
        if problem:
            name, expected = problem
            key = f"agents.{agent}.{name}"
            source = given.source(key)
            _refuse(given.agents[agent] if source == "default" else source, key, expected)


def _dotted(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _refuse_unknown(source: str, section: str, name: str, value: object, known: list[str]) -> NoReturn:
    place = f"a setting of {section}" if section else "a setting"
    near = _near(name, known)
    if near:
        remedy = f"Did you mean {near}?"
    elif section.startswith("agents.") and isinstance(value, dict):
        agent = section.removeprefix("agents.")
        remedy = f'An agent\'s name with a dot needs quotes: [agents."{agent}.{shortened(escaped(name))}"]'
    else:
        remedy = f"Known: {', '.join(sorted(known))}"
    key = _dotted(section, toml_key(shortened(name)))
    _refuse(source, key, f"{place}, but there is none of that name", remedy)


def _refuse_unknown_variable(variable: str) -> NoReturn:
    near = _near(variable, [*_VARIABLES, *RESERVED_VARIABLES])
    top = ", ".join(PREFIX + name.upper() for name in _TOP)
    tables = " or ".join(f"{PREFIX}{table.upper()}_ with a setting of {table}" for table in _SETTABLE)
    problem = f"{escaped(variable)}: expected {top} or {tables}"
    kept = next((table for table in _OF_REPOSITORY if variable.startswith(f"{PREFIX}{table.upper()}_")), "")
    remedy = f"Did you mean {near}?" if near else ""
    if kept:
        remedy = f"[{kept}] is read from the agentcom.toml of the repository that is worked on: put it there"
    raise ConfigurationError(problem, remedy)


def _near(name: str, known: list[str]) -> str:
    # Cut, since the search takes quadratic time and a name may be as long as the file.
    return next(iter(difflib.get_close_matches(name[:80], known, n=1)), "")


def _refuse(source: str, key: str, expected: str, remedy: str = "") -> NoReturn:
    raise ConfigurationError(f"{escaped(source)}: {key}: expected {expected}", remedy)
