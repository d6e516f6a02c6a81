"""How a person reads and writes times, sizes, counts and text that others wrote.

Everything is in plain English and free of locale: the same input gives the same words on every machine.
"""

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from unicodedata import east_asian_width

LONGEST_S = 10_000 * 86_400
"""The longest duration a person may give, in seconds: more is a slip, and would overflow later on."""

AMOUNT_MAX = 10**12
USD_MAX = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SECONDS = re.compile(_NUMBER)
_AMOUNT = re.compile(r"([0-9][0-9_]{0,18}(?:\.[0-9]{1,9})?)([kM]?)", re.IGNORECASE)
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
_USD = re.compile(r"\$?([0-9]{1,12}(?:\.[0-9]{1,9})?)")
_DURATION = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in _UNITS_S))

# A sequence's payload ends at the next control character. So a sequence that was never ended loses only its
# introducer and can't hide the text after it, and the search stays linear whatever is thrown at it.
_PAYLOAD = r"[^\x00-\x1f\x7f-\x9f]*"
_UNSEEN = "|".join(
    (
        r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]",  # CSI: colours, cursor movement
        rf"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]){_PAYLOAD}(?:\x07|\x1b\\|\x9c)",  # OSC, DCS, SOS, PM, APC
        r"\x1b[ -/]*[0-~]",  # all other escape sequences
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f]",  # C0 but for \t and \n, DEL, C1
        r"[\u2028\u2029\u202a-\u202e\u2066-\u2069]",  # line separators, text direction
        r"[\ud800-\udfff]",  # lone surrogates, which no encoding takes
    )
)
_UNSEEN_PATTERN = re.compile(_UNSEEN)


def age(seconds: float) -> str:
    """A length of time, rounded down: 0.4s, 12s, 90s, 3m, 1h05m, 2d4h.

    Seconds are shown up to two minutes, as minutes alone would hide up to half of it. A negative
    length, which comes of two machines' clocks, is 0s.
    """
    if seconds < 1:
        return f"{int(max(seconds, 0) * 10) / 10:g}s"
    whole_s = int(seconds)
    if whole_s < 120:
        return f"{whole_s}s"
    minutes = whole_s // 60
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours}h" if hours else f"{days}d"


def clock(at_ms: int, now_ms: int, utc_offset_s: int) -> str:
    """A time at an offset from UTC: 12:04:31 today, Tue 12:04 within six days, else 2026-11-02 12:04.

    A time outside the years 1 to 9999, which only a broken clock tells, is shown as a question mark.
    Raises ValueError for an offset of a day or more.
    """
    zone = timezone(timedelta(seconds=utc_offset_s))
    try:
        at = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
        now = (_EPOCH + timedelta(milliseconds=now_ms)).astimezone(zone)
    except OverflowError:
        return "?"
    days_apart = abs((at.date() - now.date()).days)
    if days_apart == 0:
        return f"{at:%H:%M:%S}"
    if days_apart < 7:
        return f"{_WEEKDAYS[at.weekday()]} {at:%H:%M}"
    return f"{at.year:04}-{at:%m-%d %H:%M}"


def utc_time(at_ms: int) -> str:
    """The time of day, as in `14:05 UTC`; a question mark for a time that only a broken clock tells."""
    try:
        return f"{_EPOCH + timedelta(milliseconds=at_ms):%H:%M} UTC"
    except OverflowError:
        return "?"


def ago(at_ms: int, now_ms: int) -> str:
    """How far a time lies from now: `3m ago`, `in 20s`, and `now` for less than a second either way."""
    past_ms = now_ms - at_ms
    if abs(past_ms) < 1000:
        return "now"
    return f"{age(past_ms / 1000)} ago" if past_ms > 0 else f"in {age(-past_ms / 1000)}"


def size(length_bytes: int) -> str:
    """A number of bytes in two or three digits, in powers of 1000: 640 B, 1.4 kB, 27 MB."""
    return _scaled(length_bytes, (" B", " kB", " MB", " GB", " TB"))


def compact(number: int) -> str:
    """A number in two or three digits: 640, 1.4k, 27M."""
    return _scaled(number, ("", "k", "M", "G", "T"))


