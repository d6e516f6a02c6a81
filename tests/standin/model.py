"""The server: which step a request takes, and what programs need to know of it."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.standin.dialects import DIALECTS, Dialect, called
from tests.standin.steps import Call, Fail, Garbage, Hang, Run, Say, Step, Write

KEY = "standin-key"
MODEL = "standin-model"
ASIDE = Say("A title")
NO_OTHER_NETWORK = {
    name: value
    for both, value in (
        ("http_proxy", "http://127.0.0.1:9"),
        ("https_proxy", "http://127.0.0.1:9"),
        ("no_proxy", "127.0.0.1"),
    )
    for name in (both, both.upper())
}
"""Whatever a program asks of anybody else fails at once: nobody answers there."""


@dataclass(frozen=True)
class Request:
    """What was sent, and what it got."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    step: Step

    @property
    def text(self) -> str:
        """All that was sent, to be searched."""
        return json.dumps(self.body, ensure_ascii=False)


class Model:
    """A stand-in for a model. Use it as a context manager.

    Attributes:
        requests: what agents sent, in this order; requests aside are not among it.
        complaints: what was wrong with requests, by the rules of the real ones; a test wants none.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self._steps: dict[str, list[Step | Callable[[dict[str, Any]], Step]]] = defaultdict(list)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._homes = tempfile.TemporaryDirectory(prefix="standin-", ignore_cleanup_errors=True)
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Model:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._homes.cleanup()

    async def __aenter__(self) -> Model:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(self, steps: Iterable[Step | Callable[[dict[str, Any]], Step]], key: str = KEY) -> None:
        """What requests with this key get, one step each; the last one again and again.

        A function gets the request's body, and answers with the step.
        """
        with self._lock:
            self._steps[key] = list(steps)

    def environ_for(self, program: str, home: Path | None = None, key: str = KEY) -> dict[str, str]:
        """The variables with which a program speaks with this model, and keeps its own files under `home`.

        Without a home it gets one that goes with the model; the same for the same program and key.
        """
        home = home or Path(self._homes.name) / f"{program}-{key}"
        home.mkdir(parents=True, exist_ok=True)
        common = {"HOME": str(home), **NO_OTHER_NETWORK}
        match program:
            case "claude":
                return common | {
                    "ANTHROPIC_BASE_URL": self.url,
                    "ANTHROPIC_API_KEY": key,
                    "CLAUDE_CONFIG_DIR": str(home / ".claude"),
                    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                    "CLAUDE_CODE_MAX_RETRIES": "1",
                    "IS_SANDBOX": "1",
                }
            case "codex":
                (home / ".codex").mkdir(exist_ok=True)
                return common | {"CODEX_HOME": str(home / ".codex"), "OPENAI_API_KEY": key}
            case "opencode":
                return common | {
                    "OPENCODE_CONFIG_CONTENT": json.dumps(self._opencode_config(key)),
                    "OPENCODE_DISABLE_AUTOUPDATE": "1",
                    "OPENCODE_DISABLE_MODELS_FETCH": "1",
                    "XDG_DATA_HOME": str(home / "data"),
                    "XDG_CACHE_HOME": str(home / "cache"),
                    "XDG_CONFIG_HOME": str(home / "config"),
                    "XDG_STATE_HOME": str(home / "state"),
                }
        raise ValueError(f"unknown program {program!r}")

    def arguments_for(self, program: str) -> list[str]:
        """The arguments with which it does; for `arguments` of an agent's settings."""
        match program:
            case "codex":
                provider = "model_providers.standin"
                values = {
                    "model_provider": '"standin"',
                    f"{provider}.name": '"standin"',
                    f"{provider}.base_url": f'"{self.url}/v1"',
                    f"{provider}.wire_api": '"responses"',
                    f"{provider}.env_key": '"OPENAI_API_KEY"',
                    f"{provider}.request_max_retries": "0",
                    f"{provider}.stream_max_retries": "0",
                }
                return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
            case _:
                return []

    def model_for(self, program: str) -> str:
        """The name of a model, for `model` of an agent's settings."""
        return f"standin/{MODEL}" if program == "opencode" else "claude-sonnet-4-5" if program == "claude" else MODEL

    def _opencode_config(self, key: str) -> dict[str, Any]:
        model = {"name": MODEL, "limit": {"context": 100_000, "output": 8_000}, "cost": {"input": 1, "output": 10}}
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": "standin",
            "options": {"baseURL": f"{self.url}/v1", "apiKey": key},
            "models": {MODEL: model},
        }
        return {"provider": {"standin": provider}, "share": "disabled", "autoupdate": False}

    # What the handler asks.

    def take(self, path: str, headers: dict[str, str], body: dict[str, Any], dialect: Dialect) -> Step:
        """The step of a request."""
        complaint = dialect.complaint(headers, body)
        if complaint:
            self.complaints.append(f"{path}: {complaint}")
            return Fail(401 if complaint == "no key" else 400, "invalid_request_error", complaint)
        tools = dialect.tools(body)
        if not tools:
            return ASIDE
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        with self._lock:
            steps = self._steps[key]
            if not steps:
                self.complaints.append(f"{path}: there is no script for the key {key!r}")
                return Fail(400, "invalid_request_error", "no script")
            step = steps.pop(0) if len(steps) > 1 else steps[0]
            step = step(body) if callable(step) else step
            self.requests.append(Request(path, headers, body, step))
        return called(step, tools) if isinstance(step, Call | Run | Write) else step

    def hang(self) -> None:
        """Wait until the server closes."""
        self._closing.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A program that was ended closes its connections as it likes; anything else is a mistake in here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler_for(model: Model) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}], "models": []})

        do_HEAD = do_GET

        def do_POST(self) -> None:
            path = urlsplit(self.path).path.replace("/v1/v1/", "/v1/")
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            if path == "/v1/messages/count_tokens":
                self._send(200, {"input_tokens": len(json.dumps(body)) // 4})
            elif path in DIALECTS:
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._answer(DIALECTS[path], body, model.take(path, headers, body, DIALECTS[path]))
            else:
                self._send(404, {"error": {"type": "not_found_error", "message": f"no such path: {path}"}})

        def _answer(self, dialect: Dialect, body: dict[str, Any], step: Step) -> None:
            match step:
                case Fail():
                    self._send(step.status, dialect.error(step), step.headers)
                case Hang():
                    model.hang()
                    self.close_connection = True
                case Garbage():
                    self._send(200, "<html>this is no model</html>", {"content-type": "text/html"})
                case Say() | Call() if body.get("stream"):
                    self._stream(dialect.answer(body, step))
                case _:
                    self._whole(body, step)

        def _stream(self, events: Iterable[tuple[str, dict[str, Any] | str]]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True
            for name, data in events:
                named = f"event: {name}\n" if name else ""
                line = data if isinstance(data, str) else json.dumps(data)
                self.wfile.write(f"{named}data: {line}\n\n".encode())
                self.wfile.flush()

        def _whole(self, body: dict[str, Any], step: Step) -> None:
            said = step.text if isinstance(step, Say) else ""
            usage = {"input_tokens": 10, "output_tokens": 5}
            message = {"id": "msg_0", "type": "message", "role": "assistant", "model": body.get("model", MODEL)}
            content = [{"type": "text", "text": said}]
            self._send(200, message | {"content": content, "stop_reason": "end_turn", "usage": usage})

        def _send(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
            sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

    return Handler
