"""JSON in and out. Whatever arrives is either a message of this protocol, or a sentence that says what is wrong."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from agentcom.model.agent import AgentRecord
from agentcom.model.costs import Costs
from agentcom.model.messages import (
    MAX_TASKS_PER_SUBMIT,
    PROTOCOL,
    AnyOrder,
    AnyReport,
    AnyRequest,
    Beat,
    DeadLetter,
    Finished,
    Line,
    Refusal,
    Submit,
)
from agentcom.model.task import CarriedRecord, ReadRecord, TaskSpec

_encoder = msgspec.json.Encoder()
encode = _encoder.encode

_request = msgspec.json.Decoder(AnyRequest)
_report = msgspec.json.Decoder(AnyReport)
_order = msgspec.json.Decoder(AnyOrder)
_beat = msgspec.json.Decoder(Beat)
_spec = msgspec.json.Decoder(TaskSpec)
_carried = msgspec.json.Decoder(CarriedRecord)
_agent = msgspec.json.Decoder(AgentRecord)
_lines = msgspec.json.Decoder(list[Line])
_refusals = msgspec.json.Decoder(list[Refusal])
_dead = msgspec.json.Decoder(DeadLetter)
_costs = msgspec.json.Decoder(Costs)
_read = msgspec.json.Decoder(ReadRecord)


MAX_REQUEST_BYTES = 16 * 1024 * 1024
MAX_REPORT_BYTES = 1024 * 1024
"""What is larger is refused before it is decoded. A sidecar bounds what it reports to a tenth of this."""

MAX_NESTING = 50
"""How deep the value of an outcome may be nested: deeper ones decode and then fail to be written."""

M = TypeVar("M", AnyRequest, AnyReport, AnyOrder, Beat)


class _Version(msgspec.Struct):
    v: int = PROTOCOL


class _Id(msgspec.Struct):
    id: str = ""


_version = msgspec.json.Decoder(_Version)
_id = msgspec.json.Decoder(_Id)

decode_carried = _carried.decode
decode_record = _read.decode
decode_agent = _agent.decode
decode_costs = _costs.decode
decode_lines = _lines.decode
decode_refusals = _refusals.decode
decode_dead = _dead.decode


def decode_request(body: bytes) -> AnyRequest | str:
    """A request, or what is wrong with it."""
    if len(body) > MAX_REQUEST_BYTES:
        return f"the request has {len(body):,} bytes, over {MAX_REQUEST_BYTES:,}: submit fewer tasks at once"
    request = _decode(_request, body)
    if isinstance(request, Submit) and not 1 <= len(request.tasks) <= MAX_TASKS_PER_SUBMIT:
        return f"a submission carries 1 to {MAX_TASKS_PER_SUBMIT} tasks, not {len(request.tasks)}"
    return request


def decode_report(body: bytes) -> AnyReport | str:
    """A report, or what is wrong with it."""
    if len(body) > MAX_REPORT_BYTES:
        return f"the report has {len(body):,} bytes, over {MAX_REPORT_BYTES:,}"
    report = _decode(_report, body)
    if isinstance(report, Finished) and _deeper_than(report.outcome.value, MAX_NESTING):
        return f"the outcome's value is nested deeper than {MAX_NESTING} levels"
    return report


def decode_order(body: bytes) -> AnyOrder | str:
    """An order, or what is wrong with it."""
    return _decode(_order, body)


def decode_beat(body: bytes) -> Beat | str:
    """A beat, or what is wrong with it."""
    return _decode(_beat, body)


def decode_spec(raw: Raw | bytes) -> TaskSpec | str:
    """A task spec, or what is wrong with it."""
    try:
        return _spec.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        return _sentence(error)


def id_of(raw: Raw | bytes) -> str:
    """The id in a spec that cannot be read otherwise."""
    try:
        return _id.decode(raw).id
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""


def read_spec(raw: Raw | bytes) -> TaskSpec:
    """The spec of a record that admission wrote."""
    return _spec.decode(raw)


def _decode(decoder: msgspec.json.Decoder[M], body: bytes) -> M | str:
    try:
        message = decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        return _foreign_version(body) or _sentence(error)
    return message if message.v == PROTOCOL else _unknown_version(message.v)


def _foreign_version(body: bytes) -> str:
    """A message of another version rarely decodes; its version is then the better explanation."""
    try:
        version = _version.decode(body).v
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""
    return "" if version == PROTOCOL else _unknown_version(version)


def _unknown_version(version: int) -> str:
    return f"protocol version {version} is not understood here, only {PROTOCOL}: upgrade the older side"


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        containers = (outer for outer in layer if isinstance(outer, list | dict))
        layer = [inner for outer in containers for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if not layer:
            return False
    return True


def _sentence(error: Exception) -> str:
    return str(error).replace("\n", " ")[:300] or type(error).__name__
