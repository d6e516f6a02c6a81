"""The stand-in answers as real models do, and says what is wrong with what it is sent."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.standin import Fail, Garbage, Hang, Model, Run, Say, Write, limited, refused

PATIENCE_S = 30.0
PATHS = {"messages": "/v1/messages", "responses": "/v1/responses", "chat": "/v1/chat/completions"}


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as running:
        yield running


def body_for(dialect: str, tool: str = "") -> dict[str, Any]:
    match dialect:
        case "messages":
            tools: list[dict[str, Any]] = [{"name": tool or "Bash"}]
            return {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}], "tools": tools}
        case "responses":
            tools = [{"type": "function", "name": tool or "exec_command"}]
            return {"model": "m", "stream": True, "input": [{"type": "message", "content": "hi"}], "tools": tools}
        case _:
            tools = [{"type": "function", "function": {"name": tool or "bash"}}]
            return {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}], "tools": tools}


def ask(model: Model, path: str, body: dict[str, Any], key: str = "standin-key") -> tuple[int, str, dict[str, str]]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"} if key else {}
    request = urllib.request.Request(model.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


@pytest.mark.parametrize("dialect", PATHS)
def test_a_script_is_followed_step_by_step_and_its_last_step_again_and_again(model: Model, dialect: str) -> None:
    model.script([Run("make"), Say("Done.")])
    answers = [ask(model, PATHS[dialect], body_for(dialect))[1] for _ in range(3)]
    assert "make" in answers[0]
    assert "Done." not in answers[0]
    assert all("Done." in answer for answer in answers[1:])
    assert model.complaints == []
    assert [type(request.step).__name__ for request in model.requests] == ["Run", "Say", "Say"]


@pytest.mark.parametrize("dialect", PATHS)
def test_requests_aside_take_no_step(model: Model, dialect: str) -> None:
    model.script([Say("Done.")])
    status, answer, _ = ask(model, PATHS[dialect], body_for(dialect) | {"tools": []})
    assert status == 200
    assert "Done." not in answer
    assert model.requests == []


@pytest.mark.parametrize("dialect", PATHS)
def test_errors_are_answered_with_their_headers(model: Model, dialect: str) -> None:
    model.script([refused(), limited(60), Garbage()])
    assert ask(model, PATHS[dialect], body_for(dialect))[0] == 401
    status, answer, headers = ask(model, PATHS[dialect], body_for(dialect))
    assert (status, headers["retry-after"]) == (429, "60")
    assert "rate_limit_error" in answer
    assert ask(model, PATHS[dialect], body_for(dialect))[1].startswith("<html>")


@pytest.mark.parametrize("dialect", PATHS)
def test_a_request_without_a_key_or_a_script_is_a_complaint(model: Model, dialect: str) -> None:
    assert ask(model, PATHS[dialect], body_for(dialect), key="")[0] == 401
    assert ask(model, PATHS[dialect], body_for(dialect), key="other")[0] == 400
    assert [complaint.split(": ", 1)[1] for complaint in model.complaints] == [
        "no key",
        "there is no script for the key 'other'",
    ]


@pytest.mark.parametrize(
    ("dialect", "history"),
    [
        ("messages", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1"}]}]}),
        ("responses", {"input": [{"type": "function_call", "call_id": "1"}]}),
        ("chat", {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}),
    ],
)
def test_a_call_without_its_result_is_a_complaint(model: Model, dialect: str, history: dict[str, Any]) -> None:
    model.script([Say("x")])
    assert ask(model, PATHS[dialect], body_for(dialect) | history)[0] == 400
    assert "without a result" in model.complaints[0]


@pytest.mark.parametrize(("dialect", "tool"), [("messages", "Write"), ("chat", "write"), ("responses", "exec_command")])
def test_a_file_is_written_by_what_the_program_offers(model: Model, dialect: str, tool: str) -> None:
    model.script([Write("a.txt", "it's")])
    answer = ask(model, PATHS[dialect], body_for(dialect, tool))[1]
    assert f'"{tool}"' in answer
    assert "a.txt" in answer


def test_agents_with_keys_of_their_own_follow_scripts_of_their_own(model: Model) -> None:
    model.script([Say("for oak")], key="oak")
    model.script([lambda body: Say(f"for {body['model']}")], key="elm")
    assert "for m" in ask(model, PATHS["chat"], body_for("chat"), key="elm")[1]
    assert "for oak" in ask(model, PATHS["chat"], body_for("chat"), key="oak")[1]


def test_tokens_can_be_counted(model: Model) -> None:
    _, answer, _ = ask(model, "/v1/messages/count_tokens", {"messages": []})
    assert json.loads(answer)["input_tokens"] > 0


def test_a_path_that_is_none_is_not_found(model: Model) -> None:
    assert ask(model, "/v2/anything", {})[0] == 404


def test_a_model_that_hangs_lets_go_when_it_is_closed() -> None:
    with Model() as model:
        model.script([Hang()])
        asked = threading.Thread(target=_ignoring_its_end, args=(model,))
        asked.start()
        while not model.requests:
            asked.join(0.01)
    asked.join(PATIENCE_S)
    assert not asked.is_alive()


def _ignoring_its_end(model: Model) -> None:
    with suppress(OSError):
        ask(model, PATHS["chat"], body_for("chat"))


async def test_it_can_be_used_from_asynchronous_code_too() -> None:
    async with Model() as model:
        assert model.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("program", ["claude", "codex", "opencode"])
def test_what_a_program_needs_to_know_names_no_other_place(model: Model, program: str) -> None:
    told = json.dumps([model.environ_for(program), model.arguments_for(program), model.model_for(program)])
    assert model.url in told
    assert "127.0.0.1" in told.replace(model.url, "")
    assert "https://" not in told


def test_an_error_is_one_of_the_steps(model: Model) -> None:
    model.script([Fail(503, "unavailable", "come later")])
    assert ask(model, PATHS["chat"], body_for("chat"))[0] == 503
