"""Whoever may write to the pool cannot fill its memory."""

import pytest

from agentcom.scheduler import reports


@pytest.mark.pitfall_6
def test_a_pool_takes_no_more_agents_than_it_may_and_says_so(pool, monkeypatch):
    monkeypatch.setattr(reports, "MAX_AGENTS", 2)
    for name in ("oak", "elm", "ash"):
        pool.agent(name)
    assert sorted(pool.agents) == ["elm", "oak"]
    assert pool.refusals_in_journal() == ["the pool has 2 agents already, and takes no more"]
    pool.agent("elm")
    assert pool.agent_record("elm").incarnation == pool.beating["elm"], "who is known may come back"
