"""How each mistake in the settings is refused: one line with the source, the key and what was expected."""

from collections.abc import Mapping

import pytest
from msgspec.structs import fields

from agentcom.errors import ConfigurationError
from agentcom.settings import Policy, load

FILE = "/x/agentcom.toml"
OAK = '[agents.oak]\ncommand = ["work"]\n'


def refusal(
    text: str = "", environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load((FILE, text), environ or {}, overrides or {})
    message = str(caught.value)
    assert message.isprintable(), "one line, nothing that moves the cursor"
    assert len(message) < 600
    return message


# Single settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("beats = 1", "beats: expected a setting, but there is none of that name. Known: agents, alerts, checks, "),
        ("pol = 'x'", "pol: expected a setting, but there is none of that name. Did you mean pool?"),
        ("[agent.oak]", "agent: expected a setting, but there is none of that name. Did you mean agents?"),
        (
            "[policy]\nbeets_s = 1",
            "policy.beets_s: expected a setting of policy, but there is none of that name. Did you mean beat_s?",
        ),
        (
            OAK + "slot = 1",
            "agents.oak.slot: expected a setting of agents.oak, but there is none of that name. Did you mean slots?",
        ),
        ('"a\\nb" = 1', '"a\\nb": expected a setting'),
        ("policy = 1", "policy: expected a table, as in [policy]"),
        ("agents = []", "agents: expected a table, as in [agents.NAME]"),
        ("agents.oak = 1", "agents.oak: expected a table, as in [agents.oak]"),
        ("prices = 1", 'prices: expected a table, as in [prices."MODEL"]'),
        ('[prices."a b"]', 'prices."a b": expected the name of a model, 1 to 200 characters without spaces'),
        ('[prices."m.1"]\ninput = 1', 'prices."m.1".input: expected a setting of prices."m.1", but there is none'),
        ("[prices.m]\ninput_usd = -1", "prices.m.input_usd: expected USD per million tokens, from 0 to 1_000_000, got"),
        ("[agents.Oak]", "agents.Oak: expected the name of an agent, 1 to 64 lower-case letters, "),
        ('[agents."oak\\n"]', 'agents."oak\\n": expected the name of an agent'),
        ("[agents.a.b]\nslots = 1", 'An agent\'s name with a dot needs quotes: [agents."a.b"]'),
        ("pool = 'Blue'", "pool: expected 1 to 40 lower-case letters, digits or hyphens, a letter or digit first"),
        ('pool = "blue\\n"', 'a letter or digit first, got "blue\\n"'),
        ("pool = 1", "pool: expected 1 to 40 lower-case letters"),
        ("data_dir = 1", "data_dir: expected a path in at most 4096 characters, got 1"),
        ('data_dir = "a\\u0000b"', 'data_dir: expected a path in at most 4096 characters, got "a\\u0000b"'),
        ("data_dir = 2020-01-01", "data_dir: expected a path in at most 4096 characters, got a value of type date"),
        ("pool = 0x" + "f" * 20_000, "got a huge number"),
        ("pool = " + "[" * 300 + "]" * 300, "got [[["),
    ],
)
def test_a_wrong_name_or_value_in_the_file_is_refused(text: str, expected: str) -> None:
    message = refusal(text)
    assert message.startswith(f"{FILE}: ")
    assert expected in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("beat_s", '"soon"', 'seconds from 0.1 to 1_800, got "soon"'),
        ("beat_s", '"30"', 'seconds from 0.1 to 1_800, got "30"'),
        ("beat_s", "nan", "seconds from 0.1 to 1_800, got nan"),
        ("beat_s", "inf", "seconds from 0.1 to 1_800, got inf"),
        ("beat_s", "true", "seconds from 0.1 to 1_800, got true"),
        ("beat_s", "-1", "seconds from 0.1 to 1_800, got -1"),
        ("lease_s", "0.9", "seconds from 1 to 3_600, got 0.9"),
        ("max_attempts", "0", "a whole number from 1 to 100, got 0"),
        ("max_attempts", "101", "a whole number from 1 to 100, got 101"),
        ("max_attempts", "1.5", "a whole number from 1 to 100, got 1.5"),
        ("stale_beats", "1", "a whole number from 2 to 100, got 1"),
        ("max_text_bytes", "0", "whole bytes from 1 to 8_388_608, got 0"),
        ("retry_delays_s", "[]", "1 to 100 delays, each of 0 to 86_400 seconds, got []"),
        ("retry_delays_s", "[0, -1]", "1 to 100 delays, each of 0 to 86_400 seconds, got [0, -1]"),
        ("retry_delays_s", "30", "1 to 100 delays, each of 0 to 86_400 seconds, got 30"),
    ],
)
def test_a_policy_out_of_bounds_is_refused(name: str, value: str, expected: str) -> None:
    assert refusal(f"[policy]\n{name} = {value}") == f"{FILE}: policy.{name}: expected {expected}"


