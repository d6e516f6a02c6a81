"""`agentcom check`, on real servers and pools of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import redis

from agentcom.broker.embedded import EmbeddedServer, find_server
from agentcom.broker.keys import Keys
from agentcom.diagnosis import Snapshot
from agentcom.model.agent import AgentRecord, Card
from agentcom.model.codec import encode
from agentcom.monitor.reading import look
from tests.cli.harness import Terminal

NOT_HERE = "redis://127.0.0.1:1"


@contextmanager
def kept_in(terminal: Terminal) -> Iterator[tuple[Any, Keys]]:
    """What is kept of the terminal's pool, to be written by hand."""
    with redis.Redis.from_url(terminal.environ["AGENTCOM_REDIS"]) as server:
        yield server, Keys(terminal.environ["AGENTCOM_POOL"])


def stale_agent(terminal: Terminal) -> None:
    """An agent that went silent just now, and somebody who leads."""
    yew = AgentRecord(name="yew", incarnation="sc-1", card=Card(), link="stale", seen_at=now_of(terminal) - 60_000)
    with kept_in(terminal) as (server, names):
        server.set(names.leader, "h1:1:x")
        server.hset(names.agents, "yew", encode(yew))


def now_of(terminal: Terminal) -> int:
    with kept_in(terminal) as (server, _):
        return int(server.time()[0]) * 1000


def test_a_pool_in_which_nothing_is_wrong_ends_with_0(quiet: Terminal) -> None:
    said = quiet("check")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"nothing is wrong with the pool {quiet.environ['AGENTCOM_POOL']}\n"
    assert quiet("check", "--quiet").out == ""
    assert quiet("check", "--quiet", "--json").out == ""
    document = quiet("check", "--json").document
    assert (document["schema"], document["exit_code"], document["findings"]) == (1, 0, [])
    assert document["found"] == {"critical": 0, "warning": 0, "notice": 0}


def test_a_critical_finding_ends_with_3_and_says_what_to_do(quiet: Terminal) -> None:
    with kept_in(quiet) as (server, names):
        server.set(names.leader, "h1:1:x")
        server.hset(names.head, "sign:livelock", now_of(quiet) - 120_000)
    said = quiet("check")
    assert said.code == 3
    first, second = said.out.splitlines()
    assert first.startswith("! critical  livelock  work has gone round for ")
    assert second.startswith("    agentcom journal")
    assert quiet("check", "--quiet").out.splitlines()[0].startswith("! critical  livelock")
    document = quiet("check", "--json").document
    assert (document["exit_code"], document["found"]["critical"]) == (3, 1)
    assert [finding["incident"] for finding in document["findings"]] == ["livelock:pool"]


def test_a_warning_is_said_and_counts_only_if_it_is_asked_to(quiet: Terminal) -> None:
    stale_agent(quiet)
    said = quiet("check")
    assert said.code == 0
    assert said.out.startswith("~ warning   lost  yew is stale: its last beat was seen ")
    assert quiet("check", "--quiet").out == ""
    strict = quiet("check", "--severity", "warning", "--quiet")
    assert (strict.code, strict.out.split()[2]) == (3, "lost")


def test_work_without_a_scheduler_is_critical_at_the_second_look_too(quiet: Terminal) -> None:
    quiet.environ["AGENTCOM_POLICY_LEASE_S"] = "1"
    with kept_in(quiet) as (server, names):
        server.xadd(names.inbox, {"m": "{}"})
    said = quiet("check", "--json")
    assert said.code == 3
    assert [finding["rule"] for finding in said.document["findings"]] == ["leaderless"]


def test_a_scheduler_that_takes_over_in_between_is_no_finding(quiet: Terminal) -> None:
    quiet.environ["AGENTCOM_POLICY_LEASE_S"] = "1"
    looks: list[Snapshot] = []
    with kept_in(quiet) as (server, names):
        server.xadd(names.inbox, {"m": "{}"})

        async def look_before_it_takes_over(*arguments: Any) -> Snapshot:
            looks.append(await look(*arguments))
            server.set(names.leader, "h2:1:x")
            return looks[-1]

        with mock.patch("agentcom.cli.check.look", look_before_it_takes_over):
            assert quiet("check").code == 0
    assert len(looks) == 2


def test_a_redis_that_cannot_be_reached_is_the_one_finding_and_ends_with_1(quiet: Terminal) -> None:
    said = quiet("check", "--redis", NOT_HERE)
    assert (said.code, said.err) == (1, "")
    assert said.out.startswith(f"! critical  unreachable  cannot reach Redis at {NOT_HERE}")
    loud = quiet("check", "--redis", NOT_HERE, "--quiet", "--json")
    assert (loud.code, loud.document["exit_code"]) == (1, 1)
    assert [finding["incident"] for finding in loud.document["findings"]] == ["unreachable:redis"]


def test_a_severity_that_does_not_exist_is_bad_usage(quiet: Terminal) -> None:
    said = quiet("check", "--severity", "fatal")
    assert (said.code, said.out) == (2, "")
    assert "expected one of critical, warning, notice, not 'fatal'" in said.err


def test_a_dead_task_is_found_until_it_is_sent_back(agentcom: Terminal) -> None:
    task = agentcom("submit", "fail", "--max-attempts", "1", "--wait", "--json").ids()[0]
    said = agentcom("check", "--json")
    assert said.code == 3
    (finding,) = [each for each in said.document["findings"] if each["subject"] == f"task:{task}"]
    assert (finding["rule"], finding["severity"]) == ("dead", "critical")
    assert f"dead retry tk-{task[-6:]}" in finding["next_step"]


def test_the_monitor_shows_findings_and_gives_them_to_scripts(quiet: Terminal) -> None:
    stale_agent(quiet)
    said = quiet("monitor", "--once")
    assert said.code == 0
    assert "\nfindings: 1 warning\n  ~ warning   lost  yew is stale" in said.out
    document = quiet("monitor", "--json").document
    assert [finding["incident"] for finding in document["findings"]] == ["lost:agent:yew"]
    assert document["redis"]["eviction"] == "noeviction"
    assert abs(document["clock_skew_ms"]) < 60_000


@pytest.mark.process
def test_a_server_that_no_other_command_would_trust_is_looked_at_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with EmbeddedServer(tmp_path / "redis", find_server(os.environ)) as server:
        terminal = Terminal(tmp_path, {"AGENTCOM_REDIS": server.url, "AGENTCOM_POOL": "p", "TZ": "UTC"})
        with redis.Redis.from_url(server.url) as console:
            console.config_set("maxmemory-policy", "allkeys-lru")
            console.config_set("appendonly", "no")
            used = int(console.info("memory")["used_memory"])
            console.config_set("maxmemory", int(used * 1.05))
        assert terminal("tasks").code == 78
        said = terminal("check", "--json")
        assert said.code == 3
        assert {finding["rule"] for finding in said.document["findings"]} == {"eviction", "no_aof", "memory"}


@pytest.mark.process
def test_a_refused_password_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with EmbeddedServer(tmp_path / "redis", find_server(os.environ)) as server:
        with redis.Redis.from_url(server.url) as console:
            console.config_set("requirepass", "right")
        terminal = Terminal(tmp_path, {"AGENTCOM_REDIS": server.url, "AGENTCOM_POOL": "p"})
        said = terminal("check")
        with redis.Redis.from_url(server.url, password="right") as console:
            console.config_set("requirepass", "")
    assert (said.code, said.out) == (78, "")
    assert len(said.err.splitlines()) == 1
