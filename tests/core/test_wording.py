"""How times, sizes and the text of others are shown, and how durations are read."""

import re
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.wording import (
    LONGEST_S,
    age,
    ago,
    clean,
    clock,
    count,
    one_line,
    parse_amount,
    parse_command,
    parse_duration,
    parse_usd,
    size,
)


def at_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW_MS = at_ms("2026-11-10 12:04:31")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "0s"),
        (0, "0s"),
        (0.04, "0s"),
        (0.4, "0.4s"),
        (0.99, "0.9s"),
        (1.9, "1s"),
        (12, "12s"),
        (90, "90s"),
        (119.9, "119s"),
        (120, "2m"),
        (239, "3m"),
        (3599, "59m"),
        (3600, "1h"),
        (3900, "1h05m"),
        (86_399, "23h59m"),
        (86_400, "1d"),
        (2 * 86_400 + 4 * 3600 + 59, "2d4h"),
        (400 * 86_400, "400d"),
    ],
)
def test_an_age_is_shown_in_at_most_two_units_rounded_down(seconds, shown):
    assert age(seconds) == shown


@pytest.mark.parametrize(
    ("at", "offset_s", "shown"),
    [
        ("2026-11-10 12:04:31", 0, "12:04:31"),
        ("2026-11-10 00:00:00", 0, "00:00:00"),
        ("2026-11-09 23:59:59", 0, "Mon 23:59"),
        ("2026-11-09 23:59:59", 3600, "00:59:59"),
        ("2026-11-10 00:00:00", -3600, "Mon 23:00"),
        ("2026-11-04 12:04:31", 0, "Wed 12:04"),
        ("2026-11-03 23:04:31", 0, "2026-11-03 23:04"),
        ("2026-11-12 09:00:00", 0, "Thu 09:00"),
        ("2026-11-17 09:00:00", 0, "2026-11-17 09:00"),
        ("0800-01-02 09:00:00", 0, "0800-01-02 09:00"),
    ],
)
def test_a_time_is_shown_with_as_much_date_as_tells_it_apart(at, offset_s, shown):
    assert clock(at_ms(at), NOW_MS, offset_s) == shown


@pytest.mark.parametrize("broken_ms", [10**15, 10**30, -(10**15), at_ms("0001-01-01 00:00:00")])
def test_a_time_beyond_the_calendar_is_a_question_mark(broken_ms):
    assert clock(broken_ms, NOW_MS, -3600) == "?"


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (NOW_MS, "now"),
        (NOW_MS - 999, "now"),
        (NOW_MS + 999, "now"),
        (NOW_MS - 1000, "1s ago"),
        (NOW_MS - 180_000, "3m ago"),
        (NOW_MS + 20_000, "in 20s"),
    ],
)
def test_a_time_is_told_by_its_distance_from_now(at, shown):
    assert ago(at, NOW_MS) == shown


@pytest.mark.parametrize(
    ("length_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1449, "1.4 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (27_300, "27 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_400_000, "1.4 MB"),
        (2_500_000_000, "2.5 GB"),
        (3 * 10**15, "3000 TB"),
    ],
)
def test_a_size_is_shown_in_powers_of_1000(length_bytes, shown):
    assert size(length_bytes) == shown


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (count(0, "agent"), "0 agents"),
        (count(1, "agent"), "1 agent"),
        (count(3, "agent"), "3 agents"),
        (count(12_000, "task"), "12,000 tasks"),
        (count(1, "retry", "retries"), "1 retry"),
        (count(2, "retry", "retries"), "2 retries"),
    ],
)
def test_a_count_agrees_with_its_noun(shown, expected):
    assert shown == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("0.5", 0.5),
        ("90s", 90),
        ("20m", 1200),
        ("1h30m", 5400),
        ("1h05m", 3900),
        ("2d", 172_800),
        ("2d4h", 187_200),
        ("1.5h", 5400),
        ("1d1h1m1s", 90_061),
        (" 20M\n", 1200),
        ("10000d", LONGEST_S),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "-5",
        "+5",
        "5x",
        "m",
        "1m1h",
        "1h1h",
        "1 h",
        "1.",
        ".5h",
        "1e3",
        "inf",
        "nan",
        "٣m",
        "1h30",
        "20\nm",
    ],
)
def test_what_is_no_duration_is_refused_in_one_line_that_shows_some(text):
    with pytest.raises(ValueError, match="expected a duration such as 90s, 20m, 1h30m") as refusal:
        parse_duration(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["10001d", "9" * 400, "9" * 5000 + "h"])
def test_a_duration_beyond_reason_is_refused(text):
    with pytest.raises(ValueError, match="at most 10000d") as refusal:
        parse_duration(text)
    assert len(str(refusal.value)) < 120


@given(st.floats(0, LONGEST_S))
def test_a_shown_age_reads_back_as_the_same_time_but_for_what_was_rounded_off(seconds):
    resolution_s = 0.1001 if seconds < 1 else 1 if seconds < 120 else 60 if seconds < 86_400 else 3600
    assert 0 <= seconds - parse_duration(age(seconds)) < resolution_s


@pytest.mark.parametrize(
    ("text", "amount"),
    [("5000", 5_000), ("5_000", 5_000), (" 200k ", 200_000), ("1.5M", 1_500_000), ("1m", 1_000_000), ("1", 1)],
)
def test_an_amount_is_read(text, amount):
    assert parse_amount(text) == amount


