"""A short run of chaos on real processes and a real Redis: every promise of docs/architecture.md is kept.

`make chaos` runs all scenarios, and longer.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.harm import SKIPPED
from tests.chaos.run import SETTLE_S, Account, Run

pytestmark = [
    pytest.mark.process,
    pytest.mark.pitfall_1,
    pytest.mark.pitfall_3,
    pytest.mark.pitfall_10,
    pytest.mark.timeout(3 * SETTLE_S),
]


def run(scenario: str, seconds: float, folder: Path, seed: int) -> Account:
    """A run, with everything that a person needs to look into a violation."""
    account = Run(scenario, seed, seconds, folder).perform()
    assert not account.violations, f"seed {seed}, logs and ledger in {folder}: {account.violations[:20]}"
    return account


def inflicted(account: Account) -> set[str]:
    """The kinds of the faults that were really done."""
    return {label.partition(" ")[0] for label in account.faults} - {SKIPPED}


def test_nothing_is_lost_or_doubled_when_everything_is_killed_again_and_again(tmp_path: Path) -> None:
    account = run("kill", 12, tmp_path, seed=3)
    assert account.acknowledged > 20
    assert account.gone == 0
    assert {"kill", "kill_redis", "kill_all"} <= inflicted(account)


def test_nothing_is_lost_or_doubled_when_connections_are_cut_late_or_half_open(tmp_path: Path) -> None:
    account = run("proxy", 10, tmp_path, seed=4)
    assert account.acknowledged > 20
    assert account.gone == 0
    assert len(inflicted(account)) >= 3


def test_nothing_is_lost_or_doubled_when_anything_is_frozen_and_goes_on_later(tmp_path: Path) -> None:
    account = run("freeze", 12, tmp_path, seed=1)
    assert account.acknowledged > 20
    assert account.gone == 0
    assert {"freeze", "freeze_redis"} <= inflicted(account)


def test_a_power_cut_that_takes_the_last_second_leaves_a_pool_that_agrees_with_itself(tmp_path: Path) -> None:
    account = run("power", 12, tmp_path, seed=5)
    assert account.acknowledged > 20
    assert {"power_cut", "kill_redis"} <= inflicted(account)
    assert account.vanished > 0, "what the journal was seen to say is gone"


def test_a_fail_over_that_loses_writes_leaves_a_pool_that_agrees_with_itself(tmp_path: Path) -> None:
    account = run("failover", 14, tmp_path, seed=2)
    assert account.acknowledged > 20
    assert account.probes_lost > 0, "what had been acknowledged is gone"
