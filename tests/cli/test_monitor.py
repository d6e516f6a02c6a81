"""`agentcom monitor` where there is no screen: for people once, for scripts, and for cron."""

from __future__ import annotations

from tests.cli.harness import Terminal


def test_without_a_terminal_it_is_printed_once(agentcom: Terminal) -> None:
    said = agentcom("monitor")
    assert said.code == 0
    assert said.out.startswith("AgentCom cli · redis ")
    assert "completed " in said.out.splitlines()[2], "how the last hour went"
    assert "\x1b" not in said.out


def test_one_agent_whole(agentcom: Terminal) -> None:
    said = agentcom("monitor", "--agent", "oak")
    assert (said.code, said.out.split()[0]) == (0, "oak")
    assert "self-test" in said.out
    document = agentcom("monitor", "--json", "--agent", "oak").document
    assert [agent["name"] for agent in document["agents"]] == ["oak"]


def test_an_agent_that_is_none_is_said(agentcom: Terminal) -> None:
    said = agentcom("monitor", "--once", "--agent", "nobody")
    assert (said.code, said.out) == (1, "")
    assert said.err == "agentcom: pool 'cli' has no agent 'nobody'. `agentcom agents` lists those that it has\n"


def test_check_ends_with_3_if_something_is_critical(quiet: Terminal) -> None:
    assert quiet("monitor", "--check").code == 0
    assert quiet("submit", "x").code == 0
    said = quiet("monitor", "--check", "--json")
    assert said.code == 3
    assert said.document["findings"][0]["rule"] == "leaderless"
    assert quiet("monitor", "--once").code == 0, "only where it is asked for"


def test_problems_alone(quiet: Terminal) -> None:
    assert quiet("submit", "x").code == 0
    said = quiet("monitor", "--problems")
    assert "leaderless" in said.out
    assert "start one: agentcom scheduler" in said.out


def test_an_interval_that_is_none_is_bad_usage(quiet: Terminal) -> None:
    for text in ("0", "-1", "4000", "soon"):
        said = quiet("monitor", "--interval", text)
        assert (said.code, said.out) == (2, "")
        assert "--interval" in said.err