@pytest.mark.parametrize("name", [field.name for field in fields(Policy) if field.default is not False])
def test_every_number_of_the_policy_has_bounds_and_a_unit(name: str) -> None:
    for value in ("-1", "nan", "1e300", str(10**400)):
        message = refusal(f"[policy]\n{name} = {value}")
        assert message.startswith(f"{FILE}: policy.{name}: expected ")
        if not name.startswith("retry_delays"):
            unit = "seconds" if name.endswith("_s") else "bytes" if name.endswith("_bytes") else "number"
            assert f"{unit} from " in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("slots = 0", "slots: expected a whole number from 1 to 1_000, got 0"),
        ("context_tokens = -1", "context_tokens: expected a whole number from 0 to 100_000_000, got -1"),
        ('runner = "pyton"', 'runner: expected "command" or "python", got "pyton"'),
        ('handler = "a.b"', 'handler: expected "package.module:function", got "a.b"'),
        ('handler = "a:b"', 'handler: expected none, for runner is "command"; set runner = "python"'),
        ('runner = "python"', 'handler: expected a "package.module:function", for runner is "python"'),
        ('runner = "python"\nhandler = "a:b"', 'command: expected none, for runner is "python"'),
        ("skills = { python = true }", "skills: expected skills with levels from 0 to 1_000"),
        ("skills = { python = -1 }", "skills: expected skills with levels from 0 to 1_000"),
        ('skills = { "a b" = 1 }', "skills: expected what a requirement can name ('a b'"),
        ("attributes = { os = [] }", "attributes: expected names with a text, a number, true or false each"),
        ("attributes = { gb = nan }", "attributes: expected what a requirement can name (gb"),
        ("attributes = { and = 1 }", "attributes: expected what a requirement can name (and"),
        ("skills = { a = 1 }\nattributes = { a = 1 }", "attributes: expected no a, for it is a skill already"),
        ("accepts = 1", "accepts: expected a requirement in at most 4096 characters, got 1"),
        ("workspace = false", "workspace: expected a path in at most 4096 characters, got false"),
        ('env = { "A-B" = "1" }', "env: expected names of letters, digits and underscores, no digit first"),
        ('env = { A = "a\\u0000" }', "env: expected values without a NUL character"),
        ('env = { AGENTCOM_TASK_ID = "1" }', "env: expected no AGENTCOM_TASK_ID, for the sidecar sets it"),
        ('env_pass = "PATH"', 'env_pass: expected an array of names of environment variables, got "PATH"'),
        ('env_pass = ["A=B"]', "env_pass: expected names of letters, digits and underscores"),
        ('self_test = "work --version"', "self_test: expected a program and its arguments, as an array of texts"),
        ('self_test = ["", "x"]', "self_test: expected the name of a program first"),
        ('arguments = ["{x}"]', "arguments: expected only the placeholders {task_file}"),
        ('arguments = ["\\u0000"]', "arguments: expected texts without a NUL character"),
        ('repo = "a\\u0000"', "repo: expected a URL or path without a NUL character"),
    ],
)
def test_a_wrong_setting_of_an_agent_is_refused(line: str, expected: str) -> None:
    message = refusal(OAK + line)
    assert message.startswith(f"{FILE}: agents.oak.{expected}")


