"""Ids: their layout, their order, and how a person may name one."""

import os
import random
import uuid
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.ids import IdMaker, find, is_id, made_at, matches, new_id, nonce, short, shorten

NOW_MS = 1_730_000_000_123
ID = "01934a7e-6f10-7c3a-9b54-0e6d7c9f21c4"


def seeded(seed: int):
    return random.Random(seed).randbytes


def ones(count: int) -> bytes:
    return b"\xff" * count


def zeros(count: int) -> bytes:
    return bytes(count)


@given(now_ms=st.integers(0, 2**48 - 1), seed=st.integers())
def test_an_id_is_a_version_7_uuid_that_carries_its_time(now_ms, seed):
    made = new_id(now_ms, seeded(seed))
    parsed = uuid.UUID(made)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, made)
    assert is_id(made)
    assert made_at(made) == now_ms


def test_the_layout_is_that_of_the_rfc():
    assert new_id(0x017F22E279B0, zeros) == "017f22e2-79b0-7000-8000-000000000000"
    assert new_id(0x017F22E279B0, ones) == "017f22e2-79b0-7fff-bfff-ffffffffffff"


@pytest.mark.parametrize("now_ms", [-1, 2**48])
def test_a_time_that_48_bits_cannot_hold_is_refused(now_ms):
    with pytest.raises(ValueError, match="48 bits"):
        new_id(now_ms, os.urandom)
    with pytest.raises(ValueError, match="48 bits"):
        IdMaker(lambda: now_ms, os.urandom).make()


@given(clock=st.lists(st.integers(0, 10), min_size=1, max_size=50), seed=st.integers())
def test_a_maker_strictly_increases_whatever_its_clock_does(clock, seed):
    ticks = iter(clock)
    maker = IdMaker(lambda: NOW_MS + next(ticks), seeded(seed))
    made = [maker.make() for _ in clock]
    assert all(earlier < later for earlier, later in pairwise(made))


def test_a_maker_keeps_to_its_clock_when_the_clock_moves_on():
    ticks = iter([NOW_MS, NOW_MS, NOW_MS + 5])
    maker = IdMaker(lambda: next(ticks), seeded(1))
    assert [made_at(maker.make()) for _ in range(3)] == [NOW_MS, NOW_MS, NOW_MS + 5]


def test_more_ids_than_a_millisecond_has_room_for_carry_into_the_next():
    maker = IdMaker(lambda: NOW_MS, seeded(2))
    made = [maker.make() for _ in range(5000)]
    assert made == sorted(set(made))
    assert made_at(made[2000]) == NOW_MS
    assert NOW_MS < made_at(made[-1]) <= NOW_MS + 2


def test_a_full_millisecond_has_room_for_2048_ids_at_least():
    maker = IdMaker(lambda: NOW_MS, ones)
    assert {made_at(maker.make()) for _ in range(2049)} == {NOW_MS}
    assert made_at(maker.make()) == NOW_MS + 1


def test_two_makers_at_the_same_time_make_different_ids():
    first, second = (IdMaker(lambda: NOW_MS, seeded(seed)) for seed in (3, 4))
    assert not {first.make() for _ in range(500)} & {second.make() for _ in range(500)}


def test_a_nonce_is_16_hex_digits():
    assert nonce(lambda count: bytes(range(count))) == "0001020304050607"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ID.upper(),
        ID.replace("-", ""),
        ID + "\n",
        f"{{{ID}}}",
        "01934a7e-6f10-4c3a-9b54-0e6d7c9f21c4",
        "01934a7e-6f10-7c3a-1b54-0e6d7c9f21c4",
        "01934a7e-6f10-7c3a-9b54-0e6d7c9f21cg",
        "٠1934a7e-6f10-7c3a-9b54-0e6d7c9f21c4",
    ],
)
def test_what_is_not_canonical_version_7_is_no_id(text):
    assert not is_id(text)
    with pytest.raises(ValueError, match="expected a UUIDv7"):
        made_at(text)


def test_the_short_form_is_the_end_of_the_id():
    assert short(ID) == "tk-9f21c4"


@pytest.mark.parametrize(
    "text",
    [
        ID,
        ID.upper(),
        f" {ID}\n",
        ID.replace("-", ""),
        "0193",
        "01934a7e-",
        "01934a7e-6f10-7",
        "01934a7e6f107",
        "tk-9f21c4",
        "TK-9F21C4",
        "tk-21c4",
        "9f21c4",
        "0e6d7c9f21c4",
    ],
)
def test_an_id_is_named_by_all_of_it_its_start_or_its_end(text):
    assert matches(text, ID)


@pytest.mark.parametrize(
    "text",
    ["", "tk-", "tk-1c4", "019", "0-1-9", "----", "tk-0193", "9f21c5", "4a7e", "0193-4a7e", ID + "0", "21c4-"],
)
def test_an_id_is_not_named_by_anything_else(text):
    assert not matches(text, ID)


def test_find_returns_every_id_that_could_be_meant_in_order():
    other = "01934a7e-ffff-7c3a-9b54-0e6d7c9f0193"
    assert find("01934a7e", [other, ID]) == [other, ID]
    assert find("0193", [ID, other]) == [ID, other]
    assert find("tk-0193", [ID, other]) == [other]
    assert find("9f21c4", [ID, other]) == [ID]
    assert find("tk-000000", [ID, other]) == []


def test_short_forms_grow_only_where_two_would_look_alike():
    twin = "01934a7e-6f10-7c3a-9b54-0e6d7c8f21c4"
    far_twin = "01934a7e-6f10-7c3a-9b54-0e6d009f21c4"
    alone = "01934a7e-6f10-7c3a-9b54-0e6d7caaaaaa"
    assert shorten([alone, ID, twin]) == {alone: "tk-aaaaaa", ID: "tk-9f21c4", twin: "tk-8f21c4"}
    assert shorten([ID, far_twin]) == {ID: "tk-c9f21c4", far_twin: "tk-09f21c4"}
    assert shorten([ID, ID]) == {ID: "tk-9f21c4"}
    assert shorten([]) == {}


def test_ids_that_differ_only_in_their_time_still_get_different_short_forms():
    later = "01934a7f" + ID[8:]
    shown = shorten([ID, later])
    assert shown[ID] != shown[later]


def test_two_spellings_of_one_id_are_shown_as_they_are():
    bare = ID.replace("-", "")
    assert shorten([ID, bare]) == {ID: ID, bare: bare}


@given(st.sets(st.text("ab", min_size=12, max_size=12), max_size=40))
def test_every_short_form_finds_its_own_id_and_no_other(tails):
    ids = [f"01934a7e-6f10-7000-8000-{tail}" for tail in tails]
    for full, shown in shorten(ids).items():
        assert find(shown, ids) == [full]
