"""What the end of a command means: by its exit code, and by the result file that the agent may have written."""

from __future__ import annotations

from typing import Any

import msgspec

from agentcom.adapters.base import Over
from agentcom.model.reasons import STATED_BY_AGENTS
from agentcom.model.task import Outcome, Usage
from agentcom.sidecar.runners.base import (
    DETAIL_MAX,
    RETRY_AFTER_MAX_S,
    SUMMARY_MAX,
    VALUE_MAX_BYTES,
    bounded,
    with_value,
)
from agentcom.sidecar.runners.files import AttemptFiles, read_file

REFUSALS = (OSError, ValueError, RecursionError, msgspec.MsgspecError)
"""What makes a result file useless."""


class _Result(msgspec.Struct):
    """What an agent may write to its result file; any other fields of it become the outcome's value."""

    summary: str = ""
    changed: tuple[str, ...] = ()
    usage: Usage | None = None


class _Statement(_Result):
    """What an agent that failed may write there: why, in the pool's words, and when to try again."""

    reason: str = ""
    detail: str = ""
    retry_after_s: float = 0.0


def outcome_of(over: Over, code: int, files: AttemptFiles, now: int) -> Outcome:
    """The outcome of a turn of a program that prints no events.

    Args:
        over: what its adapter makes of its exit code.
        code: that, or minus the number of the signal that ended it.
        files: the turn's.
        now: the time, for what an agent says relative to it.
    """
    return _completed(files) if over.ok else _failed(over, code, files, now)


def _failed(over: Over, code: int, files: AttemptFiles, now: int) -> Outcome:
    stated = _stated(files)
    if stated is None:
        return Outcome("failed", over.reason, bounded(over.detail, DETAIL_MAX), code)
    reason = over.reason
    if stated.reason in STATED_BY_AGENTS:
        reason = stated.reason
        why = stated.detail or over.detail
    else:
        known = ", ".join(sorted(STATED_BY_AGENTS))
        why = f"{over.detail} (it states the reason {stated.reason[:40]!r}, which is none of: {known})"
    return Outcome(
        "failed",
        reason,
        bounded(why, DETAIL_MAX),
        code,
        summary=bounded(stated.summary, SUMMARY_MAX),
        changed=stated.changed,
        usage=stated.usage,
        resets_at=resets_at(stated.retry_after_s, now),
    )


def resets_at(retry_after_s: float, now: int) -> int:
    """When an agent that says so may be tried again; 0 where it does not say a time from now up to a week."""
    return now + int(retry_after_s * 1000) if 0 < retry_after_s <= RETRY_AFTER_MAX_S else 0


def _stated(files: AttemptFiles) -> _Statement | None:
    """What the result file of a failed agent says of the reason; None where it says nothing that can be used."""
    try:
        stated = msgspec.json.decode(read_file(files.result, VALUE_MAX_BYTES), type=_Statement)
    except REFUSALS:
        return None
    return stated if stated.reason else None


def _completed(files: AttemptFiles) -> Outcome:
    try:
        body = read_file(files.result, VALUE_MAX_BYTES + 1)
        if len(body) > VALUE_MAX_BYTES:
            raise ValueError(f"it has over {VALUE_MAX_BYTES:,} bytes")
        return _outcome_in(body)
    except FileNotFoundError:
        return Outcome("completed", exit_code=0)
    except REFUSALS as error:
        return Outcome("failed", "bad_result", bounded(f"its result file is refused: {error}", DETAIL_MAX), 0)


def _outcome_in(body: bytes) -> Outcome:
    told = msgspec.json.decode(body, type=dict[str, Any])
    result = msgspec.convert(told, _Result)
    outcome = Outcome(
        "completed",
        exit_code=0,
        summary=bounded(result.summary, SUMMARY_MAX),
        changed=result.changed,
        usage=result.usage,
    )
    others = {name: value for name, value in told.items() if name not in _Result.__struct_fields__}
    return with_value(outcome, others) if others else outcome
