"""The command: what it prints, how it ends, and that it says so when nobody can mend anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from agentcom import client
from agentcom.broker.keys import Keys
from tests.cli.harness import Terminal
from tests.cli.pool_at_work import POOL


@pytest.fixture
def redis(url: str) -> Iterator[Redis]:
    with Redis.from_url(url) as client:
        yield client


def test_a_pool_at_work_is_in_order(agentcom: Terminal) -> None:
    assert agentcom("submit", "x", "--wait").code == 0
    said = agentcom("fsck")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == "nothing contradicts anything"
    assert agentcom("fsck", "--repair").code == 0


def test_what_is_wrong_is_explained_mended_and_then_gone(agentcom: Terminal, redis: Redis) -> None:
    task = agentcom("submit", "x", "--wait", "--json").ids()[0]
    redis.persist(Keys(POOL).task(task))
    said = agentcom("fsck")
    assert said.code == 3
    assert f"kept_for_ever  task:{task}" in said.out
    assert "a repair: it gets one" in said.out
    assert said.out.splitlines()[-1] == "1 discrepancy: 1 kept_for_ever; `agentcom fsck --repair` mends what it can"
    said = agentcom("fsck", "--repair")
    assert said.code == 0
    assert said.out.splitlines()[-1] == "1 discrepancy mended, nothing is left"
    assert redis.ttl(Keys(POOL).task(task)) > 0
    said = agentcom("fsck", "--repair")
    assert (said.code, said.out) == (0, "nothing contradicts anything\n")


def test_scripts_get_one_document(agentcom: Terminal, redis: Redis) -> None:
    redis.set(Keys(POOL).named("stranger\x1b[2J"), "x")
    try:
        said = agentcom("fsck", "--repair", "--json")
        assert said.code == 3
        (one,) = said.document["found"]
        assert (one["kind"], one["repairable"]) == ("nobody_owns", False)
        assert said.document["mended"] == []
        assert "\x1b" not in agentcom("fsck").out
    finally:
        redis.delete(Keys(POOL).named("stranger\x1b[2J"))


def test_without_a_leader_nothing_is_mended_and_that_is_said(quiet: Terminal, redis: Redis) -> None:
    beat = Keys(quiet.environ["AGENTCOM_POOL"]).beat("oak")
    redis.set(beat, "x")
    assert quiet("fsck").code == 3
    said = quiet("fsck", "--repair")
    assert said.code == 1
    assert said.err == (
        "agentcom: no scheduler leads, so nothing was mended. Start one with `agentcom scheduler`, then repeat\n"
    )
    assert redis.ttl(beat) == -1
    assert redis.xlen(Keys(quiet.environ["AGENTCOM_POOL"]).inbox) == 0


def test_a_leader_that_does_not_answer_is_told_of(
    quiet: Terminal, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CONFIRM_S", 0.2)
    names = Keys(quiet.environ["AGENTCOM_POOL"])
    redis.set(names.leader, "frozen", ex=100)
    redis.set(names.beat("oak"), "x")
    said = quiet("fsck", "--repair")
    assert said.code == 1
    assert "the scheduler has not taken the repair into account" in said.err


def test_a_pool_that_nobody_used_is_in_order(quiet: Terminal) -> None:
    assert quiet("fsck").code == 0


def test_without_redis_it_ends_with_1(quiet: Terminal) -> None:
    quiet.environ["AGENTCOM_REDIS"] = "unix:///nowhere/redis.sock"
    said = quiet("fsck")
    assert said.code == 1
    assert "cannot reach Redis" in said.err