@pytest.mark.parametrize("unit", ["k", "M"])
def test_every_amount_with_one_decimal_is_read(unit):
    thousand = {"k": 1_000, "M": 1_000_000}[unit]
    assert [parse_amount(f"{tenths // 10}.{tenths % 10}{unit}") for tenths in range(1, 10_000)] == [
        tenths * thousand // 10 for tenths in range(1, 10_000)
    ]


@pytest.mark.parametrize("text", ["", "k", "-1", "0", "1.5", "2e3", "5 000", "1,000", "9" * 20, "1G", "0.0001k", "½"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match=re.escape("expected a number such as 5000, 200k or 1.5M, not")):
        parse_amount(text)


@pytest.mark.parametrize(("text", "usd"), [("2", 2.0), ("$2", 2.0), (" $2.50", 2.5), ("0.001", 0.001)])
def test_dollars_are_read(text, usd):
    assert parse_usd(text) == usd


@pytest.mark.parametrize("text", ["", "$", "0", "-2", "2€", "1,5", "1e3", "$$2", "1000001", "9" * 400])
def test_what_is_no_money_is_refused(text):
    with pytest.raises(ValueError, match=re.escape("expected dollars such as 2, $2 or 2.50, not")):
        parse_usd(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("make test", ["make", "test"]),
        ("sh -c 'a && b'", ["sh", "-c", "a && b"]),
        ('echo "$(touch pwned)" ; ls', ["echo", "$(touch pwned)", ";", "ls"]),
    ],
)
def test_a_command_is_split_and_nothing_in_it_is_obeyed(text, words):
    assert parse_command(text) == words


@pytest.mark.parametrize("text", ["", " \n", "echo 'a", 'a "', "a\0b", "'' x", "a\\"])
def test_what_is_no_command_is_refused(text):
    with pytest.raises(ValueError, match="expected a program and its arguments"):
        parse_command(text)


@given(st.text())
def test_reading_a_command_an_amount_or_money_answers_or_raises_one_line(text):
    for read in (parse_command, parse_amount, parse_usd):
        told = ""
        try:
            assert read(text)
        except ValueError as error:
            told = str(error)
        assert "\n" not in told


@given(st.text())
def test_reading_a_duration_gives_seconds_or_a_value_error(text):
    try:
        seconds, lines = parse_duration(text), 1
    except ValueError as refusal:
        seconds, lines = 0, len(str(refusal).splitlines())
    assert 0 <= seconds <= LONGEST_S
    assert lines == 1


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain text, ünïcode 漢字 👍🏽", "plain text, ünïcode 漢字 👍🏽"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1b(Bset\x1bc", "set"),
        ("\x1b\x1b[0m[31mnested", "[31mnested"),
        ("\x1b]0;never ended", "0;never ended"),
        ("\x1b[12", "12"),
        ("lone\x1b", "lone"),
        ("a\x00\x07\x08\x0b\x0c\r\x7f\x85b", "ab"),
        ("safe\u202egnp.exe\u2066\u2069\u2028", "safegnp.exe"),
        ("half \ud83d pair", "half  pair"),
        ("one\ntwo\tthree", "one two three"),
    ],
)
def test_cleaning_takes_out_what_a_terminal_would_obey(text, cleaned):
    assert clean(text) == cleaned


def test_cleaning_can_keep_lines_and_tabs():
    assert clean("one\r\n\ttwo\x1b[0m", keep_lines=True) == "one\n\ttwo"


ANY_TEXT = st.text(st.characters(), max_size=60) | st.text("\x1b\x9b\x9d\x07\\[]P;01mA \n\t\r\u202e\ud800", max_size=60)
FORBIDDEN = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029}


@given(ANY_TEXT, st.booleans())
def test_clean_text_has_no_control_characters_and_can_be_encoded(text, keep_lines):
    cleaned = clean(text, keep_lines=keep_lines)
    kept = "\n\t" if keep_lines else ""
    assert not [c for c in cleaned if c not in kept and unicodedata.category(c) in ("Cc", "Cs")]
    assert not FORBIDDEN & set(map(ord, cleaned))
    assert clean(cleaned, keep_lines=keep_lines) == cleaned
    cleaned.encode()


@pytest.mark.parametrize("piece", ["\x1b]", "\x9d", "\x1b[", "\x1b[0;", "\x1b(", "\x1bP0", "\x9d0\n"])
def test_cleaning_a_megabyte_of_unfinished_sequences_takes_no_time_to_speak_of(piece):
    # Were it quadratic, this would take minutes.
    text = piece * (1_000_000 // len(piece))
    assert "\x1b" not in clean(text)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("exactly ten", 10, "exactly t…"),
        ("two\n\n  lines\there", 40, "two lines here"),
        ("  \n ", 10, ""),
        ("cut at space", 5, "cut…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
        ("\x1b[31mred", 3, "red"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", 0, ""),
    ],
)
def test_one_line_fits_its_width(text, width, shown):
    assert one_line(text, width) == shown


@given(ANY_TEXT, st.integers(0, 30))
def test_one_line_is_one_line_and_never_wider_than_asked(text, width):
    line = one_line(text, width)
    assert len(line.splitlines()) <= 1
    assert sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) <= width
