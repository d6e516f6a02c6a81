"""One message to one receiver: told or not, within its time, and nothing left behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agentcom.alerts import delivery
from agentcom.alerts.delivery import check_urls, deliver
from agentcom.alerts.incidents import Incident
from agentcom.alerts.message import Alert, alert_of
from agentcom.alerts.receivers import Receiver, receivers_of
from agentcom.alerts.sending import failed, send_now
from agentcom.errors import ConfigurationError
from agentcom.processes import identify
from agentcom.settings import AlertSettings, Settings
from tests.alerts.harness import Inbox, down, hook, hooked, until

pytestmark = pytest.mark.process

OPEN = Incident(finding=down(), first_at=1_000_000, stage="open", opened_at=1_000_000)
OVER = Incident(finding=down(), first_at=1_000_000, stage="over", gone_at=1_720_000, over_at=1_750_000)


def alert(incident: Incident = OPEN) -> Alert:
    return alert_of(incident, "main", "vm")


def receiver_of(url: str) -> Receiver:
    (made,) = receivers_of(AlertSettings(urls=(url,)))
    return made


def command_of(*argv: str) -> Receiver:
    (made,) = receivers_of(AlertSettings(command=argv))
    return made


def shell(script: str) -> Receiver:
    return command_of("sh", "-c", script)


# By URL


async def test_a_url_gets_the_problem_and_its_end(receiver: Inbox) -> None:
    assert await deliver(receiver_of(receiver.url), alert(), 30) == ""
    assert await deliver(receiver_of(receiver.url), alert(OVER), 30) == ""
    problem, over = receiver.got
    assert (problem["type"], problem["title"]) == ("failure", "AgentCom main: critical: oak is silent")
    assert problem["message"].splitlines() == [
        "oak is silent",
        "its last beat was at noon",
        "What to do: look at it",
        "Since 00:16 UTC.",
        "Told by vm.",
    ]
    assert (over["type"], over["title"]) == ("success", "AgentCom main: over after 12m: oak is silent")
    assert "it was from 00:16 UTC to 00:28 UTC" in over["message"]


async def test_a_receiver_that_answers_500_was_not_told(receiver: Inbox) -> None:
    receiver.mode = "refuses"
    problem = await deliver(receiver_of(receiver.url), alert(), 30)
    assert "500" in problem


async def test_a_receiver_that_refuses_connections_was_not_told(receiver: Inbox) -> None:
    receiver.down()
    problem = await deliver(receiver_of(receiver.url), alert(), 30)
    assert "Connection error" in problem
    assert "secret" not in problem


async def test_a_receiver_that_hangs_is_given_up_when_its_time_is_over(receiver: Inbox) -> None:
    receiver.mode = "hangs"
    began = time.monotonic()
    problem = await deliver(receiver_of(receiver.url), alert(), 6)
    assert 6 <= time.monotonic() - began < 30
    assert problem
    assert receiver.asked == 1


async def test_a_receiver_may_take_all_of_its_time(receiver: Inbox) -> None:
    """Apprise's own limit of 4 seconds is not it."""
    receiver.mode = "hangs"
    results: list[str] = []
    async with anyio.create_task_group() as group:

        async def send() -> None:
            results.append(await deliver(receiver_of(receiver.url), alert(), 60))

        group.start_soon(send)
        await until(lambda: receiver.asked)
        await anyio.sleep(5)
        assert results == []
        group.cancel_scope.cancel()


async def test_apprise_is_asked_what_it_understands_and_no_url_is_repeated() -> None:
    good = ("ntfys://topic", "json://h/x", "mailto://u:p@example.com")
    await check_urls(())
    await check_urls(good)
    with pytest.raises(ConfigurationError) as caught:
        await check_urls((*good, "nonsense://secret"))
    assert "Apprise does not understand number 4" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_more_urls_than_a_pipe_holds_are_all_checked() -> None:
    many = [f"json://h/{'x' * 1_000}/{number}" for number in range(200)]
    await check_urls(many)
    with pytest.raises(ConfigurationError, match="does not understand number 201"):
        await check_urls([*many, *["nonsense://x"] * 1_000])


async def test_without_a_usable_apprise_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "APPRISE", (sys.executable, "-c", "import apprize"))
    with pytest.raises(ConfigurationError, match="Apprise cannot be used: ModuleNotFoundError"):
        await check_urls(("ntfy://topic",))


# By command


async def test_a_command_gets_the_alert_as_json(tmp_path: Path) -> None:
    told = tmp_path / "told"
    assert await deliver(command_of(*hook(told)), alert(), 30) == ""
    assert await deliver(command_of(*hook(told)), alert(OVER), 30) == ""
    problem, over = hooked(told)
    assert problem == {
        "schema": 1,
        "kind": "problem",
        "pool": "main",
        "host": "vm",
        "title": "AgentCom main: critical: oak is silent",
        "text": alert().text,
        "incident": "agent_down:agent:oak",
        "incidents": ["agent_down:agent:oak"],
        "rule": "agent_down",
        "subject": "agent:oak",
        "severity": "critical",
        "since_at": 1_000_000,
        "over_at": 0,
    }
    assert (over["kind"], over["incident"], over["over_at"]) == ("over", "agent_down:agent:oak", 1_720_000)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo no such luck >&2; exit 3", "exit code 3: no such luck"),
        ("exit 1", "exit code 1"),
        ("kill -9 $$", "signal 9"),
        ("cat >/dev/null", ""),
        ("true", ""),
    ],
)
async def test_how_a_command_ends_says_whether_it_told(script: str, problem: str) -> None:
    assert await deliver(shell(script), alert(), 30) == problem


