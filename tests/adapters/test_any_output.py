"""Whatever a program prints, reading it does not fail, and what comes of it is bounded."""

from __future__ import annotations

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.adapters.base import LINE_MAX_BYTES, OTHERS, UNKNOWN_KEPT, Adapter, Event, Over, Said, Turn, Unknown
from agentcom.adapters.reading import NO_EVENT
from agentcom.adapters.registry import BUILT_IN
from agentcom.model.reasons import CLASS_OF

ADAPTERS = sorted(BUILT_IN.values(), key=lambda adapter: adapter.name)
STRUCTURED = [adapter for adapter in ADAPTERS if adapter.structured]

VOCABULARY = """
type subtype system init assistant user result success error is_error message content text tool_use name input
usage input_tokens output_tokens modelUsage contextWindow session_id permission_denials terminal_reason errors
api_error_status total_cost_usd rate_limit_event rate_limit_info status rejected resetsAt stream_event event
message_delta message_start item item.completed item.started agent_message command_execution file_change
changes path turn.completed turn.failed thread.started thread_id part step_finish tokens cache read reason
stop state tool sessionID step_start ok final costUsd kind stats Said Over Used Session Denied question
summary
"""
WORDS = st.sampled_from(VOCABULARY.split())
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 2**63, 1e308])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | WORDS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6)
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=8).map(lambda value: json.dumps(value).encode())
LINES = st.binary(max_size=200) | OBJECTS | st.tuples(OBJECTS, st.binary(max_size=3)).map(b"".join)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@given(line=LINES)
def test_any_line_is_read(adapter: Adapter, line: bytes) -> None:
    turn = Turn()
    for event in adapter.parse(line):
        assert isinstance(event, get_args(Event))
        turn.take(event)
        assert len(msgspec.json.encode(event)) < 50_000, "it can be reported"
    assert turn.over is None or turn.over.ok or turn.over.reason in CLASS_OF


@pytest.mark.parametrize("text", [r"cut: \ud83d", r"cut: \ude00 \u00fc", "cut: \\ud83d\xff"])
def test_half_a_character_hides_no_end(text: str) -> None:
    """Programs in JavaScript write it as an escape where they cut a text within an emoji."""
    line = f'{{"type": "result", "subtype": "success", "is_error": false, "result": "{text}"}}'.encode("latin-1")
    turn = Turn()
    for event in BUILT_IN["claude"].parse(line):
        turn.take(event)
    assert turn.over is not None
    assert turn.over.ok
    assert turn.over.summary.startswith("cut: ")


FIELDS = st.fixed_dictionaries({"event": st.sampled_from([kind.__name__ for kind in get_args(Event)])}).flatmap(
    lambda named: st.dictionaries(
        st.sampled_from(["ok", "text", "reason", "detail", "id", "usage", "used", "what", "question", "kind", "name"]),
        st.booleans() | st.just("x" * 100_000) | st.text() | st.integers() | JSON,
        max_size=5,
    ).map(lambda others: json.dumps(others | named).encode())
)


@given(line=FIELDS)
def test_any_line_of_events_is_read(line: bytes) -> None:
    (event,) = BUILT_IN["acp"].parse(line)
    assert len(msgspec.json.encode(event)) < 50_000
    assert not isinstance(event, Over) or event.ok or event.reason in CLASS_OF


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@given(code=st.integers(-64, 255), last_words=st.text(max_size=200))
def test_any_end_means_something(adapter: Adapter, code: int, last_words: str) -> None:
    over = adapter.exited(code, last_words)
    assert over.ok is (code == 0 and not adapter.structured)
    assert over.ok or over.reason in CLASS_OF


@pytest.mark.parametrize("adapter", STRUCTURED, ids=lambda adapter: adapter.name)
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"WARNING: something of no concern",
        b"[1]",
        b'{"type": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": "' + b"x" * LINE_MAX_BYTES + b'"}',
        b"\xff\xfe{}",
    ],
    ids=["empty", "cut", "text", "array", "deep", "long", "binary"],
)
def test_what_is_no_event_is_kept_as_such(adapter: Adapter, line: bytes) -> None:
    assert list(adapter.parse(line)) == [NO_EVENT]


def test_a_line_of_100_mb_is_no_event() -> None:
    line = b'{"type": "assistant", "message": {"content": [{"type": "text", "text": "' + b"x" * 100_000_000
    assert all(list(adapter.parse(line)) == [NO_EVENT] for adapter in STRUCTURED)


def test_a_byte_that_is_no_utf_8_does_not_hide_an_event() -> None:
    line = b'{"type": "result", "subtype": "success", "is_error": false, "result": "caf\xe9"}'
    assert Over(ok=True, summary="caf\ufffd") in BUILT_IN["claude"].parse(line)


def test_what_an_agent_says_cannot_move_a_cursor() -> None:
    text = "\x1b[2J\x1b]0;pwned\x07done\u202e"
    line = json.dumps({"type": "text", "part": {"text": text}}).encode()
    assert Said("done") in BUILT_IN["opencode"].parse(line)


def test_unknown_kinds_are_counted_and_their_number_is_bounded() -> None:
    turn = Turn()
    for number in range(10_000):
        for event in BUILT_IN["claude"].parse(b'{"type": "new_%d"}' % number):
            turn.take(event)
    assert len(turn.unknown) == UNKNOWN_KEPT + 1
    assert sum(turn.unknown.values()) == 10_000
    assert turn.unknown[OTHERS] == 10_000 - UNKNOWN_KEPT
    assert not turn.alive, "what is not known is no sign of life"
    assert list(BUILT_IN["claude"].parse(b"{}")) == [Unknown("nameless")]
