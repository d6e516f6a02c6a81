"""Units of systemd as text: what they promise, and that systemd reads back what was meant."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentcom.errors import ConfigurationError, UsageError
from agentcom.settings import Loaded, Policy, load
from agentcom.supervisor import unit_syntax as syntax
from agentcom.supervisor.incidents import incident_of
from agentcom.supervisor.plan import Installation, plan
from agentcom.supervisor.systemd import steps
from agentcom.supervisor.unit_state import state_of
from agentcom.supervisor.units import Service, Surroundings, alert_text, alert_unit, service_text, stop_limit_s

POLICY = Policy(drain_s=40, grace_s=12.5)
HERE = Surroundings(argv=("/opt/py", "-m", "agentcom"), working_dir="/srv/pool")
MACHINE = replace(HERE, system=True, user="build", writable=("/home/build", "/srv/my pool"))

AT = Installation(
    python="/opt/py",
    config="/srv/agentcom.toml",
    working_dir="/srv",
    data_dir="/home/build/.local/state/agentcom/default",
    units="/units",
    secrets="/secrets",
    system=True,
    user="build",
    home="/home/build",
    environ={},
)


def settings_of(unit: str) -> dict[str, list[str]]:
    """Every value of every setting, by section and name; comments left out."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(f"{section}.{name}", []).append(value)
    return found


def scheduler(around: Surroundings = HERE, policy: Policy = POLICY) -> dict[str, list[str]]:
    return settings_of(service_text(Service("scheduler", "default"), around, policy))


def sidecar(around: Surroundings = HERE, policy: Policy = POLICY) -> dict[str, list[str]]:
    return settings_of(service_text(Service("sidecar", "default", "oak"), around, policy))


# ------------------------------------------------------------ what is promised


@pytest.mark.parametrize("unit", [scheduler(), sidecar(), scheduler(MACHINE), sidecar(MACHINE)])
def test_a_crash_is_followed_by_a_restart_five_times_in_ten_minutes(unit: dict[str, list[str]]) -> None:
    assert unit["Service.Restart"] == ["on-failure"]
    assert unit["Unit.StartLimitIntervalSec"] == ["600"]
    assert unit["Unit.StartLimitBurst"] == ["5"]
    assert unit["Service.RestartPreventExitStatus"] == ["78"]


@pytest.mark.parametrize("unit", [scheduler(), sidecar(), scheduler(MACHINE), sidecar(MACHINE)])
def test_from_a_freeze_to_the_restart_it_takes_under_a_minute(unit: dict[str, list[str]]) -> None:
    assert unit["Service.Type"] == ["notify"]
    assert unit["Service.NotifyAccess"] == ["main"]
    longest_s = sum(int(unit[f"Service.{name}"][0]) for name in ("WatchdogSec", "TimeoutAbortSec", "RestartSec"))
    assert longest_s < 60


@pytest.mark.pitfall_3
def test_a_restart_of_a_sidecar_spares_its_agent_and_that_of_a_scheduler_leaves_nothing_behind() -> None:
    assert sidecar()["Service.KillMode"] == ["process"]
    assert sidecar()["Service.RestartKillSignal"] == ["SIGHUP"]
    function = Service("sidecar", "default", "oak", in_process=True)
    assert "Service.RestartKillSignal" not in settings_of(service_text(function, HERE, POLICY)), "it would die with it"
    assert sidecar()["Service.OOMPolicy"] == ["continue"]
    assert scheduler()["Service.KillMode"] == ["mixed"]


@pytest.mark.parametrize("unit", [scheduler(), sidecar()])
def test_systemd_is_more_patient_than_the_policy(unit: dict[str, list[str]]) -> None:
    assert unit["Service.KillSignal"] == ["SIGTERM"]
    assert float(unit["Service.TimeoutStopSec"][0]) == stop_limit_s(POLICY) > POLICY.drain_s + POLICY.grace_s


def test_a_scheduler_is_confined_more_than_a_sidecar_since_agents_run_with_what_the_sidecar_has() -> None:
    assert sidecar(MACHINE).keys() - scheduler(MACHINE).keys() == {"Service.OOMPolicy", "Service.RestartKillSignal"}
    only = scheduler(MACHINE).keys() - sidecar(MACHINE).keys()
    assert {"Service.SystemCallFilter", "Service.RestrictNamespaces", "Service.PrivateDevices"} <= only
    for unit in (scheduler(MACHINE), sidecar(MACHINE), scheduler(), sidecar()):
        assert unit["Service.NoNewPrivileges"] == ["yes"]


