"""What the supervisor decides and says, without a process."""

import io

import pytest

from agentcom.supervisor.output import Interleaved
from agentcom.supervisor.programs import programs_of
from agentcom.supervisor.restarts import GiveUp, Restart, decide, how_ended


@pytest.mark.pitfall_3
def test_a_program_that_fails_again_and_again_is_restarted_ever_more_slowly() -> None:
    delays, failures = [], 0
    for _ in range(9):
        decision = decide(1, 100.0, 101.0, failures)
        assert isinstance(decision, Restart)
        delays.append(decision.delay_s)
        failures = decision.failures
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_delay_stays_at_its_bound_however_long_a_program_has_been_failing() -> None:
    assert decide(1, 0.0, 1.0, 100_000) == Restart(30.0, 100_001)


@pytest.mark.parametrize(("ran_s", "expected"), [(59.9, Restart(4.0, 4)), (60.0, Restart(0.5, 1))])
def test_a_program_that_ran_for_a_minute_starts_from_the_first_delay(ran_s: float, expected: Restart) -> None:
    assert decide(-9, 1_000.0, 1_000.0 + ran_s, 3) == expected


@pytest.mark.parametrize("exit_code", [0, 1, 2, -9, -15])
@pytest.mark.pitfall_3
def test_whatever_ends_unasked_is_restarted_even_if_it_claims_success(exit_code: int) -> None:
    assert decide(exit_code, 0.0, 1.0, 0) == Restart(0.5, 1)


def test_a_program_that_refuses_its_configuration_is_not_restarted_however_long_it_ran() -> None:
    assert decide(78, 0.0, 1.0, 0) == GiveUp()
    assert decide(78, 0.0, 3_600.0, 5) == GiveUp()


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [(1, "ended with exit code 1"), (0, "ended with exit code 0"), (-9, "was ended by signal 9")],
)
def test_an_end_is_said_in_words(exit_code: int, words: str) -> None:
    assert how_ended(exit_code) == words


def test_there_is_one_scheduler_and_a_sidecar_for_each_agent_all_with_the_same_settings() -> None:
    programs = programs_of(
        {"oak": None, "ash": None},
        python="/py",
        config="/c/agentcom.toml",
        pool="p",
        data_dir="/d",
        url="unix:///d/s",
        environ={"PATH": "/bin"},
    )
    common = ("/py", "-P", "-m", "agentcom", "--config", "/c/agentcom.toml", "--pool", "p", "--data-dir", "/d")
    assert [(program.name, program.role, program.argv) for program in programs] == [
        ("scheduler", "scheduler", (*common, "scheduler")),
        ("sidecar ash", "sidecar", (*common, "sidecar", "--agent", "ash")),
        ("sidecar oak", "sidecar", (*common, "sidecar", "--agent", "oak")),
    ]


def test_the_url_is_handed_on_where_ps_does_not_show_it() -> None:
    url = "redis://user:secret@host"
    programs = programs_of(["oak"], python="p", config="", pool="p", data_dir="/d", url=url, environ={"PATH": "/bin"})
    for program in programs:
        assert program.environ == {"PATH": "/bin", "AGENTCOM_REDIS": url}
        assert not any("secret" in argument for argument in program.argv)
        assert "--config" not in program.argv


def test_lines_stand_behind_the_name_of_their_program_in_one_column() -> None:
    stream = io.StringIO()
    output = Interleaved(stream, ["up", "scheduler"], coloured=False)
    output.say("up", "ready")
    output.say("scheduler", "leading\x1b[2J")
    assert stream.getvalue() == "up        │ ready\nscheduler │ leading\n"


def test_on_a_terminal_each_name_has_a_colour_of_its_own() -> None:
    stream = io.StringIO()
    output = Interleaved(stream, ["a", "b"], coloured=True)
    for name in ("a", "b", "stranger"):
        output.say(name, "x")
    assert stream.getvalue() == "\x1b[36ma │\x1b[0m x\n\x1b[33mb │\x1b[0m x\n\x1b[2mstranger │\x1b[0m x\n"


def test_a_stream_that_was_closed_stops_nobody() -> None:
    stream = io.StringIO()
    stream.close()
    Interleaved(stream, ["up"], coloured=False).say("up", "anyone there?")
