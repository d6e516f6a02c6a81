"""How each program is called: an argv, never a line for a shell, and never the task's own text in it."""

from __future__ import annotations

import pytest

from agentcom.adapters.base import Adapter, Launch, Prompt
from agentcom.adapters.calls import CANARY_TEXT
from agentcom.adapters.registry import BUILT_IN
from agentcom.settings import AgentSettings

ADAPTERS = sorted(BUILT_IN)
TEXT = '"; touch pwned #'
PROMPT = Prompt(
    text=TEXT,
    workspace="/w",
    agent="oak",
    new_session="11111111-1111-4111-8111-111111111111",
    task_id="t-1",
    task_file="/a/task.json",
    result_file="/a/result.json",
    prompt_file="/a/prompt.txt",
)


def settings_for(name: str, **given: object) -> AgentSettings:
    command = {"command": ("work", "-f", "{task_file}"), "acp": ("agent", "--acp")}.get(name, ())
    return AgentSettings(**{"adapter": name, "command": command, **given})


def launch(name: str, prompt: Prompt = PROMPT, **given: object) -> Launch:
    return BUILT_IN[name].argv(prompt, settings_for(name, **given))


def follows(argv: tuple[str, ...], *parts: str) -> bool:
    return any(argv[at : at + len(parts)] == parts for at in range(len(argv)))


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_tasks_text_is_in_no_argument(name: str) -> None:
    made = launch(name)
    assert TEXT not in " ".join(made.argv)
    assert made.stdin or "/a/prompt.txt" in made.argv, "on stdin, or in a file"


@pytest.mark.parametrize("name", ADAPTERS)
def test_further_arguments_are_passed_on_as_they_are(name: str) -> None:
    argv = launch(name, arguments=("--flag", "a b; $(c)", "{task_id}", "{{agent}}")).argv
    assert follows(argv, "--flag", "a b; $(c)", "t-1", "{agent}")


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"command", "acp"}))
def test_a_command_takes_the_place_of_the_program(name: str) -> None:
    wrapped = ("/opt/wrap", "--in", "{workspace}", "--")
    own = launch(name).argv
    assert own[0] == BUILT_IN[name].program
    assert launch(name, command=wrapped).argv == ("/opt/wrap", "--in", "/w", "--", *own[1:])


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"command", "openhands"}))
def test_a_model_is_passed_on_where_the_program_takes_one(name: str) -> None:
    option = "-m" if name == "codex" else "--model"
    assert follows(launch(name, model="m-1").argv, option, "m-1")
    assert option not in launch(name).argv


@pytest.mark.parametrize("name", sorted(name for name in ADAPTERS if BUILT_IN[name].resumes))
def test_a_session_is_resumed_by_its_id(name: str) -> None:
    resumed = launch(name, Prompt(text=TEXT, workspace="/w", agent="oak", session="s-9")).argv
    assert "s-9" in resumed
    assert "s-9" not in launch(name).argv


def test_claude_is_given_the_id_of_a_new_session_and_a_budget() -> None:
    argv = launch("claude").argv
    assert follows(argv, "--session-id", PROMPT.new_session)
    assert "--max-budget-usd" not in argv
    left = Prompt(text=TEXT, workspace="/w", agent="oak", session="s-9", new_session="x", usd_left=0.25)
    argv = launch("claude", left).argv
    assert follows(argv, "--max-budget-usd", "0.2500")
    assert follows(argv, "--resume", "s-9")
    assert "--session-id" not in argv


@pytest.mark.parametrize(
    ("name", "own", "others"),
    [
        ("claude", ("--permission-mode", "acceptEdits"), ("--permission-mode", "plan")),
        ("claude", ("--permission-mode", "acceptEdits"), ("--dangerously-skip-permissions",)),
        ("claude", ("--permission-mode", "acceptEdits"), ("--permission-mode=plan",)),
        ("codex", ("-c", 'sandbox_mode="workspace-write"'), ("-s", "read-only")),
        ("gemini", ("--approval-mode", "auto_edit"), ("--yolo",)),
    ],
)
def test_what_an_agent_may_do_is_little_unless_the_settings_say_otherwise(
    name: str, own: tuple[str, ...], others: tuple[str, ...]
) -> None:
    assert follows(launch(name).argv, *own)
    argv = launch(name, arguments=others).argv
    assert not follows(argv, *own)
    assert follows(argv, *others)


def test_codex_may_write_where_a_commit_is_written_to() -> None:
    writable = Prompt(text=TEXT, workspace="/w", agent="oak", writable=("/c/objects", '/c/a "b"'))
    argv = launch("codex", writable).argv
    assert follows(argv, "-c", r'sandbox_workspace_write.writable_roots=["/c/objects","/c/a \"b\""]')


def test_codex_takes_all_options_before_its_subcommand() -> None:
    resumed = Prompt(text=TEXT, workspace="/w", agent="oak", session="s-9")
    argv = launch("codex", resumed, arguments=("-s", "read-only")).argv
    assert argv[-5:] == ("-s", "read-only", "resume", "s-9", "-")


def test_openclaw_has_no_time_limit_of_its_own() -> None:
    assert follows(launch("openclaw").argv, "--timeout", "0")


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_about_no_task_names_nothing_of_one(name: str) -> None:
    adapter: Adapter = BUILT_IN[name]
    settings = settings_for(name)
    for argv in (adapter.version(settings), adapter.self_test(settings)):
        assert not argv or argv[0]
        assert not any("{" in part for part in argv)


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"command", "acp"}))
def test_a_wrapper_that_needs_a_task_can_only_be_tried_with_one(name: str) -> None:
    settings = settings_for(name, command=("/opt/wrap", "{workspace}"))
    assert BUILT_IN[name].version(settings) == BUILT_IN[name].self_test(settings) == ()


@pytest.mark.parametrize("name", sorted(set(ADAPTERS) - {"command"}))
def test_a_canary_needs_no_stdin(name: str) -> None:
    made = BUILT_IN[name].canary(settings_for(name))
    assert CANARY_TEXT in made.argv
    assert not made.stdin


def test_any_program_has_no_canary() -> None:
    assert BUILT_IN["command"].canary(settings_for("command")).argv == ()
