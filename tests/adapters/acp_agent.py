"""An agent that speaks the Agent Client Protocol, and behaves as its first argument says: `acp_agent.py HOW`.

It writes the protocol out by hand: https://agentclientprotocol.com/protocol/overview
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

HOW = sys.argv[1]
SESSION = "s-1"
OPTIONS = [
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


class Failure(Exception):
    """An error that is answered: a code, and data."""


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def receive() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    message: dict[str, Any] = json.loads(line)
    return message


def update(kind: str, **fields: Any) -> None:
    send(method="session/update", params={"sessionId": SESSION, "update": {"sessionUpdate": kind, **fields}})


def say(words: str) -> None:
    update("agent_message_chunk", content={"type": "text", "text": words})


def wait_for(method: str) -> None:
    while receive().get("method") != method:
        pass


def ask() -> str:
    params = {"sessionId": SESSION, "toolCall": {"toolCallId": "1", "title": "rm -rf /"}, "options": OPTIONS}
    send(id=7, method="session/request_permission", params=params)
    while (answer := receive()).get("id") != 7:
        pass
    return str(answer["result"]["outcome"].get("optionId", "none"))


def answer(method: str, params: dict[str, Any]) -> Any:
    match method:
        case "initialize":
            version = 9 if HOW == "other-version" else params["protocolVersion"]
            capabilities = {"loadSession": HOW != "no-load"}
            itself = {"name": "Fake", "version": "1.2"}
            return {"protocolVersion": version, "agentCapabilities": capabilities, "agentInfo": itself}
        case "session/new":
            if HOW == "login":
                raise Failure(-32000, None)
            assert os.path.isdir(params["cwd"])  # noqa: PTH112 - quicker to start without pathlib
            options = [{"value": "small", "name": "Small"}, {"value": "large", "name": "Large"}]
            selector = {"type": "select", "id": "m", "name": "Model", "currentValue": "large", "options": options}
            return {
                "sessionId": SESSION,
                "configOptions": [] if HOW == "no-model" else [selector | {"category": "model"}],
            }
        case "session/set_config_option":
            assert (params["configId"], params["value"]) == ("m", "small")
            return {"configOptions": []}
        case "session/load":
            if params["sessionId"] == "gone":
                raise Failure(-32002, {"uri": "gone"})
            update("user_message_chunk", content={"type": "text", "text": "the old task"})
            say("the old answer")
            return None
        case "session/prompt":
            return turn(params["prompt"][0]["text"])
    raise Failure(-32601, method)


def turn(told: str) -> dict[str, Any]:
    say("I was ")
    say(f"told: {told}")
    update("agent_thought_chunk", content={"type": "text", "text": "hm"})
    update("tool_call", toolCallId="1", title="write a file", status="pending")
    update("tool_call_update", toolCallId="1", title="write a file", status="in_progress")
    update("tool_call_update", toolCallId="1", status="completed")
    update("available_commands_update", availableCommands=[])
    match HOW:
        case "asks":
            say(f"answer: {ask()}")
        case "asks-and-heeds":
            ask()
            wait_for("session/cancel")
            return {"stopReason": "cancelled"}
        case "heeds":
            # The whole process group gets the signal; this one has work to bring to an end.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            wait_for("session/cancel")
            return {"stopReason": "cancelled"}
        case "hangs":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        case "dies":
            sys.exit(3)
        case "fails":
            raise Failure(-32603, {"details": "429 Too Many Requests"})
        case "nonsense":
            return {"stopReason": "because"}
        case "garbage":
            sys.stdout.write("this is no message\n")
        case "noisy":
            sys.stderr.write("x" * 1_000_000 + "\n")
        case "max_tokens" | "max_turn_requests" | "refusal":
            return {"stopReason": HOW}
    update("usage_update", used=900, size=1_000, cost={"amount": 0.25, "currency": "USD"})
    usage = {"totalTokens": 60, "inputTokens": 40, "outputTokens": 20, "cachedReadTokens": 7}
    return {"stopReason": "end_turn", "usage": usage}


def main() -> None:
    while True:
        message = receive()
        if "id" not in message:
            continue
        try:
            send(id=message["id"], result=answer(message["method"], message.get("params") or {}))
        except Failure as failure:
            code, data = failure.args
            send(id=message["id"], error={"code": code, "message": "It fails", "data": data})


if __name__ == "__main__":
    main()
