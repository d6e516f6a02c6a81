"""Programs that were never run here against a model: what their documentation, or their code, says that they print."""

from __future__ import annotations

import json

import pytest

from agentcom.adapters.base import Alive, Denied, Did, Event, Over, Said, Turn, Unknown, Used
from agentcom.adapters.registry import BUILT_IN
from agentcom.model.task import Usage
from tests.adapters.scenarios import turn_in

ENVELOPE = {
    "ok": True,
    "status": "ok",
    "final": "The focused tests pass.",
    "payloads": [{"text": "The focused tests pass."}],
    "usage": {"input": 120, "output": 8, "cacheRead": 30, "total": 158},
    "costUsd": 0.0021,
    "codeModeEngaged": False,
    "assistantTurns": 2,
    "bridgeCalls": {"search": 1, "describe": 0, "call": 3},
    "toolSummary": {"calls": 2, "tools": ["read", "write"], "totalToolTimeMs": 48},
    "model": "gpt-6-astra",
    "provider": "openai",
    "sessionId": "019",
}


def openclaw(envelope: object, code: int, errors: str = "") -> Turn:
    return turn_in(BUILT_IN["openclaw"], code, json.dumps(envelope, indent=2).encode(), errors)


def test_openclaw_says_all_at_its_end() -> None:
    turn = openclaw(ENVELOPE, 0)
    assert turn.over == Over(ok=True)
    assert (turn.summary, turn.session, turn.model) == ("The focused tests pass.", "019", "gpt-6-astra")
    assert turn.usage == Usage(input_tokens=120, output_tokens=8, cache_read_tokens=30, cost_usd=0.0021)


@pytest.mark.parametrize(
    ("message", "reason"),
    [("401 Unauthorized", "auth_failed"), ("Rate limit reached", "rate_limited"), ("It broke", "agent_failed")],
)
def test_openclaw_says_why_it_failed(message: str, reason: str) -> None:
    failed = {"ok": False, "status": "error", "final": "", "payloads": [], "model": None, "sessionId": ""}
    turn = openclaw(failed | {"error": {"message": message, "kind": "agent_error"}}, 1)
    assert turn.over is not None
    assert (turn.over.reason, turn.over.detail) == (reason, message)


def test_openclaw_that_ran_out_of_time_says_so_by_its_code() -> None:
    turn = openclaw({}, 2, "Agent run timed out")
    assert turn.over == Over(ok=False, reason="timeout", detail="exit code 2: Agent run timed out")


GEMINI = b"""\
Ripgrep is not available. Falling back to GrepTool.
{"type":"init","timestamp":"2026-11-28T00:44:17.446Z","session_id":"06d5","model":"auto"}
{"type":"message","role":"user","content":"do it"}
{"type":"message","role":"assistant","content":"I will ","delta":true}
{"type":"message","role":"assistant","content":"write it.","delta":true}
{"type":"tool_use","tool_name":"write_file","tool_id":"1","parameters":{"path":"a.txt"}}
{"type":"tool_result","tool_id":"1","status":"success","output":""}
{"type":"message","role":"assistant","content":"Done.","delta":true}
"""
STATS = {"total_tokens": 170, "input_tokens": 150, "output_tokens": 20, "cached": 50, "models": {}}


def test_gemini_says_what_it_does_and_ends() -> None:
    end = json.dumps({"type": "result", "status": "success", "stats": STATS}).encode()
    turn = turn_in(BUILT_IN["gemini"], 0, GEMINI + end, "")
    assert turn.over == Over(ok=True)
    assert (turn.summary, turn.session, turn.model) == ("Done.", "06d5", "auto")
    assert turn.usage == Usage(input_tokens=100, output_tokens=20, cache_read_tokens=50)
    assert turn.alive


def test_a_message_that_gemini_says_in_pieces_is_one() -> None:
    lines = GEMINI.splitlines()
    turn = turn_in(BUILT_IN["gemini"], 0, b"\n".join(lines[:5]), "")
    assert turn.said == "I will write it."
    events = [event for line in lines for event in BUILT_IN["gemini"].parse(line)]
    assert Said("write it.", piece=True) in events
    assert Did("write_file") in events


