"""Whatever arrives is a message or a sentence about what is wrong with it; never an exception."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agentcom.broker.streams import UNREADABLE
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.codec import (
    MAX_NESTING,
    decode_agent,
    decode_beat,
    decode_carried,
    decode_dead,
    decode_lines,
    decode_order,
    decode_record,
    decode_refusals,
    decode_report,
    decode_request,
    decode_spec,
    encode,
    read_spec,
)
from agentcom.model.messages import (
    MAX_TASKS_PER_SUBMIT,
    PROTOCOL,
    Accepted,
    Answer,
    Assign,
    Beat,
    Cancel,
    DeadLetter,
    Finished,
    Goodbye,
    Hello,
    Line,
    Refusal,
    Retry,
    Stop,
    Submit,
)
from agentcom.model.task import Attempt, Outcome, TaskRecord, TaskSpec, Usage

DECODERS = {
    "request": decode_request,
    "report": decode_report,
    "order": decode_order,
    "beat": decode_beat,
    "spec": decode_spec,
}
OUTCOME = Outcome("failed", "exit_code", "ü", -9, "s", ("a",), {"n": [1, None, 2.5]}, Usage(1, 2, cost_usd=0.5))
MESSAGES = {
    "request": [
        Submit(tasks=[Raw(b'{"text":"a"}')]),
        Cancel(task="t", why="w"),
        Retry(task="t"),
        Answer(task="t", text="ü"),
    ],
    "report": [
        Hello(agent="a", incarnation="i", card=Card(attributes={"python": 3, "os": "linux", "gpu": True, "x": 1.5})),
        Accepted(agent="a", incarnation="i", task="t", token="1.a"),
        Finished(agent="a", incarnation="i", task="t", token="1.a", outcome=OUTCOME),
        Goodbye(agent="a", incarnation="i"),
    ],
    "order": [
        Assign(incarnation="i", task="t", token="1.a", spec=Raw(b'{"text":"a"}'), attempt=1, timeout_s=2.5),
        Stop(incarnation="i", task="t", token="1.a", why="w"),
    ],
    "beat": [Beat(agent="a", incarnation="i", count=1, at=2, state="working", running={"1.a": "t"}, unsent=3)],
    "spec": [TaskSpec(id="i", text="ü\n", after=("x",), context=("f",), priority="urgent", expires_s=1.5)],
}
CASES = [(kind, message) for kind, messages in MESSAGES.items() for message in messages]
NAMES = [f"{kind}-{type(message).__name__}" for kind, message in CASES]

ATTEMPT = Attempt(1, "1.a", "oak", "i", 5, counted=False, outcome=OUTCOME)
RECORD = TaskRecord(spec=TaskSpec(text="ü"), seq=1, state="working", submitted_at=1, changed_at=2, attempts=(ATTEMPT,))
KEPT = {
    "agent": (
        decode_agent,
        AgentRecord(name="oak", incarnation="i", card=Card(attributes={"os": "ü"}), link="online", since_at=1),
    ),
    "lines": (decode_lines, [Line(at=1, what="task", trigger="submit", detail="ü")]),
    "refusals": (decode_refusals, [Refusal("t", "ü", "u")]),
    "dead": (decode_dead, DeadLetter("t", "ü", 1, "lost", "gone", 4)),
    "carried": (decode_carried, RECORD),
    "record": (decode_record, RECORD),
}
"""What AgentCom itself keeps in Redis. Decoding it raises; those who read it pass over what is `UNREADABLE`."""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    ["type", "v", "tasks", "task", "why", "agent", "incarnation", "card", "token", "outcome", "at", "count", "state",
     "running", "text", "id", "after", "context_tokens", "priority", "expires_s", "spec", "attempt", "timeout_s"]
)  # fmt: skip
types = st.sampled_from(
    ["submit", "cancel", "retry", "hello", "accepted", "finished", "goodbye", "assign", "beat", "nonsense"]
)
objects = st.builds(
    lambda given, type_: given | {"type": type_}, st.dictionaries(fields, values, max_size=8), types | values
)


@pytest.mark.parametrize(("kind", "message"), CASES, ids=NAMES)
def test_what_is_written_is_read_as_it_was(kind, message):
    body = encode(message)
    assert DECODERS[kind](body) == message
    assert encode(DECODERS[kind](body)) == body


@pytest.mark.parametrize("kind", DECODERS)
@given(body=st.binary(max_size=200))
def test_arbitrary_bytes_are_explained(kind, body):
    found = DECODERS[kind](body)
    assert not isinstance(found, str) or 0 < len(found) <= 400


@pytest.mark.parametrize("kind", DECODERS)
@given(given=objects | values)
def test_arbitrary_json_is_read_or_explained_and_what_is_read_can_be_written(kind, given):
    found = DECODERS[kind](json.dumps(given).encode("utf-8", "surrogatepass"))
    if isinstance(found, str):
        assert found
        assert "\n" not in found
    else:
        encode(found)


@pytest.mark.parametrize(("kind", "message"), CASES, ids=NAMES)
@given(data=st.data())
def test_a_damaged_message_is_explained(kind, message, data):
    body = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    found = DECODERS[kind](bytes(body[: data.draw(st.integers(0, len(body)))]))
    assert isinstance(found, str) or encode(found)


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"a":' * 200_000, b'{"type":"finished","outcome":' + b"[" * 10_000, b"9" * 10_000, b"1e999"],
    ids=["brackets", "braces", "deep outcome", "many digits", "endless"],
)
def test_what_would_exhaust_a_decoder_is_explained(kind, body):
    assert isinstance(DECODERS[kind](body), str)


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_kept_is_read_as_it_was(kind):
    decode, value = KEPT[kind]
    assert encode(decode(encode(value))) == encode(value)


@pytest.mark.parametrize("kind", KEPT)
@given(body=st.binary(max_size=200) | (objects | values | st.lists(objects)).map(json.dumps).map(str.encode))
def test_arbitrary_bytes_in_the_place_of_what_is_kept_raise_nothing_but_what_its_readers_pass_over(kind, body):
    decode, _ = KEPT[kind]
    with suppress(*UNREADABLE):
        decode(body)


@pytest.mark.parametrize("kind", KEPT)
@given(data=st.data())
def test_what_is_kept_and_damaged_raises_nothing_but_what_its_readers_pass_over(kind, data):
    decode, value = KEPT[kind]
    body = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(*UNREADABLE):
        decode(bytes(body[: data.draw(st.integers(0, len(body)))]))


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("body", [b"", b"[" * 200_000, b'{"a":' * 200_000], ids=["nothing", "brackets", "braces"])
def test_what_would_exhaust_a_decoder_of_what_is_kept_is_passed_over(kind, body):
    decode, _ = KEPT[kind]
    with pytest.raises(UNREADABLE):
        decode(body)


@pytest.mark.parametrize("kind", ["request", "report", "order", "beat"])
@pytest.mark.parametrize("version", [0, 2, 99, -1, 2**40])
def test_a_message_of_another_version_is_explained_even_where_nothing_of_it_is_known(kind, version):
    for body in (f'{{"v":{version},"type":"teleport","to":"mars"}}', f'{{"type":7,"v":{version}}}'):
        found = DECODERS[kind](body.encode())
        assert f"protocol version {version} is not understood here, only {PROTOCOL}" in found


@pytest.mark.parametrize(("kind", "message"), [case for case in CASES if case[0] != "spec"], ids=NAMES[:-1])
def test_a_message_of_another_version_that_would_decode_is_refused_all_the_same(kind, message):
    found = DECODERS[kind](encode(msgspec.structs.replace(message, v=PROTOCOL + 1)))
    assert "upgrade the older side" in found


def test_unknown_fields_are_refused_in_requests_and_ignored_in_reports_and_orders():
    for kind, message in CASES:
        known = json.loads(encode(message))
        found = DECODERS[kind](json.dumps(known | {"colour": "red"}, separators=(",", ":")).encode())
        if kind in ("request", "spec"):
            assert "unknown field `colour`" in found
        else:
            assert encode(found) == encode(message)


@pytest.mark.parametrize("count", [0, MAX_TASKS_PER_SUBMIT + 1])
def test_a_submission_carries_a_bounded_number_of_tasks(count):
    found = decode_request(encode(Submit(tasks=[Raw(b"{}")] * count)))
    assert found == f"a submission carries 1 to {MAX_TASKS_PER_SUBMIT} tasks, not {count}"


def finished_with(value):
    return encode(Finished(agent="a", incarnation="i", task="t", token="k", outcome=Outcome("failed", value=value)))


def nested(levels, wrap):
    value = 1
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["lists", "objects"])
def test_a_value_that_could_be_read_but_not_be_written_again_is_refused(wrap):
    assert isinstance(decode_report(finished_with(nested(MAX_NESTING, wrap))), Finished)
    found = decode_report(finished_with(nested(MAX_NESTING + 1, wrap)))
    assert found == f"the outcome's value is nested deeper than {MAX_NESTING} levels"


def test_a_wide_value_is_not_a_deep_one():
    assert isinstance(decode_report(finished_with([[{"a": []}] * 1_000])), Finished)


def test_a_record_carries_its_spec_unread_and_is_the_same_when_read():
    spec = encode(TaskSpec(id="i", text="ü", max_attempts=2))
    record = TaskRecord(
        spec=Raw(spec),
        seq=1,
        state="working",
        submitted_at=1,
        changed_at=2,
        attempts=(Attempt(1, "1.a", "oak", "i", 5, counted=False, outcome=OUTCOME),),
    )
    carried = decode_carried(encode(record))
    assert bytes(carried.spec) == spec
    assert read_spec(carried.spec) == decode_record(encode(record)).spec
    assert encode(carried) == encode(record)


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_the_outcome_of_a_task_is_the_one_that_ended_it(state):
    attempt = Attempt(1, "1.a", "oak", "i", 5, outcome=Outcome("completed"))
    record = TaskRecord(spec=TaskSpec(text="a"), seq=1, state=state, submitted_at=1, changed_at=1, attempts=(attempt,))
    assert record.outcome == (Outcome("completed") if state == "completed" else None)
    assert TaskRecord(spec=TaskSpec(text="a"), seq=1, state=state, submitted_at=1, changed_at=1).outcome is None


def test_the_heading_of_a_task_is_its_title_or_the_first_line_of_its_text():
    assert TaskSpec(text="first\nsecond", title="title").heading == "title"
    assert TaskSpec(text="\n\n  first\nsecond").heading == "first"
    assert len(TaskSpec(text="x" * 1_000).heading) == 120