def _scaled(number: int, units: Sequence[str]) -> str:
    """In powers of 1000, each with its unit."""
    if number < 1000:
        return f"{number}{units[0]}"
    value, unit = number / 1000, units[1]
    for larger in units[2:]:
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def count(number: int, noun: str, plural: str = "") -> str:
    """A number of things: `1 agent`, `0 agents`, `12,000 tasks`. Give the `plural` that is not noun and s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def dollars(usd: float) -> str:
    """An amount of money; empty for none, and with more digits where there is little."""
    if not usd:
        return ""
    return f"${usd:,.2f}" if usd >= 0.01 else f"${usd:.4f}"


def parse_duration(text: str) -> float:
    """The seconds a person meant by 90, 90s, 20m, 1h30m, 2d or 1.5h. A bare number is seconds.

    Raises ValueError with one line that names what was expected, also for more than `LONGEST_S`.
    """
    written = text.strip().lower()
    if _SECONDS.fullmatch(written):
        seconds = float(written)
    else:
        match = _DURATION.fullmatch(written)
        if match is None or not any(match.groups()):
            raise ValueError(f"expected a duration such as 90s, 20m, 1h30m, 1.5h or 2d, not '{one_line(text, 40)}'")
        parts = zip(match.groups(default="0"), _UNITS_S.values(), strict=True)
        seconds = sum(float(number) * unit_s for number, unit_s in parts)
    if seconds > LONGEST_S:
        raise ValueError(f"expected a duration of at most {age(LONGEST_S)}, not '{one_line(text, 40)}'")
    return seconds


def parse_amount(text: str) -> int:
    """The number a person meant by 5000, 5_000, 200k or 1.5M.

    Raises ValueError with one line that names what was expected, also for what is no whole number from 1 to 10^12.
    """
    match = _AMOUNT.fullmatch(text.strip())
    amount = Decimal(match[1].replace("_", "")) * _THOUSANDS[match[2].lower()] if match else Decimal()
    if not 1 <= amount <= AMOUNT_MAX or amount != int(amount):
        raise ValueError(f"expected a number such as 5000, 200k or 1.5M, not '{one_line(text, 40)}'")
    return int(amount)


def parse_usd(text: str) -> float:
    """The dollars a person meant by 2, $2 or 2.50.

    Raises ValueError with one line that names what was expected, also for nothing at all and for over $1,000,000.
    """
    match = _USD.fullmatch(text.strip())
    usd = float(match[1]) if match else 0.0
    if not 0 < usd <= USD_MAX:
        raise ValueError(f"expected dollars such as 2, $2 or 2.50, not '{one_line(text, 40)}'")
    return usd


def parse_command(text: str) -> list[str]:
    """A program and its arguments, split as a shell would; it is never given to one.

    Raises ValueError with one line that names what was expected.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if not words or not words[0] or "\0" in text:
        told = "expected a program and its arguments, with every quote closed"
        raise ValueError(f"{told}, not '{one_line(text, 60)}'")
    return words


def clean(text: str, *, keep_lines: bool = False) -> str:
    """Text from others, made safe to print: it can't move the cursor, recolour, reorder or set the title.

    Takes out escape sequences, control characters (C0, DEL, C1), bidirectional overrides and isolates, line
    separators and lone surrogates. Line feeds and tabs are kept with `keep_lines`, else each becomes a space.
    """
    seen = _UNSEEN_PATTERN.sub("", text)
    return seen if keep_lines else seen.replace("\n", " ").replace("\t", " ")


def one_line(text: str, width: int) -> str:
    """Clean text on one line, no wider than `width` terminal cells; what is cut off ends in an ellipsis.

    Runs of white space become one space. A wide character counts as two cells and every other as one, which
    overrates combining marks and joined emoji: a line may come out narrower than it could, never wider.
    """
    line = " ".join(clean(text).split())
    used, cut_at = 0, 0
    for at, character in enumerate(line):
        used += 2 if east_asian_width(character) in "WF" else 1
        if used > width:
            return line[:cut_at].rstrip() + "…" if width > 0 else ""
        if used < width:
            cut_at = at + 1
    return line
