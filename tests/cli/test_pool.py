from __future__ import annotations

import json

from tests.cli.harness import Terminal


def test_agents_are_listed_with_link_and_skills(agentcom: Terminal) -> None:
    said = agentcom("agents")
    rows = {line.split()[0]: line for line in said.out.splitlines()[1:]}
    assert rows.keys() == {"birch", "oak"}
    assert "online" in rows["oak"]
    assert "python 3, review 1" in rows["oak"]
    assert {agent["slots"] for agent in agentcom("agents", "--json").document["agents"]} == {1, 4}


def test_a_pool_without_agents_says_how_to_start_one(quiet: Terminal) -> None:
    said = quiet("agents")
    assert (said.code, said.out) == (0, "")
    assert "agentcom sidecar --agent NAME" in said.err


def test_the_journal_tells_a_tasks_whole_life(agentcom: Terminal) -> None:
    task = agentcom("submit", "write it down", "--wait", "--json").document["tasks"][0]["short"]
    lines = agentcom("journal", "--task", task).out.splitlines()
    assert [line.split()[2:5] for line in lines[:2]] == [["submitted", "→", "queued"], ["queued", "→", "assigned"]]
    assert "→ completed" in lines[-1]
    documents = [json.loads(line) for line in agentcom("journal", "--task", task, "--json").out.splitlines()]
    assert [document["after"] for document in documents][-1] == "completed"
    assert all(document["schema"] == 1 for document in documents)


def test_the_journal_prints_as_many_lines_as_asked_for(agentcom: Terminal) -> None:
    assert agentcom("submit", "x", "--wait").code == 0
    assert len(agentcom("journal", "-n", "2").out.splitlines()) == 2
    assert agentcom("journal", "-n", "0").out == ""


def test_dead_tasks_are_listed_and_sent_back(agentcom: Terminal) -> None:
    task = agentcom("submit", "fail", "--max-attempts", "1", "--wait", "--json").document["tasks"][0]["short"]
    assert task in agentcom("dead").out
    listed = agentcom("dead", "--json").document["dead"]
    assert task in [letter["short"] for letter in listed]
    assert f"{task} sent back" in agentcom("dead", "retry", task).out
    agentcom("wait", task)
    assert f"{task} sent back" in agentcom("dead", "retry", "--all").out


def test_a_task_that_did_better_the_second_time_is_not_dead_any_more(agentcom: Terminal) -> None:
    task = agentcom("submit", "fail", "--max-attempts", "1", "--wait", "--json").document["tasks"][0]["short"]
    assert agentcom("retry", task).code == 0
    agentcom("wait", task)
    assert agentcom("dead").out.count(task) == 1


def test_config_names_each_value_and_where_it_came_from(quiet: Terminal) -> None:
    quiet.environ["AGENTCOM_REDIS"] = "redis://me:secret@example.org:6379"
    (quiet.folder / "agentcom.toml").write_text("[policy]\nbeat_s = 17\n")
    quiet.environ["AGENTCOM_POLICY_MAX_ATTEMPTS"] = "9"
    rows = {row["key"]: row for row in quiet("config", "--json").document["settings"]}
    assert rows["policy.beat_s"]["value"] == "17"
    assert rows["policy.beat_s"]["source"].endswith("agentcom.toml")
    assert rows["policy.max_attempts"]["source"] == "AGENTCOM_POLICY_MAX_ATTEMPTS"
    assert rows["policy.lease_s"]["source"] == "default"
    assert "secret" not in quiet("config").out
    assert "redis://me:***@example.org:6379" in quiet("config").out


def test_the_monitor_shows_the_pool_at_a_glance(agentcom: Terminal) -> None:
    task = agentcom("submit", "sleep", "--agent", "oak", "--json").document["tasks"][0]["short"]
    said = agentcom("monitor", "--once")
    assert said.out.startswith("AgentCom cli · redis ")
    assert "· scheduler " in said.out
    assert [line.split()[0] for line in said.out.splitlines() if line.startswith("  oak")] == ["oak", "oak"]
    assert "orders (pending-entries lists)" in said.out
    document = agentcom("monitor", "--json").document
    assert document["orders"][0]["short"] == task
    assert document["leader"]
    assert agentcom("cancel", task).code == 0


def test_the_monitor_says_when_nobody_leads(quiet: Terminal) -> None:
    said = quiet("monitor")
    assert said.code == 0
    assert said.out.splitlines()[0].endswith("· no scheduler leads · 0 agents")
