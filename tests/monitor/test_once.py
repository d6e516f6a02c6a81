"""A picture for pipes and scripts."""

from __future__ import annotations

import json
from pathlib import Path

from msgspec.structs import replace

from agentcom.monitor.live import once
from tests.monitor.pools import ALL_RULES, COSTS, EVERYTHING, NOW, STUCK, picture


def test_the_document_has_everything_that_scripts_are_promised() -> None:
    told = once.document(picture(), "", problems=False)
    json.dumps(told)
    assert (told["admitted"], told["waiting"], told["open"]) == (160, 6, 11)
    assert {finding["rule"] for finding in told["findings"]} <= ALL_RULES
    assert told["findings"][0].keys() == {
        "rule", "severity", "subject", "text", "gist", "evidence", "next_step", "since_at", "incident",
    }  # fmt: skip
    assert told["costs"]["total"]["tokens"] == COSTS.total.usage.tokens if COSTS.total else 0
    assert told["costs"]["today"].keys() == {"cedar", "elm"}
    assert len(told["last_hour"]["waiting"]) == told["last_hour"]["minutes"]


def test_every_field_of_the_document_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/monitor.md").read_text(encoding="utf-8")
    table = page.partition("| field | holds |")[2]
    told = once.document(picture(), "", problems=False)
    nested = [
        name for part in (told["redis"], told["findings"][0], told["orders"][0], told["last_hour"]) for name in part
    ]
    for name in (*told, *nested, *told["costs"]["total"]):
        assert f"`{name}`" in table, name


def test_one_agent_alone() -> None:
    told = once.document(picture(), "cedar", problems=False)
    assert [agent["name"] for agent in told["agents"]] == ["cedar"]
    assert [task["id"] for task in told["tasks"]] == [STUCK.spec.id]
    assert [finding["rule"] for finding in told["findings"]] == ["stuck"]
    assert told["costs"]["today"].keys() == {"cedar"}
    whole = once.document(picture(), "", problems=False)
    for name in ("agents_total", "open", "counted", "states"):
        assert told[name] == whole[name], "what is said of the whole pool"
    text = "\n".join(line.plain for line in once.lines(picture(), NOW, 110, "cedar", problems=False))
    assert text.startswith("cedar  working\n~ stuck: probably stuck")
    assert "pending entries" in text


def test_problems_alone() -> None:
    told = once.document(picture(), "", problems=True)
    assert "yew" not in [agent["name"] for agent in told["agents"]]
    assert len(told["findings"]) == len(picture().findings)
    text = "\n".join(line.plain for line in once.lines(picture(), NOW, None, "", problems=True))
    assert f"{len(EVERYTHING.agents)} agents" in text
    assert "  yew  " not in text
    for finding in picture().findings:
        assert finding.next_step in text


def test_a_task_that_was_sent_back_is_not_counted_as_dead_any_more() -> None:
    sent_back = picture(replace(EVERYTHING, letters=[]))
    for problems in (False, True):
        assert " dead" not in "\n".join(
            line.plain for line in once.lines(sent_back, NOW, 110, "", problems=problems)[:3]
        )
    assert "1 dead" in once.lines(picture(), NOW, 110, "", problems=False)[1].plain
    unseen = picture(replace(EVERYTHING, dead=2_000))
    assert "1+ dead" in once.lines(unseen, NOW, 110, "", problems=False)[1].plain
