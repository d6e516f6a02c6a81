"""The name of a start: a later start compares greater, whatever the clock does."""

from hypothesis import given
from hypothesis import strategies as st

from agentcom.sidecar.incarnation import next_incarnation

DAY_MS = 86_400_000
NOW = 1_700_000_000_000


def made(starts: list[str], now: int, pid: int = 7) -> str:
    return next_incarnation(starts, now, pid, lambda count: "ab" * count)


def test_it_says_when_and_by_which_process_it_was_made():
    assert made([], NOW) == "sc-1700000000000-7-abab"


def test_with_the_clock_set_back_it_still_is_newer_than_the_last():
    last = made([], NOW)
    assert made([last], NOW - DAY_MS) == "sc-1700000000001-7-abab"


@given(st.lists(st.tuples(st.integers(0, 10**12 * 9), st.integers(1, 2**22)), min_size=1, max_size=30))
def test_each_start_is_newer_than_all_before_it(times: list[tuple[int, int]]):
    starts: list[str] = []
    for now, pid in times:
        newer = made(starts, now, pid)
        assert all(newer > start for start in starts)
        starts = [*starts, newer][-20:]


def test_what_is_no_name_of_a_start_is_passed_over():
    assert made(["", "sc-", "sc-x-1", "by-hand"], NOW) == "sc-1700000000000-7-abab"
