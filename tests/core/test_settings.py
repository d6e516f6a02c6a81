"""Where settings come from, which one wins, and how they are shown."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from agentcom.errors import ConfigurationError
from agentcom.settings import (
    PLACEHOLDERS,
    RESERVED_VARIABLES,
    AgentSettings,
    AlertSettings,
    CheckSettings,
    GateSettings,
    Loaded,
    Policy,
    Price,
    Settings,
    describe,
    fill,
    load,
)

FILE = "/x/agentcom.toml"
EXAMPLE = Path(__file__).parents[2] / "examples" / "agentcom.toml"
OAK = '[agents.oak]\ncommand = ["work"]\n'
PATTERNS = ("allow", "allow_new", "deny")


def from_file(text: str) -> Loaded:
    return load((FILE, text), {}, {})


def shown(loaded: Loaded) -> dict[str, str]:
    return {key: value for key, value, _ in describe(loaded)}


# Precedence and sources


def test_without_any_source_everything_has_its_default() -> None:
    loaded = load(None, {}, {})
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default() -> None:
    text = 'pool = "of-file"\nredis = "redis://of-file"\ndata_dir = "/of-file"\n'
    environ = {"AGENTCOM_POOL": "of-variable", "AGENTCOM_REDIS": "redis://of-variable"}
    loaded = load((FILE, text), environ, {"pool": "of-flag"})
    settings = loaded.settings
    assert (settings.pool, settings.redis, settings.data_dir) == ("of-flag", "redis://of-variable", "/of-file")
    assert loaded.sources["pool"] == "--pool"
    assert loaded.sources["redis"] == "AGENTCOM_REDIS"
    assert loaded.sources["data_dir"] == FILE
    assert loaded.sources["policy.beat_s"] == "default"


def test_a_source_replaces_single_settings_and_leaves_their_neighbours() -> None:
    text = "[policy]\nbeat_s = 20\nsweep_s = 2\n"
    loaded = load((FILE, text), {"AGENTCOM_POLICY_BEAT_S": "25"}, {"policy.batch": 7})
    assert loaded.settings.policy == Policy(beat_s=25.0, sweep_s=2.0, batch=7)
    assert loaded.sources["policy.beat_s"] == "AGENTCOM_POLICY_BEAT_S"
    assert loaded.sources["policy.sweep_s"] == FILE
    assert loaded.sources["policy.batch"] == "--batch"


def test_a_flag_that_is_none_is_not_given() -> None:
    loaded = load((FILE, 'pool = "blue"'), {}, {"pool": None, "no.such.thing": None})
    assert (loaded.settings.pool, loaded.sources["pool"]) == ("blue", FILE)


def test_a_variable_that_is_empty_is_not_set() -> None:
    assert load((FILE, 'pool = "blue"'), {"AGENTCOM_POOL": ""}, {}).settings.pool == "blue"


def test_an_empty_flag_takes_a_value_back() -> None:
    loaded = load((FILE, 'redis = "redis://far"'), {}, {"redis": ""})
    assert (loaded.settings.redis, loaded.sources["redis"]) == ("", "--redis")


def test_a_flag_changes_a_setting_of_an_agent_of_the_file() -> None:
    loaded = load((FILE, OAK), {}, {"agents.oak.slots": "3"})
    assert loaded.settings.agents == {"oak": AgentSettings(command=("work",), slots=3)}
    assert loaded.sources["agents.oak.slots"] == "--slots"
    assert loaded.sources["agents.oak.command"] == FILE
    assert loaded.sources["agents.oak.handler"] == "default"


def test_flags_alone_make_an_agent() -> None:
    agents = load(None, {}, {"agents.oak.1.command": ["work", "-v"]}).settings.agents
    assert agents == {"oak.1": AgentSettings(command=("work", "-v"))}


def test_every_setting_outside_of_agents_and_repositories_has_a_variable() -> None:
    policy = {f"AGENTCOM_POLICY_{field.name.upper()}": str(field.default) for field in fields(Policy)}
    policy["AGENTCOM_POLICY_RETRY_DELAYS_S"] = "0, 30,120"
    alerts = {f"AGENTCOM_ALERTS_{field.name.upper()}": str(field.default) for field in fields(AlertSettings)}
    alerts |= {"AGENTCOM_ALERTS_URLS": "ntfy://t", "AGENTCOM_ALERTS_COMMAND": '["tell", "me"]'}
    gate = {"AGENTCOM_GATE_MAX_FILES": "20", "AGENTCOM_GATE_MAX_LINES": "400"}
    gate |= {f"AGENTCOM_GATE_{name.upper()}": ", ".join(getattr(GateSettings(), name)) for name in PATTERNS}
    top = {"AGENTCOM_REDIS": "unix:///r", "AGENTCOM_POOL": "p", "AGENTCOM_DATA_DIR": "/d"}
    loaded = load(None, policy | alerts | gate | top, {})
    told = AlertSettings(urls=("ntfy://t",), command=("tell", "me"))
    assert loaded.settings == Settings(redis="unix:///r", pool="p", data_dir="/d", alerts=told)
    assert [key for key, source in loaded.sources.items() if source == "default"] == ["checks.commands"]


def test_variables_of_others_and_reserved_ones_are_left_alone() -> None:
    environ = dict.fromkeys(RESERVED_VARIABLES, "anything") | {"PATH": "/bin", "AGENTCOMX": "1", "AGENT": "2"}
    assert load(None, environ, {}).settings == Settings()


def test_every_setting_has_exactly_one_source() -> None:
    loaded = from_file(OAK)
    top = {"redis", "pool", "data_dir"}
    policy = {f"policy.{field.name}" for field in fields(Policy)}
    oak = {f"agents.oak.{field.name}" for field in fields(AgentSettings)}
    alerts = {f"alerts.{field.name}" for field in fields(AlertSettings)}
    checks = {f"checks.{field.name}" for field in fields(CheckSettings)}
    gate = {f"gate.{field.name}" for field in fields(GateSettings)}
    assert loaded.sources.keys() == top | policy | oak | alerts | checks | gate
    assert [key for key, _, _ in describe(loaded)] == list(loaded.sources)


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        from_file("").settings.policy.beat_s = 1.0  # type: ignore[misc]


# Alerts


def test_a_flag_beats_a_variable_beats_the_file_for_alerts_too() -> None:
    text = "[alerts]\nevery_s = 1\nper_hour = 2\ntimeout_s = 3\n"
    environ = {"AGENTCOM_ALERTS_PER_HOUR": "20", "AGENTCOM_ALERTS_TIMEOUT_S": "30"}
    loaded = load((FILE, text), environ, {"alerts.timeout_s": 300})
    assert loaded.settings.alerts == AlertSettings(every_s=1.0, per_hour=20, timeout_s=300.0)
    sources = [loaded.sources[f"alerts.{name}"] for name in ("every_s", "per_hour", "timeout_s", "severity")]
    assert sources == [FILE, "AGENTCOM_ALERTS_PER_HOUR", "--timeout-s", "default"]


def test_several_urls_in_a_variable_are_separated_by_commas_and_may_hold_some() -> None:
    environ = {"AGENTCOM_ALERTS_URLS": "mailto://u:p@h?to=a@b,c@d, ntfys://topic,json://h/x"}
    urls = load(None, environ, {}).settings.alerts.urls
    assert urls == ("mailto://u:p@h?to=a@b,c@d", "ntfys://topic", "json://h/x")


def test_of_a_receiver_only_the_scheme_is_shown() -> None:
    text = '[alerts]\nurls = ["ntfys://secret-topic", "tgram://123:secret/456"]\n'
    loaded = from_file(text)
    assert shown(loaded)["alerts.urls"] == '["ntfys://…", "tgram://…"]'
    assert loaded.settings.alerts.urls[0] == "ntfys://secret-topic"


# Prices


def test_a_model_has_its_price_by_any_name_that_a_model_can_have() -> None:
    text = '[prices."gpt-5.1"]\ninput_usd = 1.25\n[prices."lab/m:free"]\n'
    loaded = from_file(text)
    assert loaded.settings.prices == {"gpt-5.1": Price(input_usd=1.25), "lab/m:free": Price()}
    assert loaded.sources['prices."gpt-5.1".input_usd'] == FILE
    assert loaded.sources['prices."gpt-5.1".output_usd'] == "default"


# Redis and secrets


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/0",
        "rediss://user:p%40ss@redis.example:6380/15?ssl_ca_certs=/ca.pem",
        "redis://:secret@[::1]:6379/",
        "redis://a,b:c,d@localhost",
        "redis://user:secret@one:6379,two:6379,[::1]/0",
        "sentinel://user:secret@one,two:26380/main/3?sentinel_username=s&sentinel_password=t&tls=true",
        "unix:///run/redis.sock?db=3",
        "unix://user:secret@/run/redis.sock",
    ],
)
def test_every_form_of_address_of_redis_is_taken(url: str) -> None:
    assert load(None, {"AGENTCOM_REDIS": url}, {}).settings.redis == url


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://user:secret@h:6379/0", "redis://user:***@h:6379/0"),
        ("redis://:secret@h", "redis://:***@h"),
        ("redis://secret@h", "redis://***@h"),
        ("redis://user:secret@secret@h", "redis://user:***@h"),
        ("redis://h?db=1&PASSWORD=secret", "redis://h?db=1&PASSWORD=***"),
        ("unix://user:secret@/run/r.sock", "unix://user:***@/run/r.sock"),
        ("unix:///run/a@b.sock", "unix:///run/a@b.sock"),
        ("redis://user:secret@g:1,h:2/0", "redis://user:***@g:1,h:2/0"),
        ("sentinel://:secret@g,h/main?sentinel_password=secret", "sentinel://:***@g,h/main?sentinel_password=***"),
        ("rediss://h?ssl_password=secret&db=1", "rediss://h?ssl_password=***&db=1"),
        ("redis://h:6379/0", "redis://h:6379/0"),
    ],
)
def test_passwords_are_masked_where_settings_are_shown(url: str, masked: str) -> None:
    loaded = load(None, {"AGENTCOM_REDIS": url}, {})
    assert shown(loaded)["redis"] == f'"{masked}"'
    assert loaded.settings.redis == url


def test_secrets_of_agents_are_masked_too() -> None:
    text = '[agents.oak]\ncommand = ["work", "https://secret@h/x"]\nenv = { API_KEY = "secret" }\n'
    values = shown(from_file(text))
    assert values["agents.oak.command"] == '["work", "https://***@h/x"]'
    assert values["agents.oak.env"] == '{ API_KEY = "***" }'


# Showing


def test_what_is_shown_can_be_written_into_a_file_again() -> None:
    loaded = load((str(EXAMPLE), EXAMPLE.read_text()), {}, {})
    text = "".join(f"{key} = {value}\n" for key, value, _ in describe(loaded) if not key.endswith(".env") and value)
    again = from_file(text).settings
    assert shown(load((FILE, text), {}, {})) == shown(loaded) | {"agents.oak.env": "{}"}
    assert again.policy == loaded.settings.policy


def test_what_is_shown_is_one_line_whatever_it_holds() -> None:
    text = '[agents.oak]\ncommand = ["a\\nb\\u001b[31m"]\n[agents.oak.attributes]\ndone = true\nshare = 0.5\n'
    rows = describe(load(("/x/\n.toml", text), {"AGENTCOM_DATA_DIR": "/d\udcff"}, {}))
    assert all(cell.isprintable() for row in rows for cell in row)
    assert ("agents.oak.attributes", "{ done = true, share = 0.5 }", "/x/\\n.toml") in rows


# The example


def test_the_example_shows_every_section_and_setting() -> None:
    shown_in_file = tomllib.loads(EXAMPLE.read_text())
    assert shown_in_file.keys() == {field.name for field in fields(Settings)}
    assert shown_in_file["policy"].keys() == {field.name for field in fields(Policy)}
    assert shown_in_file["alerts"].keys() == {field.name for field in fields(AlertSettings)}
    assert shown_in_file["checks"].keys() == {field.name for field in fields(CheckSettings)}
    assert {name for price in shown_in_file["prices"].values() for name in price} == {
        field.name for field in fields(Price)
    }
    assert shown_in_file["gate"].keys() == {field.name for field in fields(GateSettings)}
    of_agents = {name for agent in shown_in_file["agents"].values() for name in agent}
    assert of_agents == {field.name for field in fields(AgentSettings)}


def test_the_example_loads_and_states_the_defaults() -> None:
    settings = load((str(EXAMPLE), EXAMPLE.read_text()), {}, {}).settings
    assert settings.policy == Policy()
    assert settings.alerts == AlertSettings()
    assert settings.checks == CheckSettings()
    assert settings.gate == GateSettings()
    assert (settings.redis, settings.pool, settings.data_dir) == ("", "default", "")
    assert settings.agents["oak"].env_pass == AgentSettings().env_pass


# The argv template


def test_placeholders_are_filled_and_literal_braces_kept() -> None:
    values = {name: f"<{name}>" for name in PLACEHOLDERS}
    template = ["work", "-f={task_file}", "{agent}/{task_id}", '{"a": {"b": 1}}', "{{agent}}", "{print $1}"]
    assert fill(template, values) == [
        "work",
        "-f=<task_file>",
        "<agent>/<task_id>",
        '{"a": {"b": 1}}',
        "{agent}",
        "{print $1}",
    ]


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    values = dict.fromkeys(PLACEHOLDERS, "{agent} {{agent}}")
    assert fill(["{task_id}"], values) == ["{agent} {{agent}}"]


@given(st.lists(st.text(alphabet="{}a_$ ") | st.sampled_from([f"{{{name}}}" for name in PLACEHOLDERS])))
def test_a_command_that_loads_can_always_be_filled(arguments: list[str]) -> None:
    try:
        loaded = load(None, {}, {"agents.oak.command": ["work", *arguments]})
    except ConfigurationError:
        return
    command = loaded.settings.agents["oak"].command
    assert len(fill(command, dict.fromkeys(PLACEHOLDERS, "x"))) == len(command)


# Anything at all

KEYS = st.sampled_from(
    [
        *("redis", "pool", "data_dir", "policy", "alerts", "agents", "prices", "oak", '"oak.1"', "Oak", '"\\n"', "x"),
        *(field.name for field in fields(Policy)),
        *(field.name for field in fields(AgentSettings)),
        *(field.name for field in fields(AlertSettings)),
        *(field.name for field in fields(Price)),
        *("gate", "checks"),
        *(field.name for field in fields(GateSettings)),
    ]
)
SCALARS = st.sampled_from(
    [
        *("0", "1", "-1", "0.5", "nan", "-inf", "1e400", "0x" + "f" * 5_000, "9" * 5_000, "true", "''"),
        *("'redis://u:p@h'", "'{agent}'", "'{x}'", '"\\u0000"', '"\\u202e"', "1979-05-27T07:32:00Z", "07:32:00"),
        *("'a:b'", "'python'", "{", "'"),
    ]
) | st.integers().map(str)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(KEYS, inner), max_size=3).map(
            lambda pairs: f"{{ {', '.join(f'{key} = {value}' for key, value in pairs)} }}"
        )
    ),
    max_leaves=5,
)
DOTTED_KEYS = st.lists(KEYS, min_size=1, max_size=4).map(".".join)
LINES = (
    st.tuples(DOTTED_KEYS, VALUES).map(" = ".join)
    | DOTTED_KEYS.map(lambda key: f"[{key}]")
    | st.sampled_from(["[policy]", "[alerts]", "[agents.oak]", 'command = ["work"]', "[[agents]]", "# …"])
)
DOCUMENTS = st.text() | st.lists(LINES, max_size=6).map("\n".join)
VARIABLES = st.sampled_from(["POOL", "REDIS", "DATA_DIR", "CONFIG", "TASK_ID"]) | st.sampled_from(
    [f"POLICY_{field.name.upper()}" for field in fields(Policy)]
    + [f"ALERTS_{field.name.upper()}" for field in fields(AlertSettings)]
)
OBJECTS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.binary()


def loads_or_is_refused_in_one_line(
    file: tuple[str, str] | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> None:
    try:
        loaded = load(file, environ, overrides)
        lines = [cell for row in describe(loaded) for cell in row]
    except ConfigurationError as error:
        lines = [str(error)]
    assert all(line.isprintable() for line in lines)


@given(DOCUMENTS)
def test_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    loads_or_is_refused_in_one_line((FILE, text), {}, {})


@given(st.dictionaries((VARIABLES | st.text()).map("AGENTCOM_{}".format), st.text(), max_size=3))
def test_any_variables_load_or_are_refused_in_one_line(environ: dict[str, str]) -> None:
    loads_or_is_refused_in_one_line(None, environ, {})


@given(st.dictionaries(DOTTED_KEYS | st.text(), OBJECTS, max_size=3))
def test_any_flags_load_or_are_refused_in_one_line(overrides: dict[str, object]) -> None:
    loads_or_is_refused_in_one_line(None, {}, overrides)
