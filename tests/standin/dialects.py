"""The three protocols that coding agents speak with their models, as far as an answer goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, Protocol

from tests.standin.steps import Call, Fail, Run, Say, Tokens, Write

Events = Iterator[tuple[str, dict[str, Any] | str]]
_numbers = count(1)


class Dialect(Protocol):
    """One protocol."""

    def complaint(self, headers: dict[str, str], body: dict[str, Any]) -> str:
        """What is wrong with a request; empty if nothing is."""
        ...

    def tools(self, body: dict[str, Any]) -> set[str]:
        """Names of the tools that the program offers."""
        ...

    def answer(self, body: dict[str, Any], step: Say | Call) -> Events:
        """The events of a streamed answer, with their names."""
        ...

    def error(self, fail: Fail) -> dict[str, Any]:
        """The body of an error."""
        ...


def called(step: Call | Run | Write, tools: set[str]) -> Call:
    """The call that a step comes to with the tools that a program offers."""
    match step:
        case Call():
            return step
        case Run(command, tokens):
            return Call(*_shell(command, tools), tokens)
        case Write(path, content, tokens):
            if "Write" in tools:
                return Call("Write", {"file_path": path, "content": content}, tokens)
            if "write" in tools:
                return Call("write", {"filePath": path, "content": content}, tokens)
            quoted = content.replace("'", "'\\''")
            return Call(*_shell(f"printf %s '{quoted}' > '{path}'", tools), tokens)


def _shell(command: str, tools: set[str]) -> tuple[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {
        "Bash": {"command": command, "description": "a step"},
        "bash": {"command": command, "description": "a step"},
        "exec_command": {"cmd": command},
        "shell_command": {"command": command},
        "shell": {"command": ["bash", "-c", command]},
    }
    for tool, given in known.items():
        if tool in tools:
            return tool, given
    raise AssertionError(f"no tool for a shell command among {sorted(tools)}")


class Messages:
    """Anthropic: https://docs.claude.com/en/api/messages-streaming"""

    def complaint(self, headers: dict[str, str], body: dict[str, Any]) -> str:
        if "x-api-key" not in headers and "authorization" not in headers:
            return "no key"
        if not body.get("messages") or not body.get("model"):
            return "no messages or no model"
        return self._unanswered(body["messages"])

    def _unanswered(self, messages: list[dict[str, Any]]) -> str:
        """As the real one does: every tool call has its result in the message after it."""
        for message, following in zip(messages, [*messages[1:], {}], strict=True):
            calls = {block["id"] for block in self._blocks(message) if block.get("type") == "tool_use"}
            results = {block["tool_use_id"] for block in self._blocks(following) if block.get("type") == "tool_result"}
            if calls - results:
                return f"tool calls without a result: {sorted(calls - results)}"
        return ""

    def _blocks(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        content = message.get("content")
        return content if isinstance(content, list) else []

    def tools(self, body: dict[str, Any]) -> set[str]:
        return {tool["name"] for tool in body.get("tools") or []}

    def answer(self, body: dict[str, Any], step: Say | Call) -> Events:
        tokens = step.tokens
        usage = {
            "input_tokens": tokens.read,
            "cache_read_input_tokens": tokens.from_cache,
            "cache_creation_input_tokens": tokens.into_cache,
            "output_tokens": 1,
        }
        message = {"id": f"msg_{next(_numbers):08}", "type": "message", "role": "assistant", "model": body["model"]}
        start = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        yield "message_start", {"type": "message_start", "message": start}
        if isinstance(step, Say):
            block: dict[str, Any] = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": step.text}
        else:
            block = {"type": "tool_use", "id": f"toolu_{next(_numbers):08}", "name": step.tool, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(step.given)}
        yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": 0}
        reason = "end_turn" if isinstance(step, Say) else "tool_use"
        ended = {"stop_reason": reason, "stop_sequence": None}
        yield (
            "message_delta",
            {"type": "message_delta", "delta": ended, "usage": usage | {"output_tokens": tokens.written}},
        )
        yield "message_stop", {"type": "message_stop"}

    def error(self, fail: Fail) -> dict[str, Any]:
        kind = "invalid_request_error" if fail.status == 400 else fail.kind
        return {"type": "error", "error": {"type": kind, "message": fail.message}}


class Responses:
    """OpenAI: https://platform.openai.com/docs/api-reference/responses-streaming"""

    def complaint(self, headers: dict[str, str], body: dict[str, Any]) -> str:
        if not headers.get("authorization", "").startswith("Bearer "):
            return "no key"
        if not body.get("input") or not body.get("model"):
            return "no input or no model"
        calls = {item["call_id"] for item in body["input"] if item.get("type") == "function_call"}
        results = {item["call_id"] for item in body["input"] if item.get("type") == "function_call_output"}
        return f"calls without a result: {sorted(calls - results)}" if calls - results else ""

    def tools(self, body: dict[str, Any]) -> set[str]:
        return {tool.get("name") or tool["type"] for tool in body.get("tools") or []}

    def answer(self, body: dict[str, Any], step: Say | Call) -> Events:
        response = {"id": f"resp_{next(_numbers):08}", "object": "response", "model": body["model"], "output": []}
        yield "response.created", {"type": "response.created", "response": response}
        if isinstance(step, Say):
            part = {"type": "output_text", "text": step.text, "annotations": []}
            item: dict[str, Any] = {"type": "message", "role": "assistant", "content": [part]}
        else:
            given = json.dumps(step.given)
            call = f"call_{next(_numbers):08}"
            item = {"type": "function_call", "call_id": call, "name": step.tool, "arguments": given}
        item |= {"id": f"item_{next(_numbers):08}", "status": "completed"}
        yield "response.output_item.added", {"type": "response.output_item.added", "output_index": 0, "item": item}
        yield "response.output_item.done", {"type": "response.output_item.done", "output_index": 0, "item": item}
        ended = response | {"status": "completed", "output": [item], "usage": self._usage(step.tokens)}
        yield "response.completed", {"type": "response.completed", "response": ended}

    def _usage(self, tokens: Tokens) -> dict[str, Any]:
        read = tokens.read + tokens.from_cache
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": tokens.from_cache},
            "output_tokens": tokens.written,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoned},
            "total_tokens": read + tokens.written,
        }

    def error(self, fail: Fail) -> dict[str, Any]:
        return {"error": {"type": fail.kind, "code": fail.kind, "message": fail.message}}