def test_geminis_prompt_is_no_sign_of_life() -> None:
    assert not turn_in(BUILT_IN["gemini"], 0, b"\n".join(GEMINI.splitlines()[:3]), "").alive


@pytest.mark.parametrize(
    ("code", "reason"), [(41, "auth_failed"), (42, "misconfigured"), (53, "context_exhausted"), (55, "misconfigured")]
)
def test_geminis_exit_codes_are_reasons(code: int, reason: str) -> None:
    assert BUILT_IN["gemini"].exited(code, "x").reason == reason


def test_geminis_error_has_its_reason_in_its_words() -> None:
    error = {"type": "FatalError", "message": "You exceeded your rate limit: 429 Too Many Requests"}
    end = json.dumps({"type": "result", "status": "error", "error": error, "stats": STATS}).encode()
    over = turn_in(BUILT_IN["gemini"], 1, GEMINI + end, "").over
    assert over is not None
    assert over.reason == "rate_limited"


@pytest.mark.parametrize("name", ["aider", "openhands"])
def test_of_programs_without_a_terminal_event_the_exit_code_decides(name: str) -> None:
    adapter = BUILT_IN[name]
    assert list(adapter.parse(b'{"type": "action"}')) == [Alive()]
    assert list(adapter.parse(b"\n")) == []
    assert adapter.exited(0, "") == Over(ok=True)
    assert adapter.exited(75, "later").reason == "retry_later"
    assert adapter.exited(1, "boom") == Over(ok=False, reason="exit_code", detail="exit code 1: boom")


def item(kind: str, end: str = "item.completed", **fields: object) -> bytes:
    return json.dumps({"type": end, "item": {"id": "1", "type": kind, **fields}}).encode()


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (item("reasoning", text="hm"), Alive()),
        (item("todo_list", "item.updated", items=[]), Alive()),
        (item("file_change", changes=[{"path": "a.py", "kind": "add"}], status="completed"), Did("edit a.py")),
        (item("mcp_tool_call", "item.started", server="s", tool="t", status="in_progress"), Did("s t")),
        (item("web_search", query="how"), Did("search how")),
        (item("command_execution", command="rm -rf /", status="declined"), Denied("rm -rf /")),
        (item("file_change", changes=[{"path": "a.py"}], status="declined"), Denied("edit a.py")),
        (item("hologram"), Unknown("item hologram")),
        (b'{"type": "thread.forked"}', Unknown("thread.forked")),
    ],
)
def test_codex_has_items_of_these_kinds(line: bytes, event: Event) -> None:
    assert list(BUILT_IN["codex"].parse(line)) == [event]


@pytest.mark.parametrize(
    ("reason", "over"),
    [
        ("length", Over(ok=False, reason="context_exhausted", detail="its answer was cut off for its length")),
        ("content-filter", Over(ok=False, reason="agent_failed", detail="its last step ended with content-filter")),
    ],
)
def test_an_opencode_step_may_end_otherwise(reason: str, over: Over) -> None:
    line = json.dumps({"type": "step_finish", "part": {"reason": reason}}).encode()
    assert over in BUILT_IN["opencode"].parse(line)


def test_claude_may_think_use_agents_of_its_own_and_wait() -> None:
    parse = BUILT_IN["claude"].parse
    thinking = {"type": "assistant", "message": {"content": [{"type": "thinking", "thinking": "hm"}]}}
    assert list(parse(json.dumps(thinking).encode())) == [Alive()]
    delta = {"type": "message_delta", "usage": {"input_tokens": 5}}
    of_other = {"type": "stream_event", "parent_tool_use_id": "toolu_1", "event": delta}
    assert list(parse(json.dumps(of_other).encode())) == [Used(Usage(input_tokens=5))], "its context is another's"
    waits = {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed_warning", "resetsAt": 1}}
    assert list(parse(json.dumps(waits).encode())) == []
