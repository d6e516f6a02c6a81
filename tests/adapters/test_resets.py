"""When a provider takes requests again, in the words of programs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.adapters.base import Over, Trouble
from agentcom.adapters.resets import resets_at_s, time_in, wait_in
from agentcom.adapters.trouble import failure

NOW = 1_795_824_000.0  # 2026-11-28 00:00 UTC, a Saturday
HOUR = 3_600.0


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone is UTC+1."""
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("message", "wait_s"),
    [
        ("Please try again in 20s", 20.0),
        ("Rate limit reached. Please try again in 1.898s.", 1.898),
        ("try again in 6m0s", 360.0),
        ("try again in 350ms", 0.35),
        ("You've hit your usage limit. Try again in 3 days 4 hours 5 minutes.", 3 * 86_400 + 4 * HOUR + 300),
        ("Retry after 30 seconds", 30.0),
        ("retry-after: 120", 120.0),
        ('"retry_after": 7', 7.0),
        ("Limit resets in about 2 hours, 5 minutes", 2 * HOUR + 300),
        ("try again later", 0.0),
        ("try again in a while", 0.0),
        ("retry-after: 5 hours", 0.0),
        ("", 0.0),
    ],
)
def test_a_wait(message: str, wait_s: float) -> None:
    assert wait_in(message) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("message", "after_s"),
    [
        ("You've hit your session limit · resets 12:50am (UTC)", 50 * 60),
        ("You've hit your limit · resets 3pm (UTC)", 15 * HOUR),
        ("resets 3pm (Europe/Berlin)", 14 * HOUR),
        ("resets 12am (UTC)", 24 * HOUR),
        ("resets 12pm (UTC)", 12 * HOUR),
        ("Weekly limit reached · resets Dec 1, 9am (UTC)", 3 * 24 * HOUR + 9 * HOUR),
        ("resets Jan 2 at 12am (UTC)", (4 + 31) * 24 * HOUR),
    ],
)
def test_a_time_of_day_with_its_zone(message: str, after_s: float) -> None:
    assert time_in(message, NOW) == NOW + after_s


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("message", "after_s"),
    [
        ("or try again at Nov 28th, 2026 12:59 AM.", -HOUR + 59 * 60),
        ("or try again at Nov 29th, 2026 12:59 AM.", 23 * HOUR + 59 * 60),
        ("Try again at 3:05 PM.", 14 * HOUR + 300),
        ("resets 3pm", 14 * HOUR),
    ],
)
def test_a_time_without_a_zone_is_the_machines_own(message: str, after_s: float) -> None:
    assert time_in(message, NOW) == NOW + after_s


@pytest.mark.parametrize(
    "message",
    ["", "resets soon", "resets 3pm (Middle/Earth)", "resets Foo 3, 1pm", "resets Feb 31, 1pm", "resets 1:99 pm"],
)
def test_what_is_no_time_is_not_known(message: str) -> None:
    assert time_in(message, NOW) == 0


def test_what_a_program_says_exactly_goes_before_its_words() -> None:
    said = "limit · resets 3pm (UTC)"
    assert resets_at_s(Over(False, "rate_limited", said, resets_after_s=5, resets_at_s=NOW + 7), NOW) == NOW + 7
    assert resets_at_s(Trouble("rate_limited", said, resets_after_s=5), NOW) == NOW + 5
    assert resets_at_s(Trouble("rate_limited", said), NOW) == NOW + 15 * HOUR
    assert resets_at_s(Trouble("rate_limited", "no"), NOW) == 0


def test_an_old_program_gives_a_stamp() -> None:
    assert failure("Claude AI usage limit reached|1795827022").resets_at_s == 1_795_827_022


@given(st.text(), st.floats(allow_nan=True))
def test_any_words_at_any_time(message: str, now_s: float) -> None:
    assert wait_in(f"try again in {message}") >= 0
    assert isinstance(time_in(f"resets {message}", now_s), float)
    assert isinstance(time_in("resets 3pm", now_s), float)
