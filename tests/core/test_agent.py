"""The Python API for those who do work refuses, at once, what no pool would take."""

from __future__ import annotations

from typing import Any

import pytest

from agentcom import Agent
from agentcom.errors import UsageError


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("Oak", {}, "'Oak' is not an agent's name: 1 to 64 lower-case letters"),
        ("../../x", {}, "'../../x' is not an agent's name"),
        ("", {}, "'' is not an agent's name"),
        ("oak", {"skills": {"a b": 1}}, "a b"),
        ("oak", {"accepts": "(("}, "accepts: "),
        ("oak", {"slots": 0}, "0 slots, not 1 to"),
        ("oak", {"context_tokens": -1}, "a context window of -1 tokens"),
    ],
)
def test_an_agent_that_no_pool_would_take_is_refused_before_it_waits_for_ever(
    name: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Agent(name, **options)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_agent_with_all_that_may_be_said_of_one_is_made() -> None:
    agent = Agent("oak_2.a-b", skills={"python": 3, "os": "linux"}, slots=4, accepts="priority >= 1", context_tokens=10)
    assert agent.name == "oak_2.a-b"