def test_agents_may_write_where_they_must_and_nowhere_else() -> None:
    unit = sidecar(MACHINE)
    assert unit["Service.ProtectSystem"] == ["strict"]
    assert unit["Service.ReadWritePaths"] == ["-/home/build -'/srv/my pool' /tmp /var/tmp"]
    assert "Service.PrivateTmp" not in unit  # it would vanish with the sidecar, under an agent that is still at work


def test_units_of_a_user_need_no_namespace_of_the_kernel() -> None:
    for unit in (scheduler(), sidecar()):
        assert not [name for name in unit if re.search("Protect|ReadWritePaths|Private|User$|Capability", name)]


def test_a_private_tmp_is_left_out_where_it_would_hide_what_is_needed() -> None:
    assert "Service.PrivateTmp" in scheduler(MACHINE)
    assert "Service.PrivateTmp" not in scheduler(replace(MACHINE, private_tmp=False))


def test_each_unit_names_the_alert_unit_of_its_pool() -> None:
    assert scheduler()["Unit.OnFailure"] == ["agentcom-alert@%N.service"]
    other = settings_of(service_text(Service("sidecar", "night", "oak"), HERE, POLICY))
    assert other["Unit.OnFailure"] == ["agentcom_night_alert@%N.service"]
    assert alert_unit("night") == "agentcom_night_alert@.service"
    alert = settings_of(alert_text("night", HERE))
    assert alert["Service.ExecStart"] == ["/opt/py -m agentcom service failed --user %i"]
    assert "Install.WantedBy" not in str(alert)


def test_units_start_with_the_machine_or_with_the_session() -> None:
    assert scheduler(MACHINE)["Install.WantedBy"] == ["multi-user.target"]
    assert scheduler()["Install.WantedBy"] == ["default.target"]
    assert scheduler(MACHINE)["Service.User"] == ["build"]


parts = st.sampled_from(["scheduler", "sidecar", "default", "alert", "a", "b"])
names = st.lists(parts, min_size=1, max_size=4).flatmap(
    lambda some: st.sampled_from("-_.").map(lambda by: by.join(some))
)
pools = st.lists(parts, min_size=1, max_size=3).map("-".join)
services = st.one_of(
    st.builds(Service, st.just("scheduler"), pools),
    st.builds(Service, st.just("sidecar"), pools | st.just("default"), names),
)


@given(services, services)
def test_no_two_services_share_a_unit(one: Service, other: Service) -> None:
    assert (one.unit == other.unit) == (one == other)


def test_the_names_that_would_be_easiest_to_mix_up_differ() -> None:
    found = {
        Service("sidecar", "default", "b_sidecar-c").unit,
        Service("sidecar", "b", "c").unit,
        Service("sidecar", "b", "c_sidecar-d").unit,
        Service("sidecar", "b-sidecar", "c").unit,
        Service("scheduler", "default").unit,
        Service("sidecar", "default", "scheduler").unit,
        Service("scheduler", "sidecar").unit,
    }
    assert len(found) == 7


# --------------------------------------------------------- what systemd reads


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


def words_of(value: str, *, escapes: bool = True) -> list[str]:
    """How systemd splits a value into words, by the rules of systemd.syntax(7), and expands specifiers."""
    words: list[str] = []
    at, quote, word, started = 0, "", "", False
    while at < len(value):
        character = value[at]
        if quote and character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, started = character, True
        elif not quote and character == " ":
            words += [word] if started else []
            word, started = "", False
        elif character == "\\" and escapes:
            at += 1
            if value[at] == "x":
                word += chr(int(value[at + 1 : at + 3], 16))
                at += 2
            else:
                word += ESCAPES[value[at]]
            started = True
        else:
            word, started = word + character, True
        at += 1
    assert not quote
    return [without_specifiers(one) for one in ([*words, word] if started else words)]


def without_specifiers(text: str) -> str:
    assert "%" not in text.replace("%%", ""), "a specifier that systemd would expand"
    return text.replace("%%", "%")


def command_of(value: str) -> list[str]:
    first, *others = words_of(value)
    if first.startswith(":"):
        return [first[1:], *others]
    assert "$" not in value, "a variable that systemd would expand"
    return [first, *others]


anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
nasty = st.text(st.sampled_from(" %$'\"\\;#~-n\tx"))


@given(st.lists(anything | nasty))
@example([" ; "])
@example([";"])
def test_systemd_reads_back_every_argument(arguments: list[str]) -> None:
    line = syntax.command_line(["/opt/a b", *arguments])
    assert "\n" not in line
    assert "\r" not in line
    assert command_of(line) == ["/opt/a b", *arguments]
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
    assert " ; " not in f"{bare} "  # a word of its own would begin another command; within quotes it does not


