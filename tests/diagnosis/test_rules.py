"""What is found in a pool, and what is not."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from agentcom.diagnosis import DOCUMENTED, RULES, SEVERITIES, Finding, diagnose, out_of_sight, unreachable
from agentcom.diagnosis.rules import EVIDENCE_MAX, TEXT_WIDTH
from agentcom.model.messages import DeadLetter
from tests.diagnosis.cases import CASES, Case
from tests.diagnosis.pools import AT, BUSY, ELM, OAK, POLICY, M, agent, id_of, order, task, with_agents, with_server

H = 60 * M


def found(snapshot: object, rule: str) -> list[Finding]:
    return [finding for finding in diagnose(snapshot, POLICY, AT) if finding.rule == rule]  # type: ignore[arg-type]


def test_nothing_is_found_in_a_pool_that_is_busy_and_well() -> None:
    assert diagnose(BUSY, POLICY, AT) == []


def test_every_rule_has_a_pool_that_shows_it_and_one_that_nearly_does() -> None:
    assert {case.rule for case in CASES} == {rule.id for rule in RULES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.which}")
def test_a_rule_finds_what_it_is_for_and_not_what_is_nearly_so(case: Case) -> None:
    assert found(case.well, case.rule) == []
    (finding,) = found(case.ill, case.rule)
    assert finding.subject == case.subject
    assert case.says in finding.text
    assert finding.next_step


def test_what_is_only_a_notice_is_not_named_more_loudly_by_another_rule() -> None:
    severity_of = {rule.id: rule.severity for rule in RULES}
    for case in CASES:
        if severity_of[case.rule] == "notice":
            assert not [each for each in diagnose(case.ill, POLICY, AT) if each.severity != "notice"], case


def test_rules_have_distinct_ids_and_say_what_they_mean() -> None:
    assert len({rule.id for rule in DOCUMENTED}) == len(DOCUMENTED)
    for rule in DOCUMENTED:
        assert re.fullmatch(r"[a-z][a-z_]*", rule.id)
        assert rule.severity in SEVERITIES
        assert rule.meaning


def test_the_gravest_comes_first_then_what_lasts_longest_and_what_is_of_unknown_age_last() -> None:
    ill = with_agents(
        agent("yew", link="offline", seen_at=AT - 20 * M),
        agent("box", link="offline", seen_at=AT - 40 * M),
        replace(ELM, cordoned=True, health="cordoned"),
        leader="",
        signs={"livelock": AT - 30 * M},
    )
    assert [finding.incident for finding in diagnose(ill, POLICY, AT)] == [
        "agent_down:agent:box",
        "livelock:pool",
        "agent_down:agent:yew",
        "leaderless:pool",
        "cordoned:agent:elm",
    ]


def test_how_long_an_agent_may_be_silent_is_the_askers_choice() -> None:
    ill = with_agents(agent("yew", link="stale", seen_at=AT - 3 * M))
    assert [finding.rule for finding in diagnose(ill, POLICY, AT, agent_down_s=170)] == ["agent_down"]
    assert [finding.rule for finding in diagnose(ill, POLICY, AT, agent_down_s=190)] == ["lost"]


def test_a_server_that_says_nothing_of_itself_is_no_finding() -> None:
    assert diagnose(replace(BUSY, server=None), POLICY, AT) == []


def test_findings_are_bounded_and_safe_to_print_whatever_others_wrote() -> None:
    evil = "\x1b[2J" + "x" * 5_000 + "\nsecond line"
    tried = [f"step {n}" for n in range(40)]
    ill = with_agents(replace(OAK, unfit=evil), replace(ELM, unfit="disk", card=replace(ELM.card, host=evil)))
    for finding in diagnose(ill, POLICY, AT):
        for words in (finding.text, finding.next_step, *finding.evidence):
            assert len(words) <= TEXT_WIDTH
            assert "\x1b" not in words
            assert "\n" not in words
    crowd = [agent(f"a{n}", unfit="/srv cannot be written to: full") for n in range(len(tried))]
    (full,) = found(replace(BUSY, agents=crowd), "disk")
    assert len(full.evidence) == EVIDENCE_MAX


def test_an_order_of_an_unknown_task_is_about_its_agent() -> None:
    stray = order("oak", "", consumer="sc-0", idle_ms=10 * M)
    (finding,) = found(replace(BUSY, orders=[stray]), "orphan")
    assert finding.subject == "agent:oak"


def test_tasks_that_ask_the_same_are_one_finding_about_the_oldest() -> None:
    crowd = [task(n, "queued", AT - n * M, {"requires": "cobol"}) for n in range(6, 30)]
    (finding,) = found(replace(BUSY, tasks=crowd), "starved")
    assert finding.subject == f"task:{id_of(29)}"
    assert "waiting with the same demand: 24 tasks" in finding.evidence


def test_of_a_thousand_agents_and_as_many_demands_the_findings_are_bounded() -> None:
    crowd = [agent(f"agent-{n}", running={"1": id_of(n)}) for n in range(1_000)]
    waiting = [task(n, "queued", AT - 40 * M, {"requires": f"skill-{n}"}) for n in range(500)]
    findings = diagnose(replace(BUSY, agents=crowd, tasks=waiting, orders=[], open=100_000), POLICY, AT)
    assert {finding.rule for finding in findings} == {"starved"}
    assert len(findings) == 20


def test_that_redis_cannot_be_reached_is_a_finding_of_its_own() -> None:
    finding = unreachable("cannot reach Redis at redis://h", "")
    assert (finding.rule, finding.severity, finding.incident) == ("unreachable", "critical", "unreachable:redis")
    assert finding.next_step


def test_several_things_wrong_with_the_server_are_several_findings() -> None:
    ill = with_server(aof_write="err", role="slave", clients=10_000)
    assert [finding.rule for finding in diagnose(ill, POLICY, AT)] == ["aof_failing", "replica", "clients"]


@pytest.mark.parametrize(
    ("from_at", "age_h", "unseen"), [(0, 1, False), (0, 25, True), (AT - 2 * H, 1, False), (AT - H // 2, 1, True)]
)
def test_a_task_that_died_before_what_is_looked_at_is_out_of_sight(from_at: int, age_h: int, unseen: bool) -> None:
    letter = DeadLetter(id_of(8), "Port it", AT - age_h * H, "exit_code", "exit code 1", 4)
    found = [one for one in diagnose(replace(BUSY, letters=[letter]), POLICY, letter.at) if one.rule == "dead"]
    assert out_of_sight(replace(BUSY, letters_from_at=from_at), found[0], AT) is unseen
    assert not out_of_sight(replace(BUSY, letters_from_at=AT), replace(found[0], rule="stuck"), AT)
