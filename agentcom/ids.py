"""Identifiers: UUIDv7 (RFC 9562) for tasks and requests, nonces for attempts, and short forms to type.

A UUIDv7 starts with the time it was made, so ids sort by age; ids made close together share their first
digits. That is why the short form shows the *end* of an id, which is random: `tk-9f21c4`. Wherever a person
names a task, `find` takes all of these, in upper or lower case:

    01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4    the id
    01934a7e6f107c3a9b540e6d7c9f21c4        the id without hyphens
    01934a7e-6f                             how it starts, 4 digits or more
    tk-9f21c4, 9f21c4, tk-9f21, 9f21        the short form, 4 digits of its beginning or more
    21c4, 6d7c9f21c4                        how it ends, 4 digits or more

Nothing here reads a clock or a random source: the caller passes them in (`os.urandom` is a fitting source).
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable

RandomBytes = Callable[[int], bytes]
"""Given a number, returns that many random bytes."""

SHORT_MARK = "tk-"
SHORT_DIGITS = 6
MIN_DIGITS = 4
"""A person has to give at least this many digits: fewer match too much to be meant."""

_COUNTER_BITS = 12
_TIME_BITS = 48
_TAIL_BITS = 62
_ALL_DIGITS = 32
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id(now_ms: int, random_bytes: RandomBytes) -> str:
    """A new UUIDv7 in canonical form: lower case, with hyphens.

    Ids made in the same millisecond are in no particular order; an `IdMaker` keeps them in order.
    Raises ValueError for a time before 1970 or after the year 10889, which 48 bits can't hold.
    """
    drawn = int.from_bytes(random_bytes(10))
    stamp = (now_ms << _COUNTER_BITS) | (drawn & 0xFFF)
    return _assemble(stamp, drawn >> _COUNTER_BITS)


class IdMaker:
    """Makes ids that strictly increase, even within one millisecond and when the clock is set back.

    The 12 bits after the time are a counter (RFC 9562, section 6.2, method 1), started at a random value in
    its lower half. A full counter carries into the time, as the RFC allows, and a clock set back is not
    followed: ids then run ahead of the clock until it catches up. The last 62 bits are random every time, so
    two makers don't collide. One maker belongs to one thread.
    """

    def __init__(self, clock_ms: Callable[[], int], random_bytes: RandomBytes) -> None:
        self._clock_ms = clock_ms
        self._random_bytes = random_bytes
        self._last_stamp = -1 << (_TIME_BITS + _COUNTER_BITS)

    def make(self) -> str:
        """The next id. Raises ValueError as `new_id` does."""
        drawn = int.from_bytes(self._random_bytes(10))
        fresh_stamp = (self._clock_ms() << _COUNTER_BITS) | (drawn & 0x7FF)
        stamp = max(fresh_stamp, self._last_stamp + 1)
        made = _assemble(stamp, drawn >> _COUNTER_BITS)
        self._last_stamp = stamp
        return made


def _assemble(stamp: int, tail: int) -> str:
    """Lays out an id from its stamp (48 bits of time, 12 of counter) and the low 62 bits of `tail`."""
    if not 0 <= stamp < 1 << (_TIME_BITS + _COUNTER_BITS):
        raise ValueError(f"the time of an id must fit 48 bits, not be {stamp >> _COUNTER_BITS} ms")
    time, counter = stamp >> _COUNTER_BITS, stamp & 0xFFF
    number = (time << 80) | (0x7 << 76) | (counter << 64) | (0b10 << 62) | (tail & ((1 << _TAIL_BITS) - 1))
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def nonce(random_bytes: RandomBytes) -> str:
    """Sixteen random hex digits: the part of an attempt's token that can't be guessed."""
    return random_bytes(8).hex()


def is_id(text: str) -> bool:
    """Whether `text` is a UUIDv7 in canonical form, the only spelling that may become part of a key."""
    return _ID.fullmatch(text) is not None


def made_at(full: str) -> int:
    """When the id was made, in Unix ms, by its maker's clock. Raises ValueError for what is not an id."""
    if not is_id(full):
        raise ValueError(f"expected a UUIDv7 such as 01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4, not {full[:40]!r}")
    return int(full[:8] + full[9:13], 16)


def short(full: str) -> str:
    """The short form of one id, of fixed length. For many use `shorten`, which never shows two alike."""
    return SHORT_MARK + full[-SHORT_DIGITS:]


def shorten(ids: Collection[str]) -> dict[str, str]:
    """The short form of each id, with as many more digits as tell apart those that end alike."""
    shown: dict[str, str] = {}
    left = {full: full.replace("-", "") for full in ids}
    digits = SHORT_DIGITS
    while left and digits <= _ALL_DIGITS:
        seen = Counter(bare[-digits:] for bare in left.values())
        for full, bare in list(left.items()):
            if seen[bare[-digits:]] == 1:
                shown[full] = SHORT_MARK + bare[-digits:]
                del left[full]
        digits += 1
    return {full: shown.get(full, full) for full in ids}


def matches(text: str, full: str) -> bool:
    """Whether what a person typed can mean this id: see the table at the top of this module."""
    asked = text.strip().lower()
    ending = asked.removeprefix(SHORT_MARK)
    if len(ending.replace("-", "")) < MIN_DIGITS:
        return False
    bare = full.replace("-", "")
    if bare.endswith(ending) or bare[-SHORT_DIGITS:].startswith(ending):
        return True
    return full.startswith(asked) or bare.startswith(asked)


def find(text: str, ids: Iterable[str]) -> list[str]:
    """All of `ids` that `text` can mean, in their order. Only exactly one is an answer."""
    return [full for full in ids if matches(text, full)]
