"""When a provider takes requests again, as programs write it: a wait, a stamp, or a time of day.

Please try again in 1h5m20s · retry-after: 30 · limit reached|1795827022
try again at Nov 28th, 2026 12:59 AM · resets 3pm (Europe/Berlin) · resets Oct 6, 1pm
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from agentcom.adapters.base import Over, Trouble

SAID_MAX = 2_000
"""What a program says first is what happened; what it quotes may be of any length."""

_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = (
    r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?"
    r"(days?|d|hours?|hrs?|h|minutes?|mins?|milliseconds?|ms|m|seconds?|secs?|s)(?![a-z])"
)
_WAIT = re.compile(
    rf"(?:again|retry|retrying|resets?|available) (?:in|after):? (?:about )?((?:{_PART}[, ]*(?:and )?){{1,4}})",
    re.IGNORECASE,
)
_SECONDS = re.compile(
    r"retry[-_ ]after[\"']?[:=]? ?[\"']?([0-9]{1,9}(?:\.[0-9]{1,9})?)(?![0-9.]* ?[a-z])", re.IGNORECASE
)
_STAMP = re.compile(r"limit reached\|([0-9]{10})\b")
_TIME = re.compile(
    r"(?:resets|again)(?: at)? "
    r"(?:(?P<month>[A-Z][a-z]{2})[a-z]* (?P<day>[0-9]{1,2})(?:st|nd|rd|th)?(?:,? (?P<year>[0-9]{4}))?(?:,| at)? )?"
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))? ?(?P<half>[AaPp])\.?[Mm]"
    r"(?: \((?P<zone>[A-Za-z_]+(?:/[A-Za-z_+-]+)*)\))?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def resets_at_s(refused: Over | Trouble, now_s: float) -> float:
    """When requests are taken again, as Unix time in seconds; 0 where that is not known.

    A time of day without a zone is the machine's own, which is where the program ran.
    """
    if refused.resets_at_s:
        return refused.resets_at_s
    if refused.resets_after_s:
        return now_s + refused.resets_after_s
    return time_in(refused.detail, now_s)


def wait_in(message: str) -> float:
    """How many seconds a message says to wait; 0 where it does not say."""
    wait = _WAIT.search(message[:SAID_MAX])
    if wait:
        return sum(float(number) * _unit_s(unit) for number, unit in re.findall(_PART, wait[1], re.IGNORECASE))
    seconds = _SECONDS.search(message[:SAID_MAX])
    return float(seconds[1]) if seconds else 0.0


def stamp_in(message: str) -> float:
    """The Unix time that a message gives; 0 where it gives none."""
    stamp = _STAMP.search(message[:SAID_MAX])
    return float(stamp[1]) if stamp else 0.0


def time_in(message: str, now_s: float) -> float:
    """The Unix time of the next time of day, or of the date, that a message gives; 0 where it gives none."""
    said = _TIME.search(message[:SAID_MAX])
    if said is None:
        return 0.0
    try:
        now = datetime.fromtimestamp(now_s, _zone(said["zone"]))
        return _next(said, now).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def _next(said: re.Match[str], now: datetime) -> datetime:
    hour = int(said["hour"]) % 12 + (12 if said["half"] in "pP" else 0)
    at = now.replace(hour=hour, minute=int(said["minute"] or 0), second=0, microsecond=0)
    if not said["month"]:
        return at if at > now else at + timedelta(days=1)
    at = at.replace(
        year=int(said["year"] or now.year), month=_MONTHS.index(said["month"].lower()) + 1, day=int(said["day"])
    )
    # Without its year, a date that is long past is the next one.
    return at.replace(year=at.year + 1) if not said["year"] and at < now - timedelta(days=180) else at


def _zone(name: str | None) -> tzinfo | None:
    """The zone of this name; None, which `datetime` takes for the machine's own, where there is no name.

    Raises:
        ValueError: there is no such zone; also a KeyError or an OSError of its files is made one.
    """
    if not name or name == "UTC":
        return UTC if name else None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def _unit_s(unit: str) -> float:
    unit = unit.lower()
    return _UNITS_S["ms" if unit == "ms" or unit.startswith("milli") else unit[0]]
