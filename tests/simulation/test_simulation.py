"""The whole pool under seeded faults: what must always hold is checked at every write, and in the end all settles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.campaign import Campaign
from tests.simulation.fences import FENCES
from tests.simulation.play import play, play_seed
from tests.simulation.scenario import calm, flapping, long_work

ROOT = Path(__file__).parents[2]

# Hundreds of seeds are one test, of two minutes where nothing else runs.
pytestmark = pytest.mark.timeout(900)

WILD_SEEDS = range(1, 451)
LOSING_SEEDS = range(1, 101)
MILD_SEEDS = range(1, 5)

REACHED = frozenset(
    [
        "submit",
        "match",
        "accepted",
        "finished",
        "accept_timeout",
        "retry_due",
        "expiry",
        "dependency",
        "cancel",
        "retry",
        "requeue",
        "late",
        "reclaim",
        "takeover",
        "hello",
        "goodbye",
        "silence",
        "breaker",
        "self_test",
        "rate_limited",
        "drain",
        "cordon",
        "resume",
        "lead",
    ]
) | {"order stop", "order ask", "run adopted", "end found", "became verifying", "answer", "deadline", "beat"}
"""What must come up in the wild seeds, or they would prove little."""


@pytest.mark.process
def test_wild_seeds_violate_nothing_and_reach_everything() -> None:
    campaign = Campaign("wild")
    assert campaign.run(WILD_SEEDS, go_on=True) == 0, [(one.seed, one.subject, one.problem) for one in campaign.failed]
    assert campaign.seeds == len(WILD_SEEDS)
    assert set(campaign.seen) >= REACHED


@pytest.mark.process
def test_servers_that_lose_their_last_writes_again_and_again_violate_nothing() -> None:
    campaign = Campaign("wild", only=("fail_over", "redis_crash_losing", "crash_sidecar", "crash_scheduler"))
    assert campaign.run(LOSING_SEEDS, go_on=True) == 0, [
        (one.seed, one.subject, one.problem) for one in campaign.failed
    ]


@pytest.mark.process
def test_thousands_of_tasks_with_a_few_faults_violate_nothing() -> None:
    campaign = Campaign("mild")
    assert campaign.run(MILD_SEEDS) == 0, [(one.seed, one.subject, one.problem) for one in campaign.failed]
    assert campaign.lifecycles > 4_500 * len(MILD_SEEDS)


@pytest.mark.parametrize("seed", range(1, 6))
def test_without_faults_every_task_is_done_by_its_first_attempt(seed: int) -> None:
    result = play(calm(seed))
    assert not result.problem
    assert result.seen["match"] == result.seen["became completed"] == result.lifecycles
    assert result.settled_s < 30


@pytest.mark.pitfall_3
@pytest.mark.parametrize("seed", range(1, 6))
def test_sidecars_that_are_killed_do_not_end_the_work_of_their_agents(seed: int) -> None:
    result = play(long_work(seed))
    assert not result.problem
    assert result.seen["run adopted"] >= 5
    assert result.seen["run begun"] == result.lifecycles, "what had begun was never begun again"


@pytest.mark.pitfall_10
@pytest.mark.parametrize("seed", range(1, 6))
def test_five_agents_that_vanish_with_fifty_tasks_and_flap_are_stable_within_two_minutes(seed: int) -> None:
    scenario = flapping(seed)
    result = play(scenario)
    assert not result.problem
    assert result.settled_s < 120 + scenario.manners.work_s * 2


# ------------------------------------------------------------------- replaying


@pytest.mark.process
@pytest.mark.parametrize("seed", [5, 24])
def test_a_seed_replays_exactly_in_any_process(seed: int) -> None:
    told = [_replayed(seed, hash_seed) for hash_seed in ("1", "77")]
    assert told[0] == told[1]
    assert "digest" in told[0]
    assert play_seed(seed, tracing=True).digest in told[0]


def _replayed(seed: int, hash_seed: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout


def test_telling_the_story_changes_nothing() -> None:
    told, untold = play_seed(3, tracing=True), play_seed(3)
    assert (told.lifecycles, told.commits, told.virtual_s) == (untold.lifecycles, untold.commits, untold.virtual_s)


# ---------------------------------------------------------------------- fences

BOUND = 60
"""Within so many seeds the simulation finds that a fence is missing."""

WHERE = {
    "the commit's compare-and-swap": ("wild", ("freeze_scheduler", "cut_scheduler", "storm")),
    "the owner check of renewals": ("cut_off", ()),
    "the incarnation": ("wild", ("stop_sidecar", "kill_sidecar", "second_sidecar")),
}
"""Profile and faults in which a fence matters most; else any will do."""


@pytest.mark.parametrize("fence", FENCES)
def test_a_fence_that_is_missing_is_noticed(fence: str) -> None:
    profile, faults = WHERE.get(fence, ("wild", ()))
    with FENCES[fence]():
        found = next((seed for seed in range(1, BOUND + 1) if play_seed(seed, profile, faults).problem), 0)
    assert found, f"no seed up to {BOUND} noticed that {fence} is missing"
    assert not play_seed(found, profile, faults).problem, "and it is the fence that makes the difference"


def test_a_violation_is_told_as_a_story_of_the_task_it_is_about() -> None:
    with FENCES["counting attempts before they run"]():
        result = next(one for seed in range(1, BOUND) if (one := play_seed(seed, tracing=True)).problem)
    assert any("VIOLATION" in line and result.problem in line for line in result.story)
    assert any("submitted -> queued" in line and result.subject in line for line in result.story)
    times = [float(line.split()[0]) for line in result.story]
    assert times == sorted(times)