async def test_a_command_that_is_not_there_tells_nobody() -> None:
    assert "/no/such/thing cannot be started: " in await deliver(command_of("/no/such/thing"), alert(), 30)


@pytest.mark.parametrize("end", ["wait", "exit 0"])
async def test_of_a_command_nothing_is_left_running(tmp_path: Path, end: str) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/child; {end}"
    problem = await deliver(shell(script), alert(), 2)
    assert problem == ("no success within 2s" if end == "wait" else "")
    assert identify(int((tmp_path / "child").read_text())) is None


async def test_a_command_that_ignores_sigterm_and_prints_without_end_is_ended_all_the_same() -> None:
    began = time.monotonic()
    problem = await deliver(shell("trap '' TERM; while true; do echo yes; done"), alert(), 1)
    assert problem.startswith("no success within 1s: yes yes")
    assert len(problem) < 500
    assert time.monotonic() - began < 20


async def test_who_is_canceled_leaves_no_program_behind(tmp_path: Path) -> None:
    child = tmp_path / "child"
    async with anyio.create_task_group() as group:
        group.start_soon(deliver, shell(f"echo $$ > {child}.new; mv {child}.new {child}; sleep 300"), alert(), 60)
        await until(child.exists)
        group.cancel_scope.cancel()
    assert identify(int(child.read_text())) is None


async def test_a_command_gets_all_of_a_message_that_no_pipe_holds(tmp_path: Path) -> None:
    told = tmp_path / "told"
    incidents = tuple(f"agent_down:agent:{'x' * 1_000}-{number}" for number in range(500))
    assert await deliver(command_of(*hook(told)), replace(alert(), incidents=incidents), 30) == ""
    (heard,) = hooked(told)
    assert tuple(heard["incidents"]) == incidents


@pytest.mark.parametrize(("script", "problem"), [("exec <&-; sleep 0.5; exit 3", "exit code 3"), ("exit 0", "")])
async def test_who_does_not_read_a_long_message_to_its_end_is_judged_by_the_exit_code(
    script: str, problem: str
) -> None:
    long = replace(alert(), incidents=("x" * 500_000,))
    assert await deliver(shell(script), long, 30) == problem


async def test_who_never_reads_a_long_message_is_given_up_when_its_time_is_over() -> None:
    long = replace(alert(), incidents=("x" * 500_000,))
    assert await deliver(shell("sleep 300"), long, 1) == "no success within 1s"


def test_a_message_about_many_names_the_first_and_says_how_many() -> None:
    def all_of(incident: Incident) -> Alert:
        finding = incident.finding
        many = [
            replace(incident, finding=replace(finding, subject=f"agent:a{n:03}", text=f"a{n:03} is silent"))
            for n in range(300)
        ]
        return alert_of(many[0], "main", "vm", many[1:])

    problem, over = all_of(OPEN), all_of(OVER)
    names = "a000, a001, a002, a003, a004 and 295 more"
    assert problem.title == f"AgentCom main: critical: 300 times agent_down: {names}"
    assert over.title == f"AgentCom main: over: 300 times agent_down: {names}"
    lines = problem.text.splitlines()
    assert lines[0] == "a000 is silent"
    assert lines[-4:] == [
        "… and 280 more.",
        "What to do: look at it",
        "See all that is wrong with `agentcom check`.",
        "Told by vm.",
    ]
    assert (problem.kind, over.kind, len(problem.incidents)) == ("problem", "over", 300)
    assert problem.incident == problem.incidents[0] == over.incidents[0]


# All at once


async def test_a_message_of_a_command_reaches_all_and_says_who_could_not_be_told(
    receiver: Inbox, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    urls = (receiver.url, "json://127.0.0.1:1/secret")
    settings = Settings(pool="main", alerts=AlertSettings(urls=urls, command=hook(told)))
    deliveries = await send_now(settings, "agentcom-scheduler is down", "line 1\nline 2", tries=2)
    assert [bool(delivery.problem) for delivery in deliveries] == [False, True, False]
    (problem,) = failed(deliveries)
    assert problem.startswith("receiver 2 (json://…): ")
    assert "secret" not in problem
    assert receiver.titles() == ["AgentCom main: agentcom-scheduler is down"]
    (heard,) = hooked(told)
    assert (heard["kind"], heard["text"], heard["severity"]) == ("note", "line 1\nline 2", "critical")


async def test_a_message_of_a_command_is_tried_again(receiver: Inbox) -> None:
    receiver.mode = "refuses"
    settings = Settings(alerts=AlertSettings(urls=(receiver.url,)))
    async with anyio.create_task_group() as group:

        async def recover() -> None:
            await until(lambda: receiver.asked)
            receiver.mode = "ok"

        group.start_soon(recover)
        assert failed(await send_now(settings, "x", "y")) == []
    assert len(receiver.got) == 1


async def test_without_receivers_nobody_is_told() -> None:
    assert await send_now(Settings(), "x", "y") == []
