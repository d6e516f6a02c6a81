"""What the events of a turn add up to, and how it ended."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agentcom.adapters.base import (
    DENIED_KEPT,
    Alive,
    Asks,
    Context,
    Denied,
    Did,
    Event,
    Model,
    Over,
    Prompt,
    Said,
    Session,
    Trouble,
    Turn,
    Used,
)
from agentcom.adapters.registry import BUILT_IN
from agentcom.model.task import Usage
from agentcom.settings import AgentSettings

DONE = Over(ok=True, summary="Done.")
EXITED_1 = Over(ok=False, reason="exit_code", detail="exit code 1")


def turn_of(*events: Event) -> Turn:
    turn = Turn()
    for event in events:
        turn.take(event)
    return turn


@pytest.mark.parametrize("event", [Alive(), Said("x"), Did("x"), Denied("x"), Asks("x")])
def test_what_the_agent_says_and_does_is_life(event: Event) -> None:
    assert turn_of(event).alive


@pytest.mark.parametrize(
    "event", [Session("1"), Model("m"), Used(Usage()), Context(1), Trouble("rate_limited"), EXITED_1, DONE]
)
def test_what_its_program_says_is_none(event: Event) -> None:
    assert not turn_of(event).alive


def test_what_is_known_last_holds() -> None:
    turn = turn_of(
        Session("a"), Session("b"), Model("m", "1"), Model("n"), Context(used=9, size=100), Context(used=5), Said("x")
    )
    assert (turn.session, turn.model, turn.version, turn.summary) == ("b", "n", "1", "x")
    assert (turn.context_used, turn.context_size) == (9, 100)


def test_usage_adds_up_until_a_total_takes_its_place() -> None:
    step = Used(Usage(input_tokens=10))
    assert turn_of(step, step).usage == Usage(input_tokens=20)
    total = Used(Usage(input_tokens=25, output_tokens=1), total=True)
    assert turn_of(step, step, total).usage == Usage(input_tokens=25, output_tokens=1)
    assert turn_of(step, total, step, total).usage == Usage(input_tokens=50, output_tokens=2)
    assert turn_of(total, step).usage == Usage(input_tokens=35, output_tokens=1)


def test_of_a_resumed_session_only_what_the_turn_added_counts() -> None:
    before = Usage(input_tokens=100, output_tokens=10, cost_usd=1.0)
    of_session = Usage(input_tokens=150, output_tokens=30)
    turn = turn_of(Used(of_session, total=True, session_usage=of_session, session_cost_usd=1.5))
    assert turn.added(before) == Usage(input_tokens=50, output_tokens=20, cost_usd=0.5)
    assert turn.added(Usage()) == Usage(input_tokens=150, output_tokens=30, cost_usd=1.5)


def test_a_program_that_counts_anew_after_all_is_taken_at_its_word() -> None:
    before = Usage(input_tokens=100, cost_usd=1.0)
    usage = Usage(input_tokens=40)
    turn = turn_of(Used(usage, total=True, session_usage=usage, session_cost_usd=0.4))
    assert turn.added(before) == Usage(input_tokens=40, cost_usd=0.4)


def test_a_program_that_tells_of_its_turn_alone_is_not_changed() -> None:
    usage = Usage(input_tokens=40, cost_usd=0.4)
    assert turn_of(Used(usage, total=True)).added(Usage(input_tokens=9, cost_usd=9.0)) == usage


def test_the_terminal_event_decides_whatever_the_exit_code_is() -> None:
    assert turn_of(DONE).ended(EXITED_1) == DONE


def test_an_agent_that_goes_on_after_an_end_is_not_over() -> None:
    turn = turn_of(DONE, Said("one thing more"))
    assert turn.over is None
    assert turn.ended(EXITED_1) == EXITED_1


def test_what_a_provider_refused_last_is_why_a_program_ended() -> None:
    refused = Trouble("auth_failed", "invalid key")
    assert turn_of(refused).ended(EXITED_1) == Over(False, "auth_failed", "invalid key")
    assert turn_of(refused, Alive()).ended(EXITED_1) == EXITED_1


def test_a_denied_tool_is_why_an_agent_said_nothing_more() -> None:
    assert turn_of(Denied("bash curl"), Denied("rm")).ended(EXITED_1) == Over(
        False, "permission_denied", "bash curl; rm"
    )


def test_a_denied_tool_does_not_make_a_failure_of_an_end_that_was_well() -> None:
    turn = turn_of(Denied("bash curl"), DONE)
    assert turn.ended(EXITED_1) == DONE
    assert turn.denied == ["bash curl"]


def test_the_reset_that_was_named_before_the_end_holds_for_it() -> None:
    named = Trouble("rate_limited", resets_at_s=7.0)
    assert turn_of(named, Trouble("rate_limited"), Over(False, "rate_limited", "x")).over == Over(
        False, "rate_limited", "x", resets_at_s=7.0
    )
    assert turn_of(named, Over(False, "auth_failed")).over == Over(False, "auth_failed")


def test_what_is_denied_again_and_again_is_kept_once_and_not_for_ever() -> None:
    assert turn_of(Denied("x"), Denied("x")).denied == ["x"]
    assert len(turn_of(*(Denied(str(number)) for number in range(1_000))).denied) == DENIED_KEPT


@pytest.mark.parametrize(("usd", "said"), [(0.0, ()), (0.00001, ("0.0001",)), (1.5, ("1.5000",))])
def test_what_is_left_of_a_budget_is_a_limit_however_little_it_is(usd: float, said: tuple[str, ...]) -> None:
    prompt = Prompt(text="", workspace="/w", agent="oak", usd_left=usd)
    argv = BUILT_IN["claude"].argv(prompt, AgentSettings()).argv
    assert tuple(value for name, value in pairwise(argv) if name == "--max-budget-usd") == said
