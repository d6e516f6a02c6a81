"""What an agent says about itself: names with values, the limits on them, and how a value is written."""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

Value: TypeAlias = str | int | float | bool
Attributes: TypeAlias = Mapping[str, Value]

NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
KEYWORDS = frozenset({"and", "or", "not", "in"})
FLAGS = {"true": True, "True": True, "false": False, "False": False}
RESERVED = KEYWORDS | FLAGS.keys()

# Well inside what a float holds exactly, so that sums and differences of levels can't overflow.
LARGEST_NUMBER = 10**15
LONGEST_TEXT = 200
MOST_ATTRIBUTES = 200

# Exact types, not isinstance: bool is an int to Python, yet `gpu >= 1` of true must stay a mismatch.
NUMBERS = frozenset({int, float})
TEXTS = frozenset({str})
BOOLEANS = frozenset({bool})

_NAME = re.compile(NAME)


def types_like(value: Value) -> frozenset[type]:
    """The types an attribute may have to be compared with `value`."""
    if type(value) in NUMBERS:
        return NUMBERS
    return BOOLEANS if type(value) is bool else TEXTS


def plain_number(number: int | float) -> int | float:
    """The same number in its one spelling: an int where it is whole, so that 3.0 and 3 are written alike."""
    if isinstance(number, float) and abs(number) <= LARGEST_NUMBER and number.is_integer():
        return int(number)
    return number


def quote(value: Value) -> str:
    """`value` as the requirements language writes it; a text gets quotes only where it needs them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(plain_number(value))
    if _NAME.fullmatch(value) and value not in RESERVED:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def valid_attributes(attributes: Mapping[Any, object]) -> tuple[str, ...]:
    """The problems of an agent's attributes, one short line each, in their order; empty when they are fine.

    At most 200 attributes; a name as in the language and no reserved word; a value that is a number of
    at most 10^15 either way, true or false, or a printable text of at most 200 characters.
    """
    if len(attributes) > MOST_ATTRIBUTES:
        return (f"{len(attributes)} attributes, at most {MOST_ATTRIBUTES} are allowed",)
    problems: list[str] = []
    for name, value in attributes.items():
        problem = _problem_of_name(name) or _problem_of_value(value)
        if problem:
            problems.append(f"{_excerpt(name)}: {problem}")
    return tuple(problems)


def _problem_of_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "a name has only letters, digits, _ . - and starts with a letter or _"
    if name in RESERVED:
        return "a word of the requirements language can't be a name"
    if len(name) > LONGEST_TEXT:
        return f"a name has at most {LONGEST_TEXT} characters, not {len(name)}"
    return ""


def _problem_of_value(value: object) -> str:
    if type(value) is bool:
        return ""
    if type(value) is int or type(value) is float:
        # Written so that NaN, which compares false with everything, fails as well.
        in_range = -LARGEST_NUMBER <= value <= LARGEST_NUMBER
        return "" if in_range else "a number is between -10^15 and 10^15"
    if type(value) is not str:
        return f"a value is a number, a text, true or false, not {type(value).__name__}"
    if len(value) > LONGEST_TEXT:
        return f"a text has at most {LONGEST_TEXT} characters, not {len(value)}"
    return "" if value.isprintable() else "a text has only printable characters"


def _excerpt(name: object) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name[:40]
    # Cut before repr as well: the name may be megabytes of anything.
    return repr(name[:40])[:60] if isinstance(name, str) else f"a {type(name).__name__}"