class Chat:
    """Chat completions, as most other providers have them."""

    def complaint(self, headers: dict[str, str], body: dict[str, Any]) -> str:
        if not headers.get("authorization", "").startswith("Bearer "):
            return "no key"
        if not body.get("messages") or not body.get("model"):
            return "no messages or no model"
        calls = {call["id"] for message in body["messages"] for call in message.get("tool_calls") or []}
        results = {message.get("tool_call_id") for message in body["messages"] if message.get("role") == "tool"}
        return f"calls without a result: {sorted(calls - results)}" if calls - results else ""

    def tools(self, body: dict[str, Any]) -> set[str]:
        return {tool["function"]["name"] for tool in body.get("tools") or []}

    def answer(self, body: dict[str, Any], step: Say | Call) -> Events:
        common = {"id": f"chat_{next(_numbers):08}", "object": "chat.completion.chunk", "model": body["model"]}
        if isinstance(step, Say):
            delta: dict[str, Any] = {"role": "assistant", "content": step.text}
        else:
            function = {"name": step.tool, "arguments": json.dumps(step.given)}
            call = {"index": 0, "id": f"call_{next(_numbers):08}", "type": "function", "function": function}
            delta = {"role": "assistant", "content": None, "tool_calls": [call]}
        yield "", common | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        reason = "stop" if isinstance(step, Say) else "tool_calls"
        yield "", common | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        tokens = step.tokens
        read = tokens.read + tokens.from_cache
        usage = {
            "prompt_tokens": read,
            "completion_tokens": tokens.written,
            "total_tokens": read + tokens.written,
            "prompt_tokens_details": {"cached_tokens": tokens.from_cache},
        }
        yield "", common | {"choices": [], "usage": usage}
        yield "", "[DONE]"

    def error(self, fail: Fail) -> dict[str, Any]:
        return {"error": {"type": fail.kind, "code": fail.kind, "message": fail.message}}


DIALECTS: dict[str, Dialect] = {
    "/v1/messages": Messages(),
    "/v1/responses": Responses(),
    "/v1/chat/completions": Chat(),
}
