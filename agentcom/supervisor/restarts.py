"""What follows when a program that should run for ever has ended."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
SOUND_AFTER_S = 60.0
"""A program that ran for so long was sound: its next failure is the first again."""

EXIT_CONFIGURATION = 78


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after this delay. `failures` is how often it failed in a row, this time included."""

    delay_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It says itself that its configuration is wrong: it would only say so again."""


def decide(exit_code: int, started_s: float, ended_s: float, failures: int) -> Restart | GiveUp:
    """What to do about a program that ended although nobody asked it to, whatever its exit code claims.

    Args:
        exit_code: minus the signal's number if one ended it.
        started_s, ended_s: on one clock, in seconds.
        failures: how often it had failed in a row before.
    """
    if exit_code == EXIT_CONFIGURATION:
        return GiveUp()
    failures = 1 if ended_s - started_s >= SOUND_AFTER_S else failures + 1
    # The exponent is bounded, since after weeks of failing 2 to its power would be no float any more.
    return Restart(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 1, 10)), failures)


def how_ended(exit_code: int) -> str:
    """An exit code in words."""
    return f"was ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
