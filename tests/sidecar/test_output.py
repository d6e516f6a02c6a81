"""The buffer of what agents print: bounded, in order, safe to print into from any thread."""

import sys
import threading
from collections.abc import Iterator

import pytest

from agentcom.settings import Policy
from agentcom.sidecar.output import OutputBuffer

POLICY = Policy(output_bytes=1_000, output_entries=10)


def joined(buffer: OutputBuffer, task: str = "t") -> bytes:
    return b"".join(piece.body for piece in buffer.take(0) if piece.task == task)


def test_what_was_printed_comes_out_once_in_its_order():
    buffer = OutputBuffer(POLICY)
    buffer.add("t", 1, b"one ")
    buffer.add("t", 1, b"two")
    assert joined(buffer) == b"one two"
    assert buffer.take(0) == []


def test_of_too_much_the_newest_is_kept():
    buffer = OutputBuffer(POLICY)
    for number in range(1_000):
        buffer.add("t", 1, b"%09d\n" % number)
    kept = joined(buffer)
    assert len(kept) == 1_000
    assert kept.endswith(b"000000999\n")


def test_pieces_are_as_small_as_the_kept_number_of_entries_asks_for():
    buffer = OutputBuffer(POLICY)
    buffer.add("t", 1, b"x" * 1_000)
    assert [len(piece.body) for piece in buffer.take(0)] == [100] * 10


def test_attempts_are_told_apart():
    buffer = OutputBuffer(POLICY)
    buffer.add("t", 1, b"one")
    buffer.add("t", 2, b"two")
    assert [(piece.attempt, piece.body, piece.at) for piece in buffer.take(7)] == [(1, b"one", 7), (2, b"two", 7)]


def test_what_is_put_back_comes_before_what_was_printed_since_and_stays_bounded():
    buffer = OutputBuffer(POLICY)
    buffer.add("t", 1, b"a" * 900)
    pieces = buffer.take(0)
    buffer.add("t", 1, b"b" * 200)
    buffer.put_back(pieces)
    assert joined(buffer) == b"a" * 800 + b"b" * 200


def test_more_entries_than_bytes_make_pieces_of_one_byte():
    buffer = OutputBuffer(Policy(output_bytes=1, output_entries=10))
    buffer.add("t", 1, b"abc")
    assert [piece.body for piece in buffer.take(0)] == [b"c"]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_may_print_while_it_is_emptied():
    buffer = OutputBuffer(Policy(output_bytes=10_000_000, output_entries=1))
    lines = 3_000

    def print_much(name: str) -> None:
        for number in range(lines):
            buffer.add(f"{name}-{number % 50}", 1, b"x")

    threads = [threading.Thread(target=print_much, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        pieces = buffer.take(0)
        taken += sum(len(piece.body) for piece in pieces[1:])
        buffer.put_back(pieces[:1])
    taken += sum(len(piece.body) for piece in buffer.take(0))
    assert taken == lines * len(threads)
