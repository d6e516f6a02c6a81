"""The plan of faults is the same for the same seed, and has every kind that its scenario names."""

from __future__ import annotations

import pytest

from tests.chaos.faults import SCENARIOS, plan
from tests.chaos.harm import Harm
from tests.chaos.programs import PROGRAMS


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_plan_is_the_same_for_the_same_seed_and_another_for_another(name: str) -> None:
    made = plan(SCENARIOS[name], 7, 300, PROGRAMS)
    assert made == plan(SCENARIOS[name], 7, 300, PROGRAMS)
    assert made != plan(SCENARIOS[name], 8, 300, PROGRAMS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_plan_lies_within_its_time_in_order_and_uses_every_kind(name: str) -> None:
    scenario = SCENARIOS[name]
    made = plan(scenario, 1, 1_800, PROGRAMS)
    times = [fault.at_s for fault in made]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 1_800
    assert {fault.kind for fault in made} == set(scenario.weights)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    scenario = SCENARIOS["everything"]
    short = plan(scenario, 3, 60, PROGRAMS)
    assert plan(scenario, 3, 600, PROGRAMS)[: len(short)] == short


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_kind_can_be_done(name: str) -> None:
    for kind in SCENARIOS[name].weights:
        assert callable(getattr(Harm, f"_do_{kind}"))