@pytest.mark.parametrize("python", ["/a'b/python", '/a"b/python', "/a\\b/python", "/a\nb/python"])
def test_a_program_that_systemd_would_not_start_is_refused(python: str) -> None:
    with pytest.raises(ConfigurationError, match="systemd does not take"):
        syntax.command_line([python])


@given(printable | nasty)
def test_systemd_reads_back_every_variable(value: str) -> None:
    assert words_of(syntax.assignment("NAME", value)) == [f"NAME={value}"]


@given((printable | nasty).filter(lambda text: "\t" not in text))
def test_systemd_reads_back_every_path_of_a_list(path: str) -> None:
    assert words_of(f"-{syntax.path_in_list('/' + path)} /tmp", escapes=False) == [f"-/{path}", "/tmp"]


@given((printable | nasty).filter(lambda text: "\t" not in text))
def test_systemd_reads_back_a_path_that_stands_alone(path: str) -> None:
    value = syntax.path("/" + path)
    assert value == value.rstrip(" ")
    assert not value.endswith("\\")  # the next line would go on with this one
    assert without_specifiers(value).removesuffix("/") == ("/" + path).removesuffix("/")


def environment_in(text: str) -> dict[str, str]:
    """How systemd reads a file of `NAME="value"`."""
    found = re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"\n', text, re.MULTILINE | re.DOTALL)
    assert "".join(f'{name}="{value}"\n' for name, value in found) == text
    return {name: re.sub(r'\\(["\\`$])', r"\1", value) for name, value in found}


@given(printable | nasty | st.just("two\nlines"))
def test_systemd_reads_back_a_secret(value: str) -> None:
    assert environment_in(syntax.environment_file({"A": value, "B": "b"})) == {"A": value, "B": "b"}


@pytest.mark.parametrize("path", ["/a\nb", "/a\x1bb", "/a\tb", "/a\udcff"])
def test_a_path_that_systemd_cannot_be_told_is_refused(path: str) -> None:
    for write in (syntax.path, syntax.path_in_list, syntax.glob):
        with pytest.raises(ConfigurationError):
            write(path)


def test_a_variable_that_systemd_would_ignore_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the variable TOKEN"):
        syntax.environment_file({"TOKEN": "a\x1bb"})


def test_a_file_with_secrets_is_the_one_that_is_meant() -> None:
    assert syntax.glob("/home/a*b?[c]/x.env") == r"/home/a\*b\?\[c]/x.env"


# ---------------------------------------------------------------------- plans


def loaded(text: str = "", environ: dict[str, str] | None = None, **flags: str) -> Loaded:
    return load(("/srv/agentcom.toml", text), environ or {}, flags)


OAK = '[agents.oak]\ncommand = ["claude"]\nworkspace = "work"\nenv_pass = ["PATH", "API_KEY", "OTHER"]\n'
SECRET = "rediss://me:hunter2@redis.example/0"


def test_a_password_never_gets_into_a_unit_or_onto_a_command_line() -> None:
    done = plan(Service("scheduler", "default"), loaded(redis=SECRET), AT)
    for unit, secrets in (done.files, done.shared):
        assert "hunter2" not in unit.text
        assert unit.mode == 0o644
        assert (secrets.mode, secrets.text) == (0o600, f'AGENTCOM_REDIS="{SECRET}"\n')
        assert settings_of(unit.text)["Service.EnvironmentFile"] == [secrets.path]


def test_what_the_settings_file_says_is_left_to_it() -> None:
    done = plan(Service("scheduler", "default"), loaded(f'redis = "{SECRET}"\n[policy]\nbeat_s = 20'), AT)
    (unit,) = done.files
    assert "AGENTCOM_" not in unit.text


def test_settings_from_elsewhere_go_along() -> None:
    environ = {"AGENTCOM_POLICY_BEAT_S": "20", "AGENTCOM_REDIS": "redis://10.0.0.5", "PATH": "/bin", "NOISE": "1"}
    done = plan(Service("scheduler", "default"), loaded("", environ), replace(AT, environ=environ))
    (unit,) = done.files
    assert settings_of(unit.text)["Service.Environment"] == [
        "AGENTCOM_POLICY_BEAT_S=20",
        "AGENTCOM_REDIS=redis://10.0.0.5",
        "PATH=/bin",
        "PYTHONFAULTHANDLER=1",
    ]