def test_a_python_function_works_on_no_repository() -> None:
    message = refusal('[agents.oak]\nrunner = "python"\nhandler = "a:b"\nrepo = "x.git"\n')
    assert message.startswith(f'{FILE}: agents.oak.repo: expected none, for runner is "python"')


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("'work hard'", 'a program and its arguments, as an array of texts, got "work hard"'),
        ("['work', 1]", 'a program and its arguments, as an array of texts, got ["work", 1]'),
        ("['']", 'the name of a program first, got [""]'),
        ('["work", "\\u0000"]', "texts without a NUL character"),
        ("['work', '{task}']", "only the placeholders {task_file} {result_file} {workspace} {task_id} {agent} "),
        ("['work', '${HOME}']", "({{HOME}} is a literal {HOME})"),
        ("[]", 'a program and its arguments, for runner is "command"'),
        ("[]\nadapter = 'acp'", 'a program and its arguments, for adapter is "acp"'),
    ],
)
def test_a_wrong_command_is_refused(command: str, expected: str) -> None:
    message = refusal(f"[agents.oak]\ncommand = {command}")
    assert message.startswith(f"{FILE}: agents.oak.command: expected ")
    assert expected in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("url = 'x'", "url: expected a setting of alerts, but there is none of that name. Did you mean urls?"),
        ("urls = 'json://secret'", "urls: expected an array of Apprise URLs, such as ntfy://topic"),
        (
            "urls = ['json://h', 'secret']",
            "urls: expected an array of Apprise URLs, such as ntfy://topic, but number 2 is",
        ),
        ("urls = ['json://']", "urls: expected an array of Apprise URLs, such as ntfy://topic, but number 1 is none"),
        (
            'urls = ["json://secret\\n"]',
            "urls: expected an array of Apprise URLs, such as ntfy://topic, but number 1 is",
        ),
        ("command = 'tell me'", 'command: expected a program and its arguments, as an array of texts, got "tell me"'),
        ("command = ['']", 'command: expected the name of a program first, got [""]'),
        ("severity = 'notice'", 'severity: expected "warning" or "critical", got "notice"'),
        ("every_s = 0", "every_s: expected seconds from 0.1 to 3_600, got 0"),
        ("per_hour = 0", "per_hour: expected a whole number from 1 to 10_000, got 0"),
    ],
)
def test_a_wrong_setting_of_alerts_is_refused_without_its_secrets(line: str, expected: str) -> None:
    message = refusal(f"[alerts]\n{line}")
    assert message.startswith(f"{FILE}: alerts.{expected}")
    assert "secret" not in message


def test_the_command_of_alerts_has_no_placeholders_so_that_braces_mean_themselves() -> None:
    assert load((FILE, "[alerts]\ncommand = ['tell', '{x}']"), {}, {}).settings.alerts.command == ("tell", "{x}")


@pytest.mark.parametrize("value", ["tell me", '"tell"', "[1]", "[", "[" * 100_000])
def test_an_argv_in_a_variable_is_a_json_array(value: str) -> None:
    message = refusal(environ={"AGENTCOM_ALERTS_COMMAND": value})
    assert message.startswith("AGENTCOM_ALERTS_COMMAND: alerts.command: expected a program and its arguments")


def test_an_agent_without_a_command_is_refused_in_the_name_of_who_declared_it() -> None:
    expected = 'agents.oak.command: expected a program and its arguments, for runner is "command"'
    assert refusal("[agents.oak]") == f"{FILE}: {expected}"
    assert refusal(overrides={"agents.oak.slots": 2}) == f"--slots: {expected}"


