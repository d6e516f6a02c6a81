"""Whoever may write to the pool cannot fill its memory."""

import pytest

from agentcom.scheduler import reports, state
from tests.stories.pool import FakePool


@pytest.mark.pitfall_6
def test_a_pool_takes_no_more_agents_than_it_may_and_says_so(pool, monkeypatch):
    monkeypatch.setattr(reports, "MAX_AGENTS", 2)
    for name in ("oak", "elm", "ash"):
        pool.agent(name)
    assert sorted(pool.agents) == ["elm", "oak"]
    assert pool.refusals_in_journal() == ["the pool has 2 agents already, and takes no more"]
    pool.agent("elm")
    assert pool.agent_record("elm").incarnation == pool.beating["elm"], "who is known may come back"


@pytest.mark.pitfall_6
def test_what_was_to_happen_to_tasks_that_have_ended_is_not_remembered_until_then(monkeypatch):
    monkeypatch.setattr(state, "TIMERS_LEAST", 50)
    pool = FakePool(judging=False)
    pool.agent("oak")
    waits = pool.submit(requires="nobody >= 1", expires_s=7_200)
    for _ in range(300):
        pool.finish(pool.submit(expires_s=86_400))
    assert len(pool.core._state._timers) < 110
    pool.advance(7_300)
    assert (pool.state(waits), pool.task(waits).reason) == ("failed", "expired")
    assert pool.agent_record("oak").link == "online"