def test_what_an_agent_inherits_is_kept_from_other_eyes_and_what_is_missing_is_said() -> None:
    environ = {"API_KEY": "s3cret", "PATH": "/bin"}
    done = plan(
        Service("sidecar", "default", "oak"), loaded(f'redis = "redis://h"\n{OAK}'), replace(AT, environ=environ)
    )
    unit, secrets = done.files
    assert "s3cret" not in unit.text
    assert environment_in(secrets.text) == {"API_KEY": "s3cret"}
    assert all("s3cret" not in file.text for file in done.shared)
    assert done.unset == ("OTHER",)


def test_a_sidecar_can_write_to_its_home_its_data_and_its_workspace() -> None:
    done = plan(Service("sidecar", "default", "oak"), loaded(f'redis = "redis://h"\n{OAK}'), AT)
    assert done.folders == (AT.data_dir, "/srv/work")
    written = settings_of(done.files[0].text)["Service.ReadWritePaths"]
    assert written == ["-/home/build -/home/build/.local/state/agentcom/default -/srv/work /tmp /var/tmp"]


def test_a_workspace_named_from_the_home_is_in_that_of_the_units_user() -> None:
    oak = OAK.replace('"work"', '"~/work"')
    done = plan(Service("sidecar", "default", "oak"), loaded(f'redis = "redis://h"\n{oak}'), AT)
    assert done.folders == (AT.data_dir, "/home/build/work")


def test_a_service_needs_a_redis_that_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no Redis is named"):
        plan(Service("scheduler", "default"), loaded(), AT)


def test_a_scheduler_sees_a_socket_in_tmp() -> None:
    done = plan(Service("scheduler", "default"), loaded(redis="unix:///tmp/redis.sock"), AT)
    assert "PrivateTmp" not in done.files[0].text
    elsewhere = plan(Service("scheduler", "default"), loaded(redis="unix:///run/redis.sock"), AT)
    assert "PrivateTmp=yes" in elsewhere.files[0].text


# ---------------------------------------------------------------- states


UNIT = "agentcom-scheduler.service"
ACTIVE = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running"}
FAILED = ACTIVE | {"ActiveState": "failed", "SubState": "failed", "NRestarts": "4", "InvocationID": "aa"}


def test_a_unit_that_is_in_place_and_at_work_is_left_alone() -> None:
    assert steps(UNIT, ACTIVE, changed=False) == []


def test_a_unit_is_brought_to_work_from_every_state() -> None:
    assert steps(UNIT, {"LoadState": "not-found"}, changed=True) == [("daemon-reload",), ("enable", "--now", UNIT)]
    assert steps(UNIT, ACTIVE, changed=True) == [("daemon-reload",)]
    assert steps(UNIT, FAILED, changed=False) == [("reset-failed", UNIT), ("enable", "--now", UNIT)]
    assert steps(UNIT, ACTIVE | {"UnitFileState": "disabled"}, changed=False) == [("enable", "--now", UNIT)]


def test_a_state_says_what_to_do() -> None:
    fine = state_of(UNIT, ACTIVE | {"StatusText": "at work", "NRestarts": "1"}, system=True)
    assert (fine.works, fine.words, fine.advice) == (True, "active (running), after 1 restart: at work", "")
    stopped = state_of(UNIT, {"ActiveState": "inactive"}, system=False)
    assert (stopped.works, stopped.advice) == (False, f"systemctl --user start {UNIT}")
    frozen = state_of(UNIT, FAILED | {"Result": "watchdog"}, system=True)
    assert (frozen.down, frozen.words) == (
        True,
        "down: it was frozen, and systemd has given it up, after 4 restarts",
    )
    assert f"systemctl reset-failed {UNIT} && systemctl start {UNIT}" in frozen.advice
    refused = state_of(UNIT, FAILED | {"Result": "exit-code", "ExecMainStatus": "78"}, system=True)
    assert refused.words == "down: it refuses its configuration (exit code 78)"


def test_a_unit_that_is_being_started_again_is_no_incident() -> None:
    again = FAILED | {"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}
    assert incident_of("agentcom-scheduler", again, system=True) is None
    # Newer systemd passes through this state before the one above, and starts the alert unit in it.
    before = FAILED | {"SubState": "failed-before-auto-restart"}
    assert incident_of("agentcom-scheduler", before, system=True) is None


def test_a_unit_that_was_given_up_is_one_incident_for_each_time() -> None:
    one = incident_of(
        "agentcom-scheduler.service", FAILED | {"Result": "exit-code", "ExecMainStatus": "1"}, system=True
    )
    assert one is not None
    assert (one.unit, one.id, one.title) == ("agentcom-scheduler", "aa", "agentcom-scheduler is down")
    assert "it ended with exit code 1" in one.text


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", ".hidden"])
def test_what_is_no_units_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        incident_of(name, FAILED, system=True)