def test_text_that_is_not_toml_is_refused_with_its_place() -> None:
    assert refusal("pool = 'a'\n=") == f"{FILE}: expected TOML: Invalid statement (at line 2, column 1)"


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = " + "9" * 5_000, "x = 2020-13-01", '"\\ud800" = 1'])
def test_text_that_python_can_not_take_is_refused_like_any_other(text: str) -> None:
    assert refusal(text).startswith(f"{FILE}: expected TOML: ")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("AGENTCOM_POLICY_BEAT_S", "soon", 'policy.beat_s: expected seconds from 0.1 to 1_800, got "soon"'),
        ("AGENTCOM_POLICY_BEAT_S", "nan", 'policy.beat_s: expected seconds from 0.1 to 1_800, got "nan"'),
        ("AGENTCOM_POLICY_BATCH", "1.5", 'policy.batch: expected a whole number from 1 to 10_000, got "1.5"'),
        ("AGENTCOM_POLICY_RETRY_DELAYS_S", "1,,2", "policy.retry_delays_s: expected 1 to 100 delays"),
        ("AGENTCOM_POOL", "Blue", "pool: expected 1 to 40 lower-case letters"),
        ("AGENTCOM_DATA_DIR", "a\udcff\n", "data_dir: expected a path in at most 4096 characters"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(variable: str, value: str, expected: str) -> None:
    assert refusal(environ={variable: value}).startswith(f"{variable}: {expected}")


def test_an_unknown_variable_is_refused_even_when_it_is_empty() -> None:
    expected = "expected AGENTCOM_REDIS, AGENTCOM_POOL, AGENTCOM_DATA_DIR or AGENTCOM_POLICY_"
    message = refusal(environ={"AGENTCOM_REDSI": ""})
    assert message.startswith(f"AGENTCOM_REDSI: {expected}")
    assert message.endswith("Did you mean AGENTCOM_REDIS?")
    assert refusal(environ={"AGENTCOM_\n?": "1"}).startswith(f"AGENTCOM_\\n?: {expected}")


def test_what_only_a_repository_can_say_has_no_variable_and_no_flag() -> None:
    message = refusal(environ={"AGENTCOM_CHECKS_COMMANDS": '["make test"]'})
    assert message.startswith("AGENTCOM_CHECKS_COMMANDS: expected ")
    assert message.endswith("[checks] is read from the agentcom.toml of the repository that is worked on: put it there")
    assert refusal(overrides={"checks.commands": "x"}).startswith('--commands: "checks.commands": expected a setting, ')


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("pol", "x", "--pol: pol: expected a setting, but there is none of that name. Did you mean pool?"),
        ("policy", "x", "--policy: policy: expected a setting, but there is none of that name. Did you mean pool?"),
        ("nothing", 1, "--nothing: nothing: expected a setting, but there is none of that name. Known: data_dir, "),
        (
            "a.b",
            1,
            '--b: "a.b": expected a setting, policy.SETTING, alerts.SETTING, gate.SETTING or agents.NAME.SETTING',
        ),
        (
            "agents.slots",
            1,
            '--slots: "agents.slots": expected a setting, policy.SETTING, alerts.SETTING, gate.SETTING or agents.NAME',
        ),
        ("agents.Oak.slots", 1, "--slots: agents.Oak: expected the name of an agent"),
        ("agents.oak.slot", 1, "--slot: agents.oak.slot: expected a setting of agents.oak"),
        ("policy.beat_s", True, "--beat-s: policy.beat_s: expected seconds from 0.1 to 1_800, got true"),
        (
            "data_dir",
            object(),
            "--data-dir: data_dir: expected a path in at most 4096 characters, got a value of type object",
        ),
        ("agents.oak.command", "a,b", "--command: agents.oak.command: expected a program and its arguments"),
    ],
)
def test_a_wrong_flag_is_refused_by_its_name(key: str, value: object, expected: str) -> None:
    assert refusal(overrides={key: value}).startswith(expected)


def test_a_flag_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert refusal(overrides={"pool": endless}).endswith("got deeply nested values")


def test_a_wrong_value_is_refused_even_where_a_later_source_replaces_it() -> None:
    assert refusal("pool = 1", {"AGENTCOM_POOL": "blue"}).startswith(f"{FILE}: pool: ")


def test_a_path_that_would_break_the_line_is_escaped() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(("/x/\n\x1b[31m", "pool = 1"), {}, {})
    assert str(caught.value).startswith("/x/\\n\\x1b[31m: pool: ")


# Contradictions


@pytest.mark.parametrize(
    ("lines", "key", "expected"),
    [
        ("accept_s = 0.2", "accept_s", "accept_s (0.2) over accept_report_s (0.25)"),
        ("accept_report_s = 60", "accept_report_s", "accept_s (60) over accept_report_s (60)"),
        ("beat_s = 10", "beat_s", "beat_s (10) over beat_offset_s (10)"),
        ("beat_offset_s = 31", "beat_offset_s", "beat_s (30) over beat_offset_s (31)"),
        ("agent_down_s = 89", "agent_down_s", "agent_down_s (89) not under beat_s times stale_beats (90)"),
        ("stale_beats = 5", "stale_beats", "agent_down_s (120) not under beat_s times stale_beats (150)"),
        (
            "max_open_bytes = 9\nmax_text_bytes = 10",
            "max_text_bytes",
            "max_open_bytes (9) not under max_text_bytes (10)",
        ),
    ],
)
def test_policies_that_contradict_each_other_are_refused(lines: str, key: str, expected: str) -> None:
    assert refusal(f"[policy]\n{lines}") == f"{FILE}: policy.{key}: expected {expected}"


def test_a_contradiction_is_blamed_on_the_source_read_last() -> None:
    text = "[policy]\naccept_report_s = 50"
    expected = "policy.accept_s: expected accept_s (40) over accept_report_s (50)"
    assert refusal(text, {"AGENTCOM_POLICY_ACCEPT_S": "40"}) == f"AGENTCOM_POLICY_ACCEPT_S: {expected}"
    assert refusal(text, {}, {"policy.accept_s": 40}) == f"--accept-s: {expected}"


# Addresses of Redis and other secrets


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://u:secret@localhost", "one URL that starts with redis://, rediss://, unix:// or sentinel://"),
        ("u:secret@localhost", "one URL that starts with redis://, rediss://, unix:// or sentinel://"),
        ("redis:localhost", "one URL that starts with redis://, rediss://, unix:// or sentinel://"),
        ("redis://u:secret@a,b:secret", "a URL such as redis://HOST:6379/0, with reserved characters"),
        ("redis://u:secret@a,u:secret@b", "user and password once, before the first host, with @ in a password as %40"),
        ("redis://u:secret@a,redis://b", "a URL such as redis://HOST:6379/0, with reserved characters"),
        ("redis://u:secret@a,,b", "a host and a port, as in redis://HOST:6379/0, several with commas between them"),
        ("sentinel://u:secret@a,b", "the name of a service after the sentinels, as in sentinel://HOST:26379/SERVICE/0"),
        ("sentinel://u:x@a/secret@b/main", "the name of a service after the sentinels, as in sentinel://HOST:26379"),
        ("sentinel://a/main/secret", "a database number after the service, as in sentinel://HOST:26379/SERVICE/0"),
        ("sentinel://a/main?tls=secret", "true or false for the option tls"),
        ("sentinel://a/main?ssl_password=secret", "ssl_ options only with rediss://, or with sentinel:// and tls=true"),
        ("redis://h?db=secret", "a number for the option db"),
        ("redis://h?secret=1", "no other options after the ? than db, username, password, client_name"),
        ("redis://h?sentinel_password=secret", "no other options after the ? than db, username, password, client_name"),
        ("rediss://h?ssl_cert_reqs=secret", "required or optional or none for the option ssl_cert_reqs"),
        ("redis://u:secret@", "a host and a port, as in redis://HOST:6379/0"),
        ("redis://u:secret@h:0", "a host and a port, as in redis://HOST:6379/0"),
        ("redis://u:secret@h:65536", "a URL such as redis://HOST:6379/0, with reserved characters"),
        ("redis://u:secret/x@h", "a URL such as redis://HOST:6379/0, with reserved characters of a password as %XX"),
        ("redis://u:1/secret@h", "a database number after the host, as in redis://HOST:6379/0"),
        ("redis://h/0#secret", "a database number after the host, as in redis://HOST:6379/0"),
        ("redis://[secret", "a URL such as redis://HOST:6379/0, with reserved characters"),
        ("redis://u:secret @h", "a URL without spaces or control characters"),
        ("redis://u:secret\n@h", "a URL without spaces or control characters"),
        ("unix://secret/redis.sock", "the full path of a socket, as in unix:///run/redis.sock"),
        ("unix:///redis#secret", "the full path of a socket, as in unix:///run/redis.sock"),
        ("unix://", "the full path of a socket, as in unix:///run/redis.sock"),
        ("redis://secret" + "x" * 5_000, "a URL in at most 4096 characters"),
    ],
)
def test_any_other_address_is_refused_without_repeating_it(url: str, expected: str) -> None:
    message = refusal(environ={"AGENTCOM_REDIS": url})
    assert message.startswith(f"AGENTCOM_REDIS: redis: expected {expected}")
    assert "secret" not in message


def test_a_refusal_does_not_repeat_the_secrets_of_an_agent() -> None:
    assert "secret" not in refusal('[agents.oak]\nenv = { API_KEY = "secret", B = 1 }')
    assert "secret" not in refusal('[agents.oak]\ncommand = ["redis://u:secret@h", 1]')
